"""The price grid of one instrument in whole units, remembered for the price band and the month that it holds for."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final
from zoneinfo import ZoneInfo

from alphapanda.domain.frame import instant, nanoseconds
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.price_grid import GridRule, grid_rule, next_rule_day

FALL_IN_A_MONTH: Final = Decimal("0.9")
"""How far below a price the last month's close may have been, where it isn't known."""

_IST: Final = ZoneInfo("Asia/Kolkata")
_EVERYTHING: Final = 2**63 - 1


class InstrumentGrid:
    """The step of an instrument's prices at a price and a time.

    The exchange fixes the step for a month by the last close of the month before. So the step here is the finer one of two:
    that of the last price of the month before, where there was one, and that of a price a tenth lower; true prices of an
    instrument that rose into a coarser band are never moved.

    Args:
        instrument: the instrument.
        price_scale: units of a price in one rupee.

    Attributes:
        unit: the step in units of a price, valid for `low` <= price < `high` before `until_ns`.
        low: lowest price that the unit holds for.
        high: the price at which it ends.
        until_ns: the time at which it ends, nanoseconds since the epoch.
    """

    __slots__ = ("_instrument", "_reference", "_scale", "high", "low", "unit", "until_ns")

    def __init__(self, instrument: Instrument, price_scale: int) -> None:
        self._instrument = instrument
        self._scale = price_scale
        self._reference: Decimal | None = None
        self.unit = 1
        self.low = self.high = 0
        self.until_ns = 0

    def moved(self, price: int, time_ns: int, last: int | None) -> int:
        """The step at a price or a time that `unit` doesn't hold for; moves it there.

        Args:
            price: in units, > 0.
            time_ns: nanoseconds since the epoch; never before an earlier one.
            last: the instrument's last price, in units; None if there was none.
        """
        if time_ns >= self.until_ns and self.until_ns and last is not None:
            self._reference = Decimal(last) / self._scale
        day = instant(time_ns).astimezone(_IST).date()
        rule = grid_rule(self._instrument, day)
        tick = self._place(rule, Decimal(price) / self._scale * FALL_IN_A_MONTH)
        if self._reference is not None:
            tick = min(tick, rule.tick(self._reference))
        self.unit = (Fraction(tick) * self._scale).numerator
        self.until_ns = self._end_ns(day)
        return self.unit

    def _place(self, rule: GridRule, price: Decimal) -> Decimal:
        """The step at a price; remembers for which prices it holds."""
        self.low = 0
        for band in rule.bands:
            limit = _EVERYTHING if band.limit is None else int(band.limit / FALL_IN_A_MONTH * self._scale)
            if band.holds(price):
                self.high = limit
                return band.tick
            self.low = limit + 1
        return rule.bands[-1].tick

    def _end_ns(self, day: date) -> int:
        month = (day.replace(day=1) + timedelta(days=31)).replace(day=1)
        change = next_rule_day(self._instrument, day)
        end = month if change is None else min(month, change)
        return nanoseconds(datetime(end.year, end.month, end.day, tzinfo=_IST))


def rounded(price: int, unit: int) -> int:
    """The nearest price on the grid, half a step up; at least one step."""
    return max((price + unit // 2) // unit * unit, unit)
