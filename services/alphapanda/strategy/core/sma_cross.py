"""Trend following with two simple moving averages of the close."""

from __future__ import annotations

from collections import deque
from typing import Any, ClassVar, Final, Self

from pydantic import Field, JsonValue, model_validator
from typing_extensions import override

from alphapanda.domain.errors import InvalidInput
from alphapanda.strategy.core.bars import Bar
from alphapanda.strategy.core.exact import UNITS_PER_RUPEE, in_units
from alphapanda.strategy.core.strategy import BarParameters, BarStrategy, Stance, StrategyParameters, Target

_CLOSES: Final = "_closes"


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
    """Long while the mean of the last `fast` closes is above that of the last `slow`, short while it is below.

    The means are compared exactly; while they are equal, nothing changes.

    The double crossover of R. D. Donchian's moving average rules, as in W. Brock, J. Lakonishok, B. LeBaron: Simple
    Technical Trading Rules and the Stochastic Properties of Stock Returns, Journal of Finance 47 (1992), with no band.
    """

    type_name: ClassVar[str] = "sma_cross"
    parameters_model: ClassVar[type[StrategyParameters]] = SmaCrossParameters

    @override
    def __init__(self, parameters: SmaCrossParameters) -> None:
        self._parameters = parameters
        self._closes: deque[int] = deque()  # in units, with their sums
        self._fast_sum = self._slow_sum = 0

    @classmethod
    @override
    def warm_up(cls, parameters: SmaCrossParameters) -> int:
        return parameters.slow

    @override
    def on_bar(self, bar: Bar) -> Target | None:
        fast_of, slow_of = self._parameters.fast, self._parameters.slow
        self._add(in_units(bar.close))
        if len(self._closes) < slow_of:
            return None
        fast, slow = self._fast_sum * slow_of, self._slow_sum * fast_of
        if fast == slow:
            return None
        means = (each / (fast_of * slow_of * UNITS_PER_RUPEE) for each in (fast, slow))
        where = "above" if fast > slow else "below"
        reason = f"SMA {fast_of} at {next(means):.4f} is {where} SMA {slow_of} at {next(means):.4f}"
        return Target(Stance.LONG if fast > slow else Stance.SHORT, reason)

    @override
    def state(self) -> JsonValue:
        return {_CLOSES: [each / UNITS_PER_RUPEE for each in self._closes]}

    @override
    def restore(self, state: Any) -> None:
        self._closes.clear()
        self._fast_sum = self._slow_sum = 0
        for close in state[_CLOSES]:
            self._add(in_units(close))

    def _add(self, units: int) -> None:
        closes, fast_of = self._closes, self._parameters.fast
        if len(closes) >= fast_of:
            self._fast_sum -= closes[-fast_of]
        if len(closes) == self._parameters.slow:
            self._slow_sum -= closes.popleft()
        closes.append(units)
        self._fast_sum += units
        self._slow_sum += units
