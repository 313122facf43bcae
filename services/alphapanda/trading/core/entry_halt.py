"""Halts a live account's entries where orders are refused for what no order can change, and pauses all where none gets through. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FIRST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 30.0


@dataclass(slots=True)
class EntryHalt:
    """Counts refusals of an account that no list knows; equal ones in a row halt its entries (REAL_MONEY rule 4).

    Any order that the broker takes, or refuses for a reason that is known to be the order's own, ends the halt, and so does a new
    sign-in.

    Attributes:
        after: equal ones in a row that halt.
        reason: why entries are halted, in one line; empty where they aren't.
    """

    after: int
    reason: str = ""
    _words: str = ""
    _count: int = 0

    def refused(self, words: str) -> bool:
        """Counts a refusal in these words; returns whether entries are halted from now on."""
        self._count = self._count + 1 if words == self._words else 1
        self._words = words
        return self._count >= self.after and self.at_once(
            f"the broker refused {self._count} orders in a row in the same words, which are on no list: {words}"
        )

    def at_once(self, words: str) -> bool:
        """Halts entries; returns whether that is new."""
        is_new = not self.reason
        self.reason = f"entries are halted until an exit gets through or somebody signs in anew: {words}"
        return is_new

    def answered(self) -> None:
        """The broker has taken an order, or judged it: entries go again."""
        self.reason = self._words = ""
        self._count = 0


@dataclass(slots=True)
class Pause:
    """Lets an account's orders wait after one that couldn't be sent, each time longer; seconds of a clock that never goes back."""

    _until: float = 0.0
    _words: str = ""
    _seconds: float = 0.0

    def begin(self, now: float, words: str, longest: float = LONGEST_SECONDS) -> None:
        """Begins a pause, twice as long as the one before, and no longer than `longest` seconds."""
        self._seconds = min(max(self._seconds * 2, FIRST_SECONDS), longest)
        self._until, self._words = now + self._seconds, words

    def over(self) -> None:
        """An order has got through: the next pause is a short one."""
        self._until = self._seconds = 0.0

    def reason(self, now: float) -> str:
        """Why nothing is sent now, in one line; empty where it is."""
        return self._words if now < self._until else ""
