"""Trend following with two exponential moving averages, of ticks or of bars."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, ClassVar, Final, Literal, Self

from pydantic import Field, JsonValue, model_validator
from typing_extensions import override

from alphapanda.domain.errors import InvalidInput
from alphapanda.strategy.core.bars import Bar, Interval
from alphapanda.strategy.core.strategy import Stance, Strategy, StrategyParameters, Target

TICK: Final = "tick"
_LONG: Final = Stance.LONG
_SHORT: Final = Stance.SHORT
TIE: Final = 1e-12
"""Averages that differ by at most this part of the price are equal. The rounding noise of a float average over the longest
period is half of that, and a paisa is a million times more on any share."""


class EmaCrossParameters(StrategyParameters):
    """Periods in ticks or bars; fast is the shorter one."""

    fast: int = Field(10, ge=1, le=10_000, description="ticks, or bars, of the fast average, less than slow")
    slow: int = Field(20, ge=1, le=10_000, description="ticks, or bars, of the slow average")
    interval: Literal["tick", Interval] = Field(
        TICK, description="length of a bar; tick: every tick, whatever its time"
    )

    @model_validator(mode="after")
    def _fast_is_faster(self) -> Self:
        if self.fast >= self.slow:
            raise InvalidInput("parameters.fast", self.fast, f"less than slow, which is {self.slow}")
        return self


class EmaCross(Strategy[EmaCrossParameters]):
    """Long while the fast average is above the slow one, short while it is below.

    Both averages begin at the first price (of ticks, or closes of bars) and move by
    `average += 2 / (n + 1) * (price - average)`. There is no target before number `slow`. While the averages are equal, to a
    trillionth of the price, nothing changes.
    """

    __slots__ = ("_fast", "_fast_alpha", "_long", "_parameters", "_seen", "_slow", "_slow_alpha", "_warm")

    type_name: ClassVar[str] = "ema_cross"
    parameters_model: ClassVar[type[StrategyParameters]] = EmaCrossParameters

    @override
    def __init__(self, parameters: EmaCrossParameters) -> None:
        self._parameters = parameters
        self._fast_alpha = 2.0 / (parameters.fast + 1)
        self._slow_alpha = 2.0 / (parameters.slow + 1)
        self._warm = parameters.slow
        self._seen = 0
        self._fast = 0.0
        self._slow = 0.0
        self._long: bool | None = None

    @override
    def on_tick(self, price: float, time_ns: int) -> Target | None:
        if self._seen:
            self._fast = fast = self._fast + self._fast_alpha * (price - self._fast)
            self._slow = slow = self._slow + self._slow_alpha * (price - self._slow)
        else:
            self._fast = self._slow = fast = slow = price
        if self._seen < self._warm:
            self._seen += 1
            if self._seen < self._warm:
                return None
        side = fast > slow
        if side is self._long or abs(fast - slow) <= TIE * slow:
            return None
        self._long = side
        return self._target(side)

    def on_bar(self, bar: Bar) -> Target | None:
        """Handles a bar as a tick at its close."""
        flipped = self.on_tick(bar.close, bar.end_ns)
        # As on every type on bars, the target is repeated: it counts anew on a new day.
        return flipped if flipped is not None or self._long is None else self._target(self._long)

    @classmethod
    @override
    def interval_of(cls, parameters: Any) -> str | None:
        return None if parameters.interval == TICK else str(parameters.interval)

    @override
    def on_ticks(self, prices: Sequence[float], times_ns: Sequence[int]) -> list[tuple[int, Target]]:
        targets: list[tuple[int, Target]] = []
        begin = 0
        while begin < len(prices) and self._seen < self._warm:
            target = self.on_tick(prices[begin], times_ns[begin])
            if target is not None:
                targets.append((begin, target))
            begin += 1
        fast, slow, long = self._fast, self._slow, self._long
        fast_alpha, slow_alpha = self._fast_alpha, self._slow_alpha
        for index, price in enumerate(islice(prices, begin, None), begin):
            fast += fast_alpha * (price - fast)
            slow += slow_alpha * (price - slow)
            if (fast > slow) is not long and abs(fast - slow) > TIE * slow:
                self._fast, self._slow, self._long = fast, slow, fast > slow
                long = self._long
                targets.append((index, self._target(long)))
        self._fast, self._slow = fast, slow
        return targets

    @classmethod
    @override
    def warm_up(cls, parameters: EmaCrossParameters) -> int:
        return parameters.slow

    @override
    def still_needs(self) -> int:
        return max(0, self._warm - self._seen)

    @override
    def state(self) -> JsonValue:
        return [self._seen, self._fast, self._slow, self._long]

    @override
    def restore(self, state: JsonValue) -> None:
        self._seen, self._fast, self._slow, self._long = state  # type: ignore[misc, str-unpack, assignment]

    def _target(self, side: bool) -> Target:
        where = "above" if side else "below"
        reason = f"EMA {self._parameters.fast} at {self._fast:.4f} is {where} EMA {self._parameters.slow} at {self._slow:.4f}"
        return Target(_LONG if side else _SHORT, reason)
