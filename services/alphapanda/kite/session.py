"""The session of an account at Zerodha, and how those who call Kite follow it: nobody holds a token from construction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

IST: Final = ZoneInfo("Asia/Kolkata")
EXPIRES_AT: Final = time(6, 0)
"""IST time at which Kite ends every access token (regulation; KITE_FACTS section 3.1)."""


def expiry_of(opened_at: datetime) -> datetime:
    """When a session ends that begins at this time: at the next 06:00 in India.

    Args:
        opened_at: aware.

    Returns:
        An aware time in UTC, after `opened_at`.
    """
    here = opened_at.astimezone(IST)
    end = datetime.combine(here.date(), EXPIRES_AT, IST)
    return (end if here < end else end + timedelta(days=1)).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class KiteSession:
    """What calls to Kite for one account need, as of now.

    Attributes:
        account: our name of the account.
        revision: rises with each change; 0: nothing is known yet.
        session_id: id of the session; empty where there has never been one.
        api_key: key of the app; empty where it isn't known yet.
        access_token: opens calls; None where nobody is signed in.
        valid_until: wall time at which the token dies, aware; None where there is none.
        user_id: Zerodha's id of the user, such as "XY1234"; empty where it isn't known.
        ended_because: why there is no token, in words for people; empty where there is one.
    """

    account: str
    revision: int = 0
    session_id: str = ""
    api_key: str = field(default="", repr=False)
    access_token: str | None = field(default=None, repr=False)
    valid_until: datetime | None = None
    user_id: str = ""
    ended_because: str = ""

    def lives(self, now: datetime) -> bool:
        """Whether its token may be used; `now`: wall time, aware."""
        return self.access_token is not None and (self.valid_until is None or now < self.valid_until)

    def dead(self, because: str) -> KiteSession:
        """The session without its token."""
        return replace(self, access_token=None, ended_because=because)


class NoSession(Exception):
    """There is no session; the message says for which account, why, and what to do.

    Args:
        session: the session as it is known.
    """

    def __init__(self, session: KiteSession) -> None:
        self.account = session.account
        why = session.ended_because or "nobody is signed in to Zerodha"
        super().__init__(f"account {session.account}: {why}; run `alphapanda kite login`")


Refused = Callable[[KiteSession, str], Awaitable[None]]
"""Told that Kite has refused a session's token, and in which words."""


async def _nobody(_: KiteSession, __: str) -> None:
    """Told of a refusal where nobody needs to know, as in a test."""


class SessionFollower:
    """The newest session of one account, for who calls Kite. A new sign-in reaches everybody who follows.

    Args:
        account: our name of the account.
        wall_clock: returns the current wall time, aware.
        refused: told of a token that Kite has refused, such as the service that keeps the sessions.
    """

    def __init__(self, account: str, wall_clock: Callable[[], datetime], refused: Refused = _nobody) -> None:
        self._newest = KiteSession(account)
        self._wall_clock = wall_clock
        self._refused = refused
        self._changed = asyncio.Event()

    @property
    def newest(self) -> KiteSession:
        """The session as it is known now; one past its end has no token."""
        session = self._newest
        if session.access_token is not None and not session.lives(self._wall_clock()):
            session = session.dead("the session ended at 06:00 IST, as every day")
            self._newest = session
        return session

    def put(self, session: KiteSession) -> None:
        """Takes what is newer, and wakes everybody who waits for it. A token that was refused doesn't come back."""
        if session.revision <= self._newest.revision and self._newest.revision:
            return
        self._newest = session
        self._wake()

    def require(self) -> KiteSession:
        """The session, whose token may be used.

        Raises:
            NoSession: there is none.
        """
        session = self.newest
        if session.access_token is None:
            raise NoSession(session)
        return session

    async def live(self) -> KiteSession:
        """Waits until there is a session whose token may be used."""
        while (session := self.newest).access_token is None:
            await self._changed.wait()
        return session

    async def after(self, session: KiteSession) -> KiteSession:
        """Waits until another session, or none, has taken the place of this one; also at its end at 06:00."""
        while True:
            newest = self.newest
            if (newest.session_id, newest.access_token) != (session.session_id, session.access_token):
                return newest
            left: float | None = None
            if newest.access_token is not None and newest.valid_until is not None:
                left = max((newest.valid_until - self._wall_clock()).total_seconds(), 0.001)
            changed = self._changed
            try:
                async with asyncio.timeout(left):
                    await changed.wait()
            except TimeoutError:
                continue

    async def refuse(self, session: KiteSession, message: str) -> None:
        """Ends a session whose token Kite has refused (403 TokenException): nobody here calls with it again.

        Args:
            session: the session that the call was made with; one that was replaced meanwhile ends nothing.
            message: Kite's words.
        """
        newest = self._newest
        if newest.access_token is None or newest.session_id != session.session_id:
            return
        self._newest = newest.dead("Zerodha has refused the session: it was ended there, or by another login")
        self._wake()
        await self._refused(session, message)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
