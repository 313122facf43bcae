"""Trend following with two simple moving averages of the close."""

from __future__ import annotations

from collections import deque
from itertools import islice
from math import fsum
from typing import ClassVar, Self

from pydantic import Field, model_validator
from typing_extensions import override

from alphapanda.domain.errors import InvalidInput
from alphapanda.strategy.core.bars import Bar
from alphapanda.strategy.core.strategy import BarParameters, BarStrategy, Stance, StrategyParameters, Target


class SmaCrossParameters(BarParameters):
    """Periods in bars; fast is the shorter one."""

    fast: int = Field(10, ge=1, le=5_000, description="bars of the fast average, less than slow")
    slow: int = Field(30, ge=2, le=5_000, description="bars of the slow average")

    @model_validator(mode="after")
    def _fast_is_faster(self) -> Self:
        if self.fast >= self.slow:
            raise InvalidInput("parameters.fast", self.fast, f"less than slow, which is {self.slow}")
        return self


class SmaCross(BarStrategy[SmaCrossParameters]):
    """Long while the mean of the last `fast` closes is above that of the last `slow`, else short.

    The double crossover of R. D. Donchian's moving average rules, as in W. Brock, J. Lakonishok, B. LeBaron: Simple
    Technical Trading Rules and the Stochastic Properties of Stock Returns, Journal of Finance 47 (1992), with no band.
    """

    type_name: ClassVar[str] = "sma_cross"
    parameters_model: ClassVar[type[StrategyParameters]] = SmaCrossParameters

    @override
    def __init__(self, parameters: SmaCrossParameters) -> None:
        self._parameters = parameters
        self._closes: deque[float] = deque(maxlen=parameters.slow)

    @classmethod
    @override
    def warm_up(cls, parameters: SmaCrossParameters) -> int:
        return parameters.slow

    @override
    def on_bar(self, bar: Bar) -> Target | None:
        closes, fast_of = self._closes, self._parameters.fast
        closes.append(bar.close)
        if len(closes) < self._parameters.slow:
            return None
        fast = fsum(islice(closes, len(closes) - fast_of, None)) / fast_of
        slow = fsum(closes) / len(closes)
        where = "above" if fast > slow else "not above"
        reason = f"SMA {fast_of} at {fast:.4f} is {where} SMA {len(closes)} at {slow:.4f}"
        return Target(Stance.LONG if fast > slow else Stance.SHORT, reason)
