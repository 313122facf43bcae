"""Trades against a close that is far from the day's volume-weighted average price (VWAP)."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator
from typing_extensions import override

from alphapanda.domain.errors import InvalidInput
from alphapanda.strategy.core.bars import Bar
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
    feed with volumes, and counts from the first bar it sees of a day.
    """

    type_name: ClassVar[str] = "vwap_reversion"
    parameters_model: ClassVar[type[StrategyParameters]] = VwapReversionParameters
    carries_over_night: ClassVar[bool] = False

    @override
    def __init__(self, parameters: VwapReversionParameters) -> None:
        self._parameters = parameters
        self._day_open_ns = 0
        self._turnover = 0.0
        self._volume = 0

    @override
    def on_bar(self, bar: Bar) -> Target | None:
        if bar.day_open_ns != self._day_open_ns:
            self._day_open_ns, self._turnover, self._volume = bar.day_open_ns, 0.0, 0
        self._turnover += (bar.high + bar.low + bar.close) / 3 * bar.volume
        self._volume += bar.volume
        if not self._volume:
            return None
        vwap = self._turnover / self._volume
        off = 100 * (bar.close / vwap - 1)
        reason = f"close {bar.close:.2f} is {off:+.3f} % off the VWAP, {vwap:.4f}"
        if abs(off) >= self._parameters.entry_percent:
            return Target(Stance.SHORT if off > 0 else Stance.LONG, reason)
        return Target(Stance.FLAT, reason) if abs(off) <= self._parameters.exit_percent else None
