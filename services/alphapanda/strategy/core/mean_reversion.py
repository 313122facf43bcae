"""Mean reversion: trades against a close that is far from its mean."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Self

from pydantic import Field, JsonValue, model_validator
from typing_extensions import override

from alphapanda.domain.errors import InvalidInput
from alphapanda.strategy.core.bars import Bar
from alphapanda.strategy.core.exact import UNITS_PER_RUPEE, as_ratio, in_units
from alphapanda.strategy.core.strategy import BarParameters, BarStrategy, Stance, StrategyParameters, Target
from alphapanda.strategy.core.z_score import ZScore

_CLOSES: Final = "_closes"


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
    Bollinger on Bollinger Bands (2001). Closes that are all the same have no z. It is compared exactly.
    """

    type_name: ClassVar[str] = "mean_reversion"
    parameters_model: ClassVar[type[StrategyParameters]] = MeanReversionParameters

    @override
    def __init__(self, parameters: MeanReversionParameters) -> None:
        self._lookback = parameters.lookback
        self._entry, self._exit = as_ratio(parameters.entry), as_ratio(parameters.exit)
        self._closes = ZScore(parameters.lookback)

    @classmethod
    @override
    def warm_up(cls, parameters: MeanReversionParameters) -> int:
        return parameters.lookback

    @override
    def on_bar(self, bar: Bar) -> Target | None:
        closes = self._closes
        closes.add(in_units(bar.close))
        if not closes.exists:
            return None
        reason = f"z-score {float(closes):+.3f} of {self._lookback} bars"
        if closes.against(self._entry) >= 0:
            return Target(Stance.SHORT if closes.above else Stance.LONG, reason)
        return Target(Stance.FLAT, reason) if closes.against(self._exit) <= 0 else None

    @override
    def state(self) -> JsonValue:
        return {_CLOSES: [each / UNITS_PER_RUPEE for each in self._closes]}

    @override
    def restore(self, state: Any) -> None:
        self._closes.replace(map(in_units, state[_CLOSES]))
