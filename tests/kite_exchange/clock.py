"""The exchange's clock, which tests set, move and skew."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from typing import Final

SECOND_NS: Final = 1_000_000_000
IST: Final = timezone(timedelta(hours=5, minutes=30))
_SESSION_ENDS_AT: Final = timedelta(hours=6)


def stamp(at_ns: int) -> str:
    """A time as the API writes it: "2026-12-01 09:15:00", in India, without a zone."""
    return moment(at_ns).strftime("%Y-%m-%d %H:%M:%S")


def moment(at_ns: int) -> datetime:
    """The time in India, to the second."""
    return datetime.fromtimestamp(at_ns // SECOND_NS, IST)


class Clock:
    """Tells the exchange's time.

    Args:
        source: nanoseconds since the epoch; the wall clock by default.
    """

    def __init__(self, source: Callable[[], int] = time.time_ns) -> None:
        self._source = source
        self._offset_ns = 0

    def ns(self) -> int:
        """Nanoseconds since the epoch."""
        return self._source() + self._offset_ns

    def stamp(self) -> str:
        """Now, as the API writes it."""
        return stamp(self.ns())

    def now(self) -> datetime:
        """Now in India, to the second."""
        return moment(self.ns())

    def day(self) -> date:
        """Today in India."""
        return self.now().date()

    def advance(self, seconds: float) -> None:
        """Moves the clock, forwards or backwards."""
        self._offset_ns += int(seconds * SECOND_NS)

    def set(self, at_ns: int) -> None:
        """Sets the clock; it goes on from there."""
        self._offset_ns += at_ns - self.ns()

    def session_end_ns(self) -> int:
        """When a session that begins now ends: at the next 06:00 in India."""
        now = self.now()
        midnight = now.replace(hour=0, minute=0, second=0)
        end = midnight + _SESSION_ENDS_AT
        if end <= now:
            end += timedelta(days=1)
        return int(end.timestamp()) * SECOND_NS
