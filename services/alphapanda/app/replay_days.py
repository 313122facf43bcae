"""The days of a replay: those that were asked for, and those that were found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from alphapanda.app.clocks import IST
from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import Frame, nanoseconds


@dataclass(frozen=True, slots=True)
class WantedDays:
    """The days to replay, both inclusive; None: from the recording's first, to its last.

    Raises:
        InvalidInput: the last day lies before the first.
    """

    first: date | None = None
    last: date | None = None

    def __post_init__(self) -> None:
        if self.first is not None and self.last is not None and self.last < self.first:
            raise InvalidInput("--to", self.last, f"a day not before --from {self.first}")

    def require_covered(self, calendar: TradingCalendar) -> None:
        """Raises CalendarNotCovered where the calendar has no data for a day that was asked for."""
        first, last = self.first or self.last, self.last or self.first
        if first is not None and last is not None:
            calendar.require_covered(first, last)


class ReplayedDays:
    """Passes frames on, day by day, and remembers the first and the last day.

    Args:
        calendar: the sessions; it has to cover each day.

    Attributes:
        first: the first day with a frame; None before it.
        last: the last day with a frame so far.
    """

    def __init__(self, calendar: TradingCalendar) -> None:
        self._calendar = calendar
        self.first: date | None = None
        self.last: date | None = None

    def follow(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Yields the frames.

        Raises:
            CalendarNotCovered: the calendar has no data for the day of a frame; raised before it.
        """
        until_ns = 0
        for frame in frames:
            if frame.market_time_ns >= until_ns:
                day = self._calendar.trading_day(frame.market_time)
                self._calendar.is_trading_day(day)
                until_ns = _midnight_ns(day + timedelta(days=1))
                self.first, self.last = self.first or day, day
            yield frame

    def caveats(self) -> tuple[str, ...]:
        """What isn't sure about the calendar of these days, for people."""
        if self.first is None or self.last is None:
            return ()
        return self._calendar.caveats(self.first, self.last)


def _midnight_ns(day: date) -> int:
    return nanoseconds(datetime.combine(day, time(), IST))
