"""Asks auth what was revoked, and for the public keys: in every process but auth's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import grpc
import structlog

from alphapanda.app.clocks import wall_clock
from alphapanda.app.resources import ProcessResources
from alphapanda.contract.wire import moment
from alphapanda.mesh.failures import is_away
from alphapanda.mesh.revocations import Revocation, Revocations
from alphapanda.mesh.signing_keys import Algorithm, public_key
from alphapanda.mesh.status import describe_rpc_error
from alphapanda.mesh.tokens import TokenVerifier
from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.failures import in_one_line
from alphapanda.resilience.tasks import kept_running
from panda.auth.v1 import auth_pb2 as api
from panda.auth.v1.auth_pb2_grpc import AuthServiceStub

AUTH_SERVICE: Final = "panda.auth.v1.AuthService"
ANSWER_SECONDS: Final = 2.0
NOTICED_SECONDS: Final = 15.0
"""Without an answer for so long it is said that revocations may not be known here."""
_log = structlog.get_logger(__name__)


class TokenWatch:
    """Keeps revocations and public keys up to date.

    While auth is away tokens are checked by what is known: one revoked meanwhile counts until it expires.

    Args:
        channel: to AuthService; closed when it stops.
        verifier: gets the public keys (EdDSA).
        revocations: gets what was revoked.
        algorithm: how tokens are signed.
        interval_seconds: wall time between two questions.
        wall_clock: returns the current wall time, aware.
    """

    name = "revocations"

    def __init__(
        self,
        channel: grpc.aio.Channel,
        verifier: TokenVerifier,
        revocations: Revocations,
        algorithm: str,
        interval_seconds: float,
        wall_clock: Callable[[], datetime],
    ) -> None:
        self._channel = channel
        self._stub = AuthServiceStub(channel)
        self._verifier = verifier
        self._revocations = revocations
        self._has_public_keys = algorithm == Algorithm.EDDSA
        self._interval = interval_seconds
        self._wall_clock = wall_clock
        self._after = 0
        self._failures = 0
        self._answered_at = wall_clock()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Asks once, so that a process that starts knows what was revoked before, and goes on asking."""
        await self.ask()
        self._task = kept_running(self._keep_asking, self.name, _log)

    async def stop(self) -> None:
        """Stops asking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        await self._channel.close(None)

    def notices(self) -> Sequence[str]:
        """That auth hasn't answered for long; empty where it has."""
        silent = (self._wall_clock() - self._answered_at).total_seconds()
        if silent < NOTICED_SECONDS:
            return ()
        return (f"auth hasn't answered for {silent:.0f} s: tokens revoked since then still count here",)

    async def ask(self) -> None:
        """Asks once; a failure is logged, of failures in a row the 1st, 2nd, 4th, 8th …."""
        error = await attempted(self._ask())
        if error is None:
            if self._failures:
                _log.info("auth.answers_again", failures=self._failures)
            self._failures, self._answered_at = 0, self._wall_clock()
            return
        self._failures += 1
        self._after = 0  # what answers next may have begun anew, with numbers of its own
        if self._failures & (self._failures - 1):
            return
        told = describe_rpc_error(error) if isinstance(error, grpc.aio.AioRpcError) else in_one_line(error)
        if is_away(error):
            _log.warning("auth.not_answering", failures=self._failures, error=told)
        else:
            _log.error("auth.not_answering", alarm=True, failures=self._failures, error=told)

    async def _keep_asking(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await self.ask()

    async def _ask(self) -> None:
        if self._has_public_keys:
            answer = await self._stub.GetSigningKeys(api.GetSigningKeysRequest(), timeout=ANSWER_SECONDS)
            self._verifier.replace_keys([public_key(key.public_key) for key in answer.keys])
        more = True
        while more:
            request = api.GetRevocationsRequest(after_number=self._after)
            page = await self._stub.GetRevocations(request, timeout=ANSWER_SECONDS)
            self._revocations.apply(map(_revocation, page.revocations), self._wall_clock().timestamp())
            if page.revocations:
                self._after = page.revocations[-1].number
            more = page.more


def token_watch(resources: ProcessResources) -> TokenWatch | None:
    """Builds the watch of a process; None where authentication is off, or auth is one of the process's own services."""
    verifier = resources.security.verifier
    if verifier is None or not resources.elsewhere("auth"):
        return None
    auth = resources.settings.auth
    return TokenWatch(
        resources.channel("auth", AUTH_SERVICE, caller="ops"),
        verifier,
        resources.security.revocations,
        auth.algorithm,
        auth.poll_seconds,
        wall_clock,
    )


def _revocation(message: api.Revocation) -> Revocation:
    return Revocation(
        message.session_id,
        message.user_name,
        message.below_generation,
        message.refreshable,
        moment(message.forget_at).timestamp(),
    )
