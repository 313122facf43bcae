"""Momentum: trades in the direction of the return over the last bars."""

from __future__ import annotations

from collections import deque
from typing import ClassVar

from pydantic import Field, JsonValue
from typing_extensions import override

from alphapanda.strategy.core.bars import Bar
from alphapanda.strategy.core.exact import as_ratio, in_units
from alphapanda.strategy.core.strategy import BarParameters, BarStrategy, Stance, StrategyParameters, Target


class MomentumParameters(BarParameters):
    """The lookback, and the threshold of the return."""

    lookback: int = Field(20, ge=1, le=5_000, description="bars back to the close compared with")
    threshold_percent: float = Field(
        0.2,
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="percent; a smaller move is none, an equal one changes nothing",
    )


class Momentum(BarStrategy[MomentumParameters]):
    """Long if the close is more than the threshold above the one `lookback` bars ago, short if below, flat if within.

    return = 100 * (close / close[lookback] - 1) percent, and the side is its sign: time series momentum, T. Moskowitz,
    Y. H. Ooi, L. H. Pedersen, Journal of Financial Economics 104 (2012), on bars of any length and with a dead band.
    The return is compared exactly; where it equals the threshold, nothing changes.
    """

    type_name: ClassVar[str] = "momentum"
    parameters_model: ClassVar[type[StrategyParameters]] = MomentumParameters

    @override
    def __init__(self, parameters: MomentumParameters) -> None:
        self._parameters = parameters
        self._threshold = as_ratio(parameters.threshold_percent)
        self._closes: deque[float] = deque(maxlen=parameters.lookback + 1)

    @classmethod
    @override
    def warm_up(cls, parameters: MomentumParameters) -> int:
        return parameters.lookback + 1

    @override
    def on_bar(self, bar: Bar) -> Target | None:
        self._closes.append(bar.close)
        if len(self._closes) <= self._parameters.lookback:
            return None
        before, (numerator, denominator) = in_units(self._closes[0]), self._threshold
        move, threshold = 100 * (in_units(bar.close) - before) * denominator, before * numerator
        if abs(move) == threshold:
            return None
        stance = Stance((move > threshold) - (move < -threshold))
        change, percent = move / (before * denominator), self._parameters.threshold_percent
        return Target(stance, f"{change:+.3f} % in {self._parameters.lookback} bars, threshold {percent} %")

    @override
    def state(self) -> JsonValue:
        return {"_closes": list(self._closes)}
