"""Mean reversion: trades against a close that is far from its mean."""

from __future__ import annotations

from collections import deque
from statistics import fmean, pstdev
from typing import ClassVar, Self

from pydantic import Field, model_validator
from typing_extensions import override

from alphapanda.domain.errors import InvalidInput
from alphapanda.strategy.core.bars import Bar
from alphapanda.strategy.core.strategy import BarParameters, BarStrategy, Stance, StrategyParameters, Target


class MeanReversionParameters(BarParameters):
    """The window, and the z-scores for entry and exit."""

    lookback: int = Field(20, ge=2, le=1_000, description="bars of mean and deviation, the last one included")
    entry: float = Field(2.0, gt=0, le=10, description="z-score from which on it enters")
    exit: float = Field(0.5, ge=0, le=10, description="z-score down to which it leaves, less than entry")

    @model_validator(mode="after")
    def _exit_is_nearer(self) -> Self:
        if self.exit >= self.entry:
            raise InvalidInput("parameters.exit", self.exit, f"less than entry, which is {self.entry}")
        return self


class MeanReversion(BarStrategy[MeanReversionParameters]):
    """Short from z = entry up, long from -entry down, flat where |z| is at most exit, else as before.

    z = (close - mean) / standard deviation of the last `lookback` closes, of the population, as in J. Bollinger:
    Bollinger on Bollinger Bands (2001). Closes that are all the same have no z.
    """

    type_name: ClassVar[str] = "mean_reversion"
    parameters_model: ClassVar[type[StrategyParameters]] = MeanReversionParameters

    @override
    def __init__(self, parameters: MeanReversionParameters) -> None:
        self._parameters = parameters
        self._closes: deque[float] = deque(maxlen=parameters.lookback)

    @classmethod
    @override
    def warm_up(cls, parameters: MeanReversionParameters) -> int:
        return parameters.lookback

    @override
    def on_bar(self, bar: Bar) -> Target | None:
        closes, parameters = self._closes, self._parameters
        closes.append(bar.close)
        if len(closes) < parameters.lookback or min(closes) == max(closes):
            return None
        mean = fmean(closes)
        z = (bar.close - mean) / pstdev(closes)
        reason = f"z-score {z:+.3f} of {parameters.lookback} bars"
        if abs(z) >= parameters.entry:
            return Target(Stance.SHORT if z > 0 else Stance.LONG, reason)
        return Target(Stance.FLAT, reason) if abs(z) <= parameters.exit else None
