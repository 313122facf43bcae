"""What every command of auth does: claims its request_id, decides in one transaction, and lets revocations count at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import Message
from structlog.typing import FilteringBoundLogger

from alphapanda.auth.core.login_waits import LoginWaits
from alphapanda.auth.core.sessions import Session
from alphapanda.auth.core.users import User, UserKind
from alphapanda.auth.hashing import Passwords
from alphapanda.auth.issuing import TokenIssuer
from alphapanda.mesh.errors import FailedPrecondition, NotFound, TooOften
from alphapanda.mesh.revocations import Revocation, Revocations
from alphapanda.storage.requests import CommandKey

if TYPE_CHECKING:
    from alphapanda.auth.store.postgres import AuthUnit, PostgresAuthStore

AFTERWARDS = timedelta(minutes=1)
"""How long after its last token a revocation is kept: longer than clocks differ."""
Answer = TypeVar("Answer", bound=Message)


@dataclass(frozen=True, slots=True)
class AuthParts:
    """What the commands share.

    Attributes:
        store: auth's store.
        passwords: hashes passwords.
        issuer: makes tokens.
        waits: slows down who guesses passwords.
        revocations: those that this process checks tokens against.
        audit: gets sign-ins and ends of sessions.
        wall_clock: returns the current wall time, aware.
        elapsed: returns the seconds of a clock that never goes back.
    """

    store: PostgresAuthStore
    passwords: Passwords
    issuer: TokenIssuer
    waits: LoginWaits
    revocations: Revocations
    audit: FilteringBoundLogger
    wall_clock: Callable[[], datetime]
    elapsed: Callable[[], float]

    async def command(
        self,
        key: CommandKey,
        request: Message,
        answer_type: type[Answer],
        act: Callable[[AuthUnit], Awaitable[Answer]],
    ) -> Answer:
        """Runs a command once; the same request again gets the same answer.

        Args:
            key: identifies the command.
            request: its request; of its secrets only seals are kept.
            answer_type: the message of its answer.
            act: reads and writes, and returns the answer, without secrets.

        Raises:
            RequestReused: the request_id was used with another body.
        """
        async with self.store.unit() as unit:
            given = await unit.claim(key, self.issuer.sealed(request))
            if given is None:
                answer = await act(unit)
                await unit.remember(key, answer)
            else:
                answer = answer_type.FromString(given)
        self.apply(unit.revoked)
        return answer

    def apply(self, revoked: list[Revocation]) -> None:
        """Lets revocations that were committed count in this process."""
        if revoked:
            self.revocations.apply(revoked, self.wall_clock().timestamp())

    def pace(self, user: str, address: str, *, known: bool) -> None:
        """Begins a try of a password.

        Raises:
            TooOften: there were too many wrong ones; RetryInfo says how long to wait.
        """
        wait = self.waits.begin(user, address, self.elapsed(), known=known)
        if wait > 0:
            seconds = ceil(wait)
            self.audit.warning("login.slowed", user=user, address=address, wait_seconds=seconds)
            raise TooOften(
                "LOGIN_SLOWED", f"too many wrong passwords: the next try is possible in {seconds} s", seconds
            )

    def last_valid(self, user: User, session: Session) -> datetime:
        """When the last access token of a session has expired."""
        if user.kind is UserKind.SERVICE:
            return session.expires_at
        return session.refreshed_at + self.issuer.times.access

    async def end(self, unit: AuthUnit, user: User, session: Session, because: str) -> Session:
        """Ends a session that lives; its tokens stop counting."""
        now = self.wall_clock()
        ended = session.ended(now, because)
        await unit.change_session(ended)
        forget_at = self.last_valid(user, session) + AFTERWARDS
        if forget_at > now:
            await unit.revoke(
                Revocation(session_id=session.session_id, forget_at=forget_at.timestamp()), forget_at
            )
        self.audit.info("session.ended", user=user.name, session_id=session.session_id, reason=because)
        return ended

    async def end_all(self, unit: AuthUnit, user: User, because: str) -> tuple[User, int]:
        """Ends all sessions of a user; returns the user, stored with the next generation, and how many there were."""
        now = self.wall_clock()
        live = await unit.live_sessions(user.name, now)
        for session in live:
            await unit.change_session(session.ended(now, because))
        last = max((self.last_valid(user, session) for session in live), default=now)
        after = await self._next_generation(unit, user, last, refreshable=False)
        if live:
            self.audit.info("session.ended", user=user.name, sessions=len(live), reason=because)
        return after, len(live)

    async def roles_changed(self, unit: AuthUnit, user: User) -> User:
        """Makes tokens with the former roles stale: persons refresh theirs, those of a service account end."""
        if user.kind is UserKind.SERVICE:
            return (await self.end_all(unit, user, "its roles were changed"))[0]
        last = self.wall_clock() + self.issuer.times.access
        return await self._next_generation(unit, user, last, refreshable=True)

    async def _next_generation(
        self, unit: AuthUnit, user: User, last_valid: datetime, *, refreshable: bool
    ) -> User:
        after = replace(user, generation=user.generation + 1, changed_at=self.wall_clock())
        await unit.change_user(after)
        forget_at = last_valid + AFTERWARDS
        revocation = Revocation(
            subject=user.name,
            below_generation=after.generation,
            refreshable=refreshable,
            forget_at=forget_at.timestamp(),
        )
        await unit.revoke(revocation, forget_at)
        return after


async def existing(unit: AuthUnit, name: str) -> User:
    """A user.

    Raises:
        NotFound: there is none of this name.
    """
    user = await unit.user(name)
    if user is None:
        raise NotFound("USER_NOT_FOUND", f"there is no user {name!r}; `alphapanda users` lists them")
    return user


async def require_administrator(unit: AuthUnit, there_was: bool) -> None:
    """Refuses what leaves nobody who could manage users; the transaction is undone.

    Raises:
        FailedPrecondition: there was somebody before, and isn't any more.
    """
    if there_was and not await unit.has_administrator():
        raise FailedPrecondition(
            "LAST_ADMIN",
            "nobody could manage users any more; give another person a role with MANAGE_USERS first",
        )
