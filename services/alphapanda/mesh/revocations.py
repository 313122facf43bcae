"""What was revoked before it expired: sessions, and the older tokens of a user. No I/O and no clock.

Each entry is kept until the last token that it concerns has expired.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto


@dataclass(frozen=True, slots=True)
class Revocation:
    """Tokens that count no longer: those of a session, or those of a subject up to a generation.

    Attributes:
        session_id: the session that ended; empty where it concerns a subject.
        subject: the user or service account whose older tokens count no longer; empty where it concerns a session.
        below_generation: of a subject: tokens of a lower generation are concerned.
        refreshable: whether the session goes on, so that a refreshed token is valid: its user's roles have changed.
        forget_at: wall time, Unix seconds, from which on no such token can be valid.
    """

    session_id: str = ""
    subject: str = ""
    below_generation: int = 0
    refreshable: bool = False
    forget_at: float = 0.0


class Standing(Enum):
    """How a token stands, whose signature is right and whose time isn't over."""

    GOOD = auto()
    STALE = auto()
    REVOKED = auto()


class Revocations:
    """All revocations that still concern a token."""

    def __init__(self) -> None:
        self._sessions: dict[str, float] = {}
        self._subjects: dict[tuple[str, bool], tuple[int, float]] = {}

    @property
    def entries(self) -> int:
        """Number of entries."""
        return len(self._sessions) + len(self._subjects)

    def apply(self, revocations: Iterable[Revocation], now: float) -> None:
        """Adds revocations, again or anew, and forgets those that concern no token any more.

        Args:
            revocations: in any order.
            now: wall time, Unix seconds.
        """
        for one in revocations:
            if one.session_id:
                self._sessions[one.session_id] = max(one.forget_at, self._sessions.get(one.session_id, 0.0))
                continue
            whose = (one.subject, one.refreshable)
            generation, until = self._subjects.get(whose, (0, 0.0))
            self._subjects[whose] = (max(generation, one.below_generation), max(until, one.forget_at))
        self._sessions = {session: until for session, until in self._sessions.items() if until > now}
        self._subjects = {whose: entry for whose, entry in self._subjects.items() if entry[1] > now}

    def standing(self, session_id: str, subject: str, generation: int) -> Standing:
        """How a token of this session, subject and generation stands."""
        if session_id in self._sessions or generation < self._subjects.get((subject, False), (0, 0.0))[0]:
            return Standing.REVOKED
        if generation < self._subjects.get((subject, True), (0, 0.0))[0]:
            return Standing.STALE
        return Standing.GOOD
