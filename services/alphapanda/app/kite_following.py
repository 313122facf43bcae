"""Follows the sessions at Zerodha in every process that calls Kite, and reports a token that was refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import grpc
import structlog

from alphapanda.contract.wire import moment
from alphapanda.kite.options import BROKER
from alphapanda.kite.session import KiteSession, SessionFollower
from alphapanda.mesh.failures import is_away
from alphapanda.mesh.sealing import CannotOpen, Sealer, open_credentials
from alphapanda.mesh.status import describe_rpc_error
from alphapanda.resilience.attempts import until_it_works
from alphapanda.resilience.backoff import Backoff
from alphapanda.resilience.tasks import kept_running
from panda.auth.v1 import broker_session_pb2 as api
from panda.auth.v1.broker_session_pb2_grpc import BrokerSessionServiceStub

AGAIN: Final = Backoff(0.2, 5.0)
REPORT_SECONDS: Final = 5.0
MOST_WORDS: Final = 400
_log = structlog.get_logger(__name__)


class KiteSessionWatch:
    """Keeps the followers of all accounts up to date. While the service is away they go on with what they know.

    Args:
        channel: to BrokerSessionService; closed when it stops.
        sealer: opens tokens.
        followers: by account.
        keep_secret: has a token removed from every log line and error of this process; given the account.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        sealer: Sealer,
        followers: Mapping[str, SessionFollower],
        keep_secret: Callable[[str, str], None],
    ) -> None:
        self._channel = channel
        self._stub = BrokerSessionServiceStub(channel)
        self._sealer = sealer
        self._followers = followers
        self._keep_secret = keep_secret
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._unopened: dict[str, str] = {}

    async def start(self) -> None:
        """Begins to follow every account."""
        for account, follower in self._followers.items():
            name = f"session of {account}"
            self._tasks[account] = kept_running(partial(self._follow, account, follower), name, _log, AGAIN)

    async def stop(self) -> None:
        """Stops following."""
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values())
        await self._channel.close()

    async def report(self, session: KiteSession, words: str) -> None:
        """Reports that Kite has refused a session's token, again and again until the report has arrived."""
        request = api.ReportBrokerRefusalRequest(session_id=session.session_id, message=words[:MOST_WORDS])

        async def send() -> None:
            await self._stub.ReportBrokerRefusal(request, timeout=REPORT_SECONDS)

        async def wait(away: Exception, failures: int) -> None:
            _log.warning("kite.report_delayed", account=session.account, failures=failures, error=str(away))
            await asyncio.sleep(AGAIN.seconds(failures))

        async def until_told() -> None:
            try:
                await until_it_works(send, wait, is_transient_call)
            except grpc.aio.AioRpcError as error:
                _log.error("kite.report_failed", account=session.account, error=describe_rpc_error(error))

        self._tasks[f"report {session.account}"] = kept_running(
            until_told, "report of a refusal", _log, AGAIN
        )

    def notices(self) -> list[str]:
        """What a person should know, one line each: who has to sign in."""
        found = [
            f"account {account}: {why}; `zerodha.session_key` must be the same for every service"
            for account, why in sorted(self._unopened.items())
        ]
        for account, follower in self._followers.items():
            session = follower.newest
            if session.access_token is None and account not in self._unopened:
                why = session.ended_because or "nobody has signed in yet"
                found.append(f"account {account} at Zerodha: {why}; run `alphapanda kite login`")
        return found

    async def _follow(self, account: str, follower: SessionFollower) -> None:
        request = api.WatchBrokerCredentialsRequest(broker=BROKER, account=account)
        while True:
            try:
                async for message in self._stub.WatchBrokerCredentials(request):
                    follower.put(self._session(account, message))
            except grpc.aio.AioRpcError as error:
                if not is_away(error):
                    raise
                _log.info("kite.session_service_away", account=account, error=describe_rpc_error(error))
            await asyncio.sleep(AGAIN.seconds(2))

    def _session(self, account: str, message: api.WatchBrokerCredentialsResponse) -> KiteSession:
        told = message.session
        self._unopened.pop(account, None)
        session = KiteSession(
            account=account,
            revision=told.revision,
            session_id=told.session_id,
            valid_until=moment(told.valid_until) if told.HasField("valid_until") else None,
            user_id=told.broker_user_id,
            ended_because=told.ended_because,
        )
        if told.state != api.BROKER_SESSION_STATE_LIVE or not message.sealed_token:
            return session
        try:
            opened = open_credentials(
                self._sealer, message.sealed_token, told.session_id, told.broker_user_id
            )
        except CannotOpen as error:
            self._unopened[account] = f"the session's token can't be opened here: {error}"
            _log.error("kite.session_not_opened", alarm=True, account=account, error=str(error))
            return session.dead(self._unopened[account])
        self._keep_secret(f"{BROKER}:{account}", opened.access_token)
        _log.info("kite.session_received", account=account, session_id=told.session_id)
        return KiteSession(
            account,
            told.revision,
            told.session_id,
            opened.api_key,
            opened.access_token,
            session.valid_until,
            told.broker_user_id,
        )


def is_transient_call(error: BaseException) -> bool:
    """Whether the service is away for now."""
    return isinstance(error, grpc.aio.AioRpcError) and is_away(error)
