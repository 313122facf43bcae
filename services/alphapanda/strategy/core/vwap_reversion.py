"""Trades against a close that is far from the day's volume-weighted average price (VWAP)."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import Field, JsonValue, model_validator
from typing_extensions import override

from alphapanda.domain.errors import InvalidInput
from alphapanda.strategy.core.bars import Bar
from alphapanda.strategy.core.exact import UNITS_PER_RUPEE, as_ratio, in_units
from alphapanda.strategy.core.strategy import (
    BarStrategy,
    IntradayBarParameters,
    Stance,
    StrategyParameters,
    Target,
)


class VwapReversionParameters(IntradayBarParameters):
    """The distances from the average price for entry and exit, in percent."""

    entry_percent: float = Field(
        0.5, gt=0, le=50, description="percent off the average from which on it enters"
    )
    exit_percent: float = Field(
        0.1,
        ge=0,
        le=50,
        description="percent off the average down to which it leaves, less than entry_percent",
    )

    @model_validator(mode="after")
    def _exit_is_nearer(self) -> Self:
        if self.exit_percent >= self.entry_percent:
            raise InvalidInput(
                "parameters.exit_percent",
                self.exit_percent,
                f"less than entry_percent, which is {self.entry_percent}",
            )
        return self


class VwapReversion(BarStrategy[VwapReversionParameters]):
    """Short if at least `entry_percent` above the day's VWAP, long if below, flat within `exit_percent`, else unchanged.

    VWAP = sum of (high + low + close) / 3 * volume over the day's bars, divided by their volume: S. Berkowitz,
    D. Logue, E. Noser: The Total Cost of Transactions on the NYSE, Journal of Finance 43 (1988), on bars. It needs a
    feed with volumes, and counts from the first bar it sees of a day. The distance is compared exactly.
    """

    type_name: ClassVar[str] = "vwap_reversion"
    parameters_model: ClassVar[type[StrategyParameters]] = VwapReversionParameters
    carries_over_night: ClassVar[bool] = False

    @override
    def __init__(self, parameters: VwapReversionParameters) -> None:
        self._parameters = parameters
        self._day_open_ns = 0
        self._turnover = 0  # three times the sum, in units
        self._volume = 0
        self._entry, self._exit = as_ratio(parameters.entry_percent), as_ratio(parameters.exit_percent)

    @override
    def on_bar(self, bar: Bar) -> Target | None:
        if bar.day_open_ns != self._day_open_ns:
            self._day_open_ns, self._turnover, self._volume = bar.day_open_ns, 0, 0
        close = in_units(bar.close)
        self._turnover += (in_units(bar.high) + in_units(bar.low) + close) * bar.volume
        self._volume += bar.volume
        if not self._volume:
            return None
        turnover, off = self._turnover, 3 * self._volume * close - self._turnover

        def beside(level: tuple[int, int]) -> int:
            """How far the distance is beyond a level in percent; only the sign has a meaning."""
            numerator, denominator = level
            return 100 * abs(off) * denominator - numerator * turnover

        vwap = turnover / (3 * self._volume * UNITS_PER_RUPEE)
        reason = f"close {bar.close:.2f} is {100 * off / turnover:+.3f} % off the VWAP, {vwap:.4f}"
        if beside(self._entry) >= 0:
            return Target(Stance.SHORT if off > 0 else Stance.LONG, reason)
        return Target(Stance.FLAT, reason) if beside(self._exit) <= 0 else None

    @override
    def state(self) -> JsonValue:
        return [self._day_open_ns, self._turnover, self._volume]

    @override
    def restore(self, state: Any) -> None:
        if isinstance(state, dict):  # of an earlier version: the sum in rupees, as a float
            units = round(state["_turnover"] * 3 * UNITS_PER_RUPEE)
            state = [state["_day_open_ns"], units, state["_volume"]]
        self._day_open_ns, self._turnover, self._volume = state
