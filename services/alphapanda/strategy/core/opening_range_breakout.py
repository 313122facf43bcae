"""Opening range breakout: trades in the direction of a break out of the day's opening range."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from typing_extensions import override

from alphapanda.strategy.core.bars import Bar
from alphapanda.strategy.core.strategy import (
    BarStrategy,
    IntradayBarParameters,
    Stance,
    StrategyParameters,
    Target,
)

_MINUTE_NS = 60_000_000_000


class OpeningRangeBreakoutParameters(IntradayBarParameters):
    """The length of the opening range."""

    minutes: int = Field(15, ge=1, le=240, description="minutes after the day's open that make the range")


class OpeningRangeBreakout(BarStrategy[OpeningRangeBreakoutParameters]):
    """Long after a close above the high of the day's first `minutes`, short after one below their low, else unchanged.

    The range covers the bars that start in these minutes. A day whose opening was missed has no range and no target.
    T. Crabel: Day Trading with Short Term Price Patterns and Opening Range Breakout (1990), without a stretch.
    """

    type_name: ClassVar[str] = "opening_range_breakout"
    parameters_model: ClassVar[type[StrategyParameters]] = OpeningRangeBreakoutParameters
    carries_over_night: ClassVar[bool] = False

    @override
    def __init__(self, parameters: OpeningRangeBreakoutParameters) -> None:
        self._parameters = parameters
        self._day_open_ns = 0
        self._high = 0.0
        self._low = 0.0

    @override
    def on_bar(self, bar: Bar) -> Target | None:
        opening = bar.start_ns < bar.day_open_ns + self._parameters.minutes * _MINUTE_NS
        if bar.day_open_ns != self._day_open_ns:
            if bar.start_ns != bar.day_open_ns:
                return None
            self._day_open_ns, self._high, self._low = bar.day_open_ns, bar.high, bar.low
        if opening:
            self._high = max(self._high, bar.high)
            self._low = min(self._low, bar.low)
            return None
        reason = f"close {bar.close:.2f}, opening range {self._low:.2f} to {self._high:.2f}"
        if bar.close > self._high:
            return Target(Stance.LONG, reason)
        return Target(Stance.SHORT, reason) if bar.close < self._low else None
