"""Historical bars: their intervals, and how a time range is cut into what a broker gives at once."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from alphapanda.domain.errors import UnknownName


class Interval(NamedTuple):
    """An interval of historical bars.

    Attributes:
        name: as users write it, such as "5m".
        kite: as Kite calls it.
        most_days: days of bars that Kite gives at once (KITE_FACTS section 3.6).
    """

    name: str
    kite: str
    most_days: int


INTERVALS: Final = {
    one.name: one
    for one in (
        Interval("1m", "minute", 60),
        Interval("3m", "3minute", 100),
        Interval("5m", "5minute", 100),
        Interval("10m", "10minute", 100),
        Interval("15m", "15minute", 200),
        Interval("30m", "30minute", 200),
        Interval("1h", "60minute", 400),
        Interval("1d", "day", 2000),
    )
}


class HistoricalBar(NamedTuple):
    """A bar of the past.

    Attributes:
        start: when it begins, aware.
        open: rupees, as are high, low and close.
        volume: units traded in it.
        open_interest: at its end; None where the broker doesn't give it.
    """

    start: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int
    open_interest: int | None = None


def interval_of(name: str) -> Interval:
    """The interval of a name.

    Raises:
        UnknownName: there is none.
    """
    found = INTERVALS.get(name)
    if found is None:
        raise UnknownName("interval", name, list(INTERVALS))
    return found


def span_end(first: date, last: date, most_days: int) -> date:
    """The last of at most so many days from `first` on, not beyond `last`."""
    return min(last, first + timedelta(days=most_days - 1))
