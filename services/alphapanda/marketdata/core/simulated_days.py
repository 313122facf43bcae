"""The trading days that the simulator runs, and the names of its runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Final

from alphapanda.domain.calendar import CalendarNotCovered, TradingCalendar

_RUN: Final = re.compile(r"sim:(\d+):(\d{4}-\d\d-\d\d):(\d{4}-\d\d-\d\d)")


@dataclass(frozen=True, slots=True)
class SimulatedRun:
    """A run of the simulator: one trading day, and the day from which its prices started.

    Attributes:
        seed: seed of the simulator.
        first_day: the day that began at the reference prices; each later day begins where the previous one ended.
        day: the trading day.
    """

    seed: int
    first_day: date
    day: date

    @property
    def feed_run(self) -> str:
        """The name of the run."""
        return f"sim:{self.seed}:{self.first_day}:{self.day}"

    @classmethod
    def of(cls, feed_run: str) -> SimulatedRun | None:
        """The run with this name; None if it isn't the name of a simulated run."""
        found = _RUN.fullmatch(feed_run)
        if found is None:
            return None
        seed, first_day, day = found.groups()
        return cls(int(seed), date.fromisoformat(first_day), date.fromisoformat(day))


def first_simulated_day(calendar: TradingCalendar, today: date) -> date:
    """The trading day on or after today; if the calendar doesn't cover it, the first one of the last covered year."""
    try:
        return calendar.trading_day_on_or_after(today)
    except CalendarNotCovered:
        last = calendar.covered[-1]
        return calendar.trading_day_on_or_after(max(last.first, date(last.last.year, 1, 1)))


def following_day(calendar: TradingCalendar, day: date) -> date | None:
    """The next trading day, skipping days that the calendar doesn't cover; None after the last covered day."""
    try:
        return calendar.next_trading_day(day)
    except CalendarNotCovered:
        for covered in calendar.covered:
            if covered.first > day:
                return calendar.trading_day_on_or_after(covered.first)
        return None
