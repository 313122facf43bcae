"""Keeps sessions at brokers: begins and completes logins, ends sessions, and says what calls need.

Nothing awaits the broker inside a transaction. A login that is completed twice finds the session that it began: the request
token is valid once, and its state stands in the session's row.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from structlog.typing import FilteringBoundLogger

from alphapanda.auth.broker_login import BrokerLogin
from alphapanda.auth.broker_messages import broker_session_message
from alphapanda.auth.core.broker_session import BrokerAccount, BrokerSession, SessionState
from alphapanda.auth.core.login_states import LoginState, read_state, signed_state
from alphapanda.auth.store.broker_sessions import BrokerUnit, PostgresBrokerSessionStore
from alphapanda.contract.wire import timestamp
from alphapanda.domain.broker_credentials import BrokerAway, Credentials, LoginRefused
from alphapanda.mesh.deadlines import watch_established
from alphapanda.mesh.errors import FailedPrecondition, NotFound, Unavailable
from alphapanda.mesh.recording import record_change
from alphapanda.mesh.sealing import CannotOpen, Sealer, open_credentials, seal_credentials
from alphapanda.mesh.watches import Revisions
from alphapanda.storage.requests import CommandKey
from panda.auth.v1 import broker_session_pb2 as api

Revised = Revisions[BrokerAccount]
OPENED_AGAIN: Final = "run `alphapanda kite login` again"


@dataclass(frozen=True, slots=True)
class BrokerSessionParts:
    """What sessions at brokers need.

    Attributes:
        store: their store.
        logins: logins by account.
        sealer: encrypts tokens.
        state_keys: sign the states of logins; the first signs, all of them are accepted.
        login_lasts: how long a login may take.
        revisions: wakes watches.
        audit: gets logins and ends of sessions.
        wall_clock: returns the current wall time, aware.
        keep_secret: has a token removed from every log line and error of this process from now on; given the account.
    """

    store: PostgresBrokerSessionStore
    logins: Mapping[BrokerAccount, BrokerLogin]
    sealer: Sealer
    state_keys: list[bytes]
    login_lasts: timedelta
    revisions: Revised
    audit: FilteringBoundLogger
    wall_clock: Callable[[], datetime]
    keep_secret: Callable[[str, str], None]


class BrokerSessions:
    """Implements BrokerSessionService.

    Args:
        parts: what it needs.
    """

    def __init__(self, parts: BrokerSessionParts) -> None:
        self._parts = parts
        self._turns = {owner: asyncio.Lock() for owner in parts.logins}

    @property
    def accounts(self) -> list[BrokerAccount]:
        """The accounts that can sign in here."""
        return [*self._parts.logins]

    def owner_of(self, broker: str, account: str) -> BrokerAccount:
        """The account that a request names.

        Raises:
            NotFound: there is no such account here, or none is named and there are several.
        """
        of_broker = [one for one in self._parts.logins if one.broker == (broker or "zerodha")]
        if not account and len(of_broker) == 1:
            return of_broker[0]
        if BrokerAccount(broker or "zerodha", account) in of_broker:
            return BrokerAccount(broker or "zerodha", account)
        known = ", ".join(one.text for one in self._parts.logins) or "none"
        what = (
            f"there is no account {broker or 'zerodha'}:{account}"
            if account
            else "an account has to be named"
        )
        raise NotFound("BROKER_ACCOUNT_NOT_FOUND", f"{what}; known here: {known}")

    async def begin(self, caller: str, request: api.BeginBrokerLoginRequest) -> api.BeginBrokerLoginResponse:
        """Begins a login.

        Raises:
            NotFound: there is no such account.
        """
        parts, owner = self._parts, self.owner_of(request.broker, request.account)
        login = parts.logins[owner]

        key = CommandKey(caller, "BeginBrokerLogin", request.request_id)
        async with parts.store.unit() as unit:
            given = await unit.claim(key, request)
            if given is not None:
                return api.BeginBrokerLoginResponse.FromString(given)
            expires = parts.wall_clock() + parts.login_lasts
            state = LoginState(owner, str(uuid4()), int(expires.timestamp()))
            text = signed_state(state, parts.state_keys[0])
            answer = api.BeginBrokerLoginResponse(
                login_url=login.login_url(text),
                state=text,
                callback_url=login.callback_url,
                expires_at=timestamp(expires),
                account=owner.account,
            )
            await unit.remember(key, answer)
        return answer

    async def complete(
        self, caller: str, request: api.CompleteBrokerLoginRequest
    ) -> api.CompleteBrokerLoginResponse:
        """Completes a login, and begins a session.

        Raises:
            FailedPrecondition: the login wasn't begun here, took too long, is refused, or is another user's.
            Unavailable: the broker can't be reached.
        """
        parts = self._parts
        state = read_state(request.state, parts.state_keys)
        if state is None or state.owner not in parts.logins:
            raise FailedPrecondition(
                "LOGIN_NOT_BEGUN",
                f"this login was not begun here, or its address was changed: {OPENED_AGAIN}",
            )
        key = CommandKey(caller, "CompleteBrokerLogin", request.request_id)
        async with self._turns[state.owner]:
            async with parts.store.reading() as reads:
                begun = await reads.of_login(state.login_id)
            if begun is None:
                credentials = await self._exchanged(state, request.request_token)
                await self._check_user(state.owner, credentials, other_user=request.other_user)
                begun = self._new(state, credentials, caller)
            async with parts.store.unit() as unit:
                given = await unit.claim(key, request)
                if given is not None:
                    return api.CompleteBrokerLoginResponse.FromString(given)
                session = await self._stored(unit, begun)
                answer = api.CompleteBrokerLoginResponse(session=broker_session_message(session))
                await unit.remember(key, answer)
        parts.revisions.poll_now()
        if not begun.number:
            self._audit_opened(session)
        return answer

    async def end(self, caller: str, request: api.EndBrokerSessionRequest) -> api.EndBrokerSessionResponse:
        """Ends an account's session, here and at the broker.

        Raises:
            NotFound: there is no such account.
        """
        parts, owner = self._parts, self.owner_of(request.broker, request.account)
        key = CommandKey(caller, "EndBrokerSession", request.request_id)
        async with self._turns[owner]:
            async with parts.store.reading() as reads:
                live = await reads.newest(owner)
            at_broker = live.lives(parts.wall_clock()) and await self._ended_at_broker(live)
            async with parts.store.unit() as unit:
                given = await unit.claim(key, request)
                if given is not None:
                    return api.EndBrokerSessionResponse.FromString(given)
                session = await self._end(unit, owner, SessionState.ENDED)
                answer = api.EndBrokerSessionResponse(
                    session=broker_session_message(session), ended_at_broker=at_broker
                )
                await unit.remember(key, answer)
        parts.revisions.poll_now()
        return answer

    async def refused(self, session_id: str, words: str) -> BrokerSession:
        """Ends a session whose token the broker has refused; returns the account's newest session.

        Raises:
            NotFound: there is no such session.
        """
        parts = self._parts
        async with parts.store.unit() as unit:
            session = await unit.of_id(session_id)
            if session is None:
                raise NotFound("BROKER_SESSION_NOT_FOUND", f"there is no session {session_id}")
            newest = await unit.newest(session.owner)
            if newest.session_id != session_id or newest.state is not SessionState.LIVE:
                return newest
            ended = await self._end(unit, session.owner, SessionState.REFUSED, words)
        parts.revisions.poll_now()
        parts.audit.error(
            "broker_session.refused",
            alarm=True,
            broker=ended.owner.broker,
            account=ended.owner.account,
            session_id=session_id,
            error=words,
        )
        return ended

    async def expire(self) -> None:
        """Ends the sessions that are over."""
        parts = self._parts
        async with parts.store.reading() as reads:
            if not await reads.over(parts.wall_clock()):
                return
        async with parts.store.unit() as unit:
            over = await unit.over(parts.wall_clock())
            for session in over:
                await self._end(unit, session.owner, SessionState.EXPIRED)
        parts.revisions.poll_now()
        for session in over:
            parts.audit.warning(
                "broker_session.expired",
                broker=session.owner.broker,
                account=session.owner.account,
                session_id=session.session_id,
            )

    async def newest(self, owner: BrokerAccount) -> BrokerSession:
        """An account's newest session, as of now: one past its end is over, also before its row says so."""
        async with self._parts.store.reading() as reads:
            session = await reads.newest(owner)
        now = self._parts.wall_clock()
        if session.state is SessionState.LIVE and not session.lives(now):
            return session.ended(SessionState.EXPIRED, now, session.revision)
        return session

    async def watch(self, owner: BrokerAccount) -> AsyncIterator[BrokerSession]:
        """The account's newest session, then each state that it changes to, until the server drains."""
        revisions = self._parts.revisions
        session = await self.newest(owner)
        yield session
        watch_established()
        while not revisions.draining:
            if await revisions.beyond(owner, session.revision):
                session = await self.newest(owner)
                yield session

    async def _exchanged(self, state: LoginState, request_token: str) -> Credentials:
        parts = self._parts
        if not state.in_time(parts.wall_clock()):
            raise FailedPrecondition(
                "LOGIN_NOT_BEGUN",
                f"the login was begun more than {parts.login_lasts.total_seconds() / 60:g} minutes ago: {OPENED_AGAIN}",
            )
        try:
            credentials = await parts.logins[state.owner].exchange(request_token)
        except LoginRefused as refused:
            raise FailedPrecondition("BROKER_LOGIN_REFUSED", f"{refused}: {OPENED_AGAIN}") from None
        except BrokerAway as away:
            raise Unavailable("BROKER_AWAY", f"{away}: {OPENED_AGAIN}") from None
        parts.keep_secret(state.owner.text, credentials.access_token)
        return credentials

    def _audit_opened(self, session: BrokerSession) -> None:
        self._parts.audit.info(
            "broker_session.opened",
            broker=session.owner.broker,
            account=session.owner.account,
            session_id=session.session_id,
            user=session.broker_user_id,
            valid_until=session.valid_until.isoformat() if session.valid_until else "",
        )

    async def _check_user(self, owner: BrokerAccount, credentials: Credentials, *, other_user: bool) -> None:
        """Refuses who isn't the account's user: orders would be another's. The session at the broker is ended again."""
        parts = self._parts
        async with parts.store.reading() as reads:
            kept = await reads.account(owner)
        if other_user or kept.broker_user_id in {"", credentials.broker_user_id}:
            return
        with suppress(LoginRefused, BrokerAway):
            await parts.logins[owner].end(credentials)
        raise FailedPrecondition(
            "OTHER_BROKER_USER",
            f"account {owner.account} is {kept.broker_user_id}'s at {owner.broker}, and {credentials.broker_user_id} has signed"
            " in: sign in as the other, or say that it is another user's account from now on (--other-user)",
        )

    def _new(self, state: LoginState, credentials: Credentials, caller: str) -> BrokerSession:
        parts, session_id, now = self._parts, str(uuid4()), self._parts.wall_clock()
        return BrokerSession(
            owner=state.owner,
            state=SessionState.LIVE,
            session_id=session_id,
            login_id=state.login_id,
            broker_user_id=credentials.broker_user_id,
            sealed_token=seal_credentials(parts.sealer, credentials, session_id),
            opened_at=now,
            opened_by=caller,
            valid_until=parts.logins[state.owner].valid_until(now),
            ended_because="",
        )

    async def _stored(self, unit: BrokerUnit, begun: BrokerSession) -> BrokerSession:
        """Stores a session that a login has begun, unless it is stored already; it takes the place of the one before."""
        if begun.number:
            return begun
        owner, kept = begun.owner, await unit.account(begun.owner)
        before = await self._end(unit, owner, SessionState.REPLACED)
        session = replace(begun, revision=max(kept.revision, before.revision) + 1)
        await unit.add(session)
        record_change(broker_session_message(before), broker_session_message(session))
        return session

    async def _end(
        self, unit: BrokerUnit, owner: BrokerAccount, state: SessionState, words: str = ""
    ) -> BrokerSession:
        """Ends the account's session if it lives; returns the newest."""
        session = await unit.newest(owner)
        if session.state is not SessionState.LIVE:
            return session
        now = self._parts.wall_clock()
        if not session.lives(now):
            state = SessionState.EXPIRED
        kept = await unit.account(owner)
        ended = session.ended(state, now, max(kept.revision, session.revision) + 1, words)
        await unit.end(ended)
        return ended

    async def _ended_at_broker(self, session: BrokerSession) -> bool:
        parts = self._parts
        try:
            credentials = open_credentials(
                parts.sealer, session.sealed_token, session.session_id, session.broker_user_id
            )
            await parts.logins[session.owner].end(credentials)
        except (CannotOpen, LoginRefused, BrokerAway) as error:
            parts.audit.warning(
                "broker_session.not_ended_at_broker",
                broker=session.owner.broker,
                account=session.owner.account,
                session_id=session.session_id,
                error=str(error),
            )
            return False
        return True
