"""Equity at the end of each trading day: the calendar says which days count, not the rows of a file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

from alphapanda.domain.calendar import TradingCalendar

_DAY = timedelta(days=1)


class DayEnd(NamedTuple):
    """Equity in rupees at the end of a trading day."""

    day: date
    equity: Decimal


def counted_days(first: date, last: date, calendar: TradingCalendar) -> list[date]:
    """The trading days from first to last, both inclusive; days that the calendar has no data for don't count."""
    days = (first + number * _DAY for number in range((last - first).days + 1))
    return [day for day in days if calendar.covers(day) and calendar.is_trading_day(day)]


def day_ends(equity: Mapping[date, Decimal], calendar: TradingCalendar) -> list[DayEnd]:
    """The equity at the end of each trading day from the first to the last day with ticks.

    Args:
        equity: rupees at the last tick of each day with ticks, in the order of the days.
        calendar: the exchange's sessions.

    A trading day without ticks has the equity of the day before. A day that is no trading day makes no entry: what
    changed on it belongs to the next trading day or, where none follows, to the last one.
    """
    if not equity:
        return []
    recorded = list(equity)
    trading = counted_days(recorded[0], recorded[-1], calendar)
    ends: list[DayEnd] = []
    known: Decimal | None = None
    at = 0
    for day in trading:
        while at < len(recorded) and recorded[at] <= day:
            known = equity[recorded[at]]
            at += 1
        if known is not None:
            ends.append(DayEnd(day, known))
    if ends:
        ends[-1] = DayEnd(ends[-1].day, equity[recorded[-1]])
    return ends
