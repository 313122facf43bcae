"""Sessions at brokers: how one begins, ends and is over. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import IntEnum
from typing import Final


class SessionState(IntEnum):
    """What a session at a broker is; the contract's numbers."""

    NONE = 1
    LIVE = 2
    EXPIRED = 3
    REFUSED = 4
    ENDED = 5
    REPLACED = 6


BECAUSE: Final = {
    SessionState.NONE: "nobody has signed in yet",
    SessionState.EXPIRED: "the session was over at 06:00 IST, as every day",
    SessionState.REFUSED: "Zerodha has refused the session: it was ended there, or by a login elsewhere",
    SessionState.ENDED: "somebody signed out",
    SessionState.REPLACED: "a newer login took its place",
}
"""Why there is no live session, for people."""


@dataclass(frozen=True, slots=True)
class BrokerAccount:
    """An account at a broker."""

    broker: str
    account: str

    @property
    def text(self) -> str:
        """Both in one word, "zerodha:default"."""
        return f"{self.broker}:{self.account}"


@dataclass(frozen=True, slots=True)
class BrokerSession:
    """A session at a broker.

    Attributes:
        owner: broker and account.
        state: what it is.
        revision: of the account, when the session last changed.
        session_id: UUID as text; empty where nobody has signed in.
        login_id: UUID of the login that it began with, as text.
        broker_user_id: the broker's id of the user.
        sealed_token: key and token, encrypted; empty unless it lives.
        opened_at: wall time of the login, aware; None where nobody has signed in.
        opened_by: identity of who signed in.
        valid_until: wall time at which it is over, aware; None where nobody has signed in.
        ended_at: wall time at which it was ended; None while it lives.
        ended_because: why; empty while it lives.
        number: its place among all sessions; 0 before it is stored.
    """

    owner: BrokerAccount
    state: SessionState = SessionState.NONE
    revision: int = 0
    session_id: str = ""
    login_id: str = ""
    broker_user_id: str = ""
    sealed_token: bytes = field(default=b"", repr=False)
    opened_at: datetime | None = None
    opened_by: str = ""
    valid_until: datetime | None = None
    ended_at: datetime | None = None
    ended_because: str = BECAUSE[SessionState.NONE]
    number: int = 0

    def lives(self, now: datetime) -> bool:
        """Whether it was not ended and is not over."""
        return self.state is SessionState.LIVE and self.valid_until is not None and now < self.valid_until

    def ended(self, state: SessionState, now: datetime, revision: int, words: str = "") -> BrokerSession:
        """The session after its end; its token is forgotten.

        Args:
            state: how it ended.
            now: wall time, aware.
            revision: the account's next revision.
            words: the broker's words, added to why.
        """
        over = self.valid_until is not None and now >= self.valid_until
        return replace(
            self,
            state=state,
            revision=revision,
            sealed_token=b"",
            ended_at=self.valid_until if over and state is SessionState.EXPIRED else now,
            ended_because=BECAUSE[state] + (f" ({words})" if words else ""),
        )
