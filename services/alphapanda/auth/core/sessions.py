"""Sessions: how their tokens follow each other, and when an old one gives a theft away."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Final

MOST_SESSIONS: Final = 50
"""Live sessions of a user; one more ends the oldest."""

LOGGED_OUT: Final = "logged out"
REUSED: Final = "an old refresh token was used again"
TOO_MANY: Final = "more sessions than a user may have"
PASSWORD_CHANGED: Final = "the password was changed"  # noqa: S105 - a reason, no password
DISABLED: Final = "the user was disabled"


@dataclass(frozen=True, slots=True)
class Session:
    """What began with a sign-in, or with a service account's token.

    Attributes:
        session_id: UUID as text.
        user_name: whose it is.
        created_at: wall time of the sign-in, aware.
        refreshed_at: wall time at which its newest tokens were issued, aware, in whole seconds.
        expires_at: wall time at which it ends unless it is refreshed, aware, in whole seconds.
        rotation: how often it was refreshed; the newest refresh token has this number.
        request_id: of the Refresh that issued the newest tokens; empty before the first.
        address: where it was last refreshed from.
        client: program that signed in.
        ended_at: wall time at which it was ended; None while it lives.
        ended_because: why; empty while it lives.
        number: its place among all sessions; 0 before it is stored.
    """

    session_id: str
    user_name: str
    created_at: datetime
    refreshed_at: datetime
    expires_at: datetime
    rotation: int
    request_id: str
    address: str
    client: str
    ended_at: datetime | None = None
    ended_because: str = ""
    number: int = 0

    def lives(self, now: datetime) -> bool:
        """Whether it was not ended and is not over."""
        return self.ended_at is None and now < self.expires_at

    def ended(self, now: datetime, because: str) -> Session:
        """The session after its end."""
        return replace(self, ended_at=now, ended_because=because)


class Presented(Enum):
    """What a refresh token means that was presented."""

    NEWEST = auto()
    """The next tokens are due."""
    AGAIN = auto()
    """The same request again, whose answer was lost: the newest tokens once more."""
    REUSED = auto()
    """It was used before, by another request: one of the two who have it has stolen it."""
    OVER = auto()
    """The session was ended, or is over."""


def presented(session: Session, rotation: int, request_id: str, now: datetime) -> Presented:
    """Judges a refresh token.

    Args:
        session: the session that it belongs to.
        rotation: the token's number.
        request_id: of the request that presents it.
        now: wall time, aware.
    """
    if not session.lives(now):
        return Presented.OVER
    if rotation == session.rotation:
        return Presented.NEWEST
    if rotation == session.rotation - 1 and request_id == session.request_id:
        return Presented.AGAIN
    return Presented.REUSED


def refreshed(session: Session, request_id: str, now: datetime, lasts: timedelta, address: str) -> Session:
    """The session after its next tokens were issued."""
    return replace(
        session,
        rotation=session.rotation + 1,
        request_id=request_id,
        refreshed_at=now,
        expires_at=now + lasts,
        address=address,
    )
