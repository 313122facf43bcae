"""Trades two instruments against each other when the distance of their prices is far from its mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import JsonValue
from typing_extensions import override

from alphapanda.strategy.core.bars import Bar
from alphapanda.strategy.core.basket import BasketStrategy
from alphapanda.strategy.core.exact import as_ratio, in_units
from alphapanda.strategy.core.mean_reversion import MeanReversionParameters
from alphapanda.strategy.core.strategy import Stance, StrategyParameters, Target
from alphapanda.strategy.core.z_score import ZScore


class PairsParameters(MeanReversionParameters):
    """The window, and the z-scores for entry and exit; `lookback` counts bars that both instruments have."""


class Pairs(BasketStrategy[PairsParameters]):
    """Short the first and long the second instrument from z = entry up, the reverse from -entry down, flat within exit.

    z is that of the spread, the first close minus the second, over the last `lookback` bars that both have: the position is
    equal units of both. E. Gatev, W. N. Goetzmann, K. G. Rouwenhorst: Pairs Trading, Review of Financial Studies 19 (2006),
    with a moving window. It needs a product that can be short (MIS, NRML). It is compared exactly.
    """

    type_name: ClassVar[str] = "pairs"
    parameters_model: ClassVar[type[StrategyParameters]] = PairsParameters
    most_symbols: ClassVar[int] = 2

    @override
    def __init__(self, parameters: PairsParameters, symbols: Sequence[str]) -> None:
        self._first, self._second = symbols
        self._lookback = parameters.lookback
        self._entry, self._exit = as_ratio(parameters.entry), as_ratio(parameters.exit)
        self._spread = ZScore(parameters.lookback)
        self._last: dict[str, tuple[int, int]] = {}

    @classmethod
    @override
    def warm_up(cls, parameters: PairsParameters) -> int:
        return parameters.lookback

    @override
    def on_bar(self, symbol: str, bar: Bar) -> Mapping[str, Target] | None:
        self._last[symbol] = bar.start_ns, in_units(bar.close)
        if len(self._last) < self.most_symbols:
            return None
        (one, first), (other, second) = self._last[self._first], self._last[self._second]
        if one != other:
            return None  # the other instrument's bar of this time is still to come, if it has one
        spread = self._spread
        spread.add(first - second)
        if not spread.exists:
            return None
        reason = f"z-score {float(spread):+.3f} of the spread over {self._lookback} bars"
        if spread.against(self._entry) >= 0:
            side = Stance.SHORT if spread.above else Stance.LONG
            return {self._first: Target(side, reason), self._second: Target(Stance(-side), reason)}
        if spread.against(self._exit) <= 0:
            return dict.fromkeys((self._first, self._second), Target(Stance.FLAT, reason))
        return None

    @override
    def state(self) -> JsonValue:
        return [list(self._spread), {symbol: list(last) for symbol, last in self._last.items()}]

    @override
    def restore(self, state: Any) -> None:
        spreads, last = state
        self._spread.replace(spreads)
        self._last = {symbol: (start, close) for symbol, (start, close) in last.items()}
