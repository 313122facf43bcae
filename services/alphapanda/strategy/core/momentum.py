"""Momentum: trades in the direction of the return over the last bars."""

from __future__ import annotations

from collections import deque
from typing import ClassVar

from pydantic import Field
from typing_extensions import override

from alphapanda.strategy.core.bars import Bar
from alphapanda.strategy.core.strategy import BarParameters, BarStrategy, Stance, StrategyParameters, Target


class MomentumParameters(BarParameters):
    """The lookback, and the threshold of the return."""

    lookback: int = Field(20, ge=1, le=5_000, description="bars back to the close compared with")
    threshold_percent: float = Field(
        0.2, ge=0, le=100, allow_inf_nan=False, description="percent; a smaller move is none"
    )


class Momentum(BarStrategy[MomentumParameters]):
    """Long if the close is more than the threshold above the one `lookback` bars ago, short if below, else flat.

    return = 100 * (close / close[lookback] - 1) percent, and the side is its sign: time series momentum, T. Moskowitz,
    Y. H. Ooi, L. H. Pedersen, Journal of Financial Economics 104 (2012), on bars of any length and with a dead band.
    """

    type_name: ClassVar[str] = "momentum"
    parameters_model: ClassVar[type[StrategyParameters]] = MomentumParameters

    @override
    def __init__(self, parameters: MomentumParameters) -> None:
        self._parameters = parameters
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
        change = 100 * (bar.close / self._closes[0] - 1)
        threshold = self._parameters.threshold_percent
        stance = Stance((change > threshold) - (change < -threshold))
        return Target(stance, f"{change:+.3f} % in {self._parameters.lookback} bars, threshold {threshold} %")
