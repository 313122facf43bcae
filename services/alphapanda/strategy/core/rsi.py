"""Trades against an overbought or oversold market, by the relative strength index (RSI)."""

from __future__ import annotations

from typing import ClassVar, Final, Self

from pydantic import Field, model_validator
from typing_extensions import override

from alphapanda.domain.errors import InvalidInput
from alphapanda.strategy.core.bars import Bar
from alphapanda.strategy.core.exact import UNITS_PER_RUPEE, in_units
from alphapanda.strategy.core.strategy import BarParameters, BarStrategy, Stance, StrategyParameters, Target

MIDDLE = 50.0
TIE: Final = 1e-9
"""An index this near to a level is at the level: Wilder's averages are floats, with noise far below it."""


class RsiParameters(BarParameters):
    """The period and the two levels."""

    period: int = Field(14, ge=2, le=1_000, description="bars of the averages")
    oversold: float = Field(
        30.0, gt=0, lt=100, description="index at or below which it buys, less than overbought"
    )
    overbought: float = Field(70.0, gt=0, lt=100, description="index at or above which it sells")

    @model_validator(mode="after")
    def _levels_are_in_order(self) -> Self:
        if self.oversold >= self.overbought:
            raise InvalidInput(
                "parameters.oversold", self.oversold, f"less than overbought, which is {self.overbought}"
            )
        return self


class Rsi(BarStrategy[RsiParameters]):
    """Long at or below `oversold`, short at or above `overbought`, flat when the index is back at 50, else unchanged.

    index = 100 - 100 / (1 + gain / loss); gain and loss are Wilder's averages of the rises and falls of the close:
    first the mean of `period` of them, then average += (new - average) / period. Without any fall it is 100, without
    any move 50. J. W. Wilder: New Concepts in Technical Trading Systems (1978).
    """

    type_name: ClassVar[str] = "rsi"
    parameters_model: ClassVar[type[StrategyParameters]] = RsiParameters

    @override
    def __init__(self, parameters: RsiParameters) -> None:
        self._parameters = parameters
        self._last: float | None = None
        self._moves = 0
        self._gain = 0.0
        self._loss = 0.0
        self._side = 0

    @classmethod
    @override
    def warm_up(cls, parameters: RsiParameters) -> int:
        return parameters.period + 1

    @override
    def on_bar(self, bar: Bar) -> Target | None:
        last, self._last = self._last, bar.close
        if last is None:
            return None
        index = self._index((in_units(bar.close) - in_units(last)) / UNITS_PER_RUPEE)
        if index is None:
            return None
        before = self._side
        if index <= self._parameters.oversold + TIE:
            self._side = 1
        elif index >= self._parameters.overbought - TIE:
            self._side = -1
        elif (before > 0 and index >= MIDDLE - TIE) or (before < 0 and index <= MIDDLE + TIE):
            self._side = 0
        elif not before:
            return None
        return Target(Stance(self._side), f"RSI {self._parameters.period} at {index:.2f}")

    def _index(self, move: float) -> float | None:
        period = self._parameters.period
        if self._moves < period:
            self._moves += 1
            self._gain += max(move, 0.0) / period
            self._loss += max(-move, 0.0) / period
            if self._moves < period:
                return None
        else:
            self._gain += (max(move, 0.0) - self._gain) / period
            self._loss += (max(-move, 0.0) - self._loss) / period
        both = self._gain + self._loss
        return 100 * self._gain / both if both else MIDDLE
