"""What the host holds for a strategy that sees several instruments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import JsonValue
from typing_extensions import override

from alphapanda.domain.instrument import Instrument
from alphapanda.strategy.core.bar_watch import BarWatch
from alphapanda.strategy.core.bars import Bar
from alphapanda.strategy.core.basket import BasketStrategy
from alphapanda.strategy.core.config import StrategyInstrument
from alphapanda.strategy.core.isolator import Isolated
from alphapanda.strategy.core.sessions import SessionWindow
from alphapanda.strategy.core.strategy import StrategyParameters, Target
from alphapanda.strategy.core.waiting import carries_over_night
from alphapanda.strategy.core.watching import Running, Watcher


class Basket:
    """A strategy at one revision, on all its instruments.

    Args:
        running: the strategy.
        strategy_type: its type.
        parameters: its parameters.
        instruments: its instruments with their sessions, in the order of its configuration.
    """

    def __init__(
        self,
        running: Running,
        strategy_type: type[BasketStrategy[Any]],
        parameters: StrategyParameters,
        instruments: Sequence[tuple[StrategyInstrument, Instrument, SessionWindow]],
    ) -> None:
        symbols = tuple(found.symbol for _, found, _ in instruments)
        self._isolated = Isolated(strategy_type, parameters, self, symbols)
        self._watches: dict[str, BasketWatch] = {}
        carries = carries_over_night(strategy_type, parameters, running.config.product)
        interval, warm_up = str(strategy_type.interval_of(parameters)), strategy_type.warm_up(parameters)
        self.watchers: list[BasketWatcher] = []
        contexts = {}
        for instrument, found, window in instruments:
            watcher = BasketWatcher(running, instrument, window, carries=carries)
            watcher.isolated, watcher.leads = self._isolated, not self.watchers
            watch = BasketWatch(self, found.symbol, watcher, interval, warm_up, carries=carries)
            watcher.bars = watcher.watch = self._watches[found.symbol] = watch
            contexts[found.symbol] = watcher.context(found)
            self.watchers.append(watcher)
        self._isolated.set_context(contexts)
        self._at = self.watchers[0]

    def targets_after(self, watch: BasketWatch, bar: Bar) -> list[tuple[BarWatch[Watcher], Target, float]]:
        """Calls the strategy with a bar of an instrument; returns (instrument, its target, its last price)."""
        self._at = watch.watcher
        priced = {symbol: each for symbol, each in self._watches.items() if each.last_close}
        made = self._isolated.on_basket_bar(watch.symbol, bar, priced)
        if any(each.missing for each in self._watches.values()):
            return []
        return [(priced[symbol], target, priced[symbol].last_close) for symbol, target in made.items()]

    def __call__(self, isolated: Isolated, error: Exception) -> None:
        """Reports an error of the strategy, on the instrument whose bar it was handling."""
        self._at(isolated, error)


class BasketWatcher(Watcher):
    """A strategy that sees several instruments, on one of them; `leads` on the first, which holds the strategy's state."""

    __slots__ = ("leads", "watch")

    leads: bool
    watch: BasketWatch

    @override
    def state(self) -> JsonValue:
        watch = self.watch
        return [self.isolated.state() if self.leads else None, watch.state(), watch.last_close]

    @override
    def restore(self, state: Any) -> None:
        watch = self.watch
        remembered, of_bars, watch.last_close = state
        watch.restore(of_bars)
        if self.leads:
            self.isolated.restore(remembered)


class BasketWatch(BarWatch[Watcher]):
    """The bars of one instrument of a strategy that sees several.

    Attributes:
        last_close: close of its last bar, rupees; 0.0 if it had none.
    """

    __slots__ = ("_basket", "last_close", "symbol", "watcher")

    def __init__(
        self,
        basket: Basket,
        symbol: str,
        watcher: BasketWatcher,
        interval: str,
        warm_up: int,
        *,
        carries: bool,
    ) -> None:
        super().__init__(watcher, lambda _: None, interval, warm_up, carries=carries)
        self._basket = basket
        self.symbol = symbol
        self.watcher: BasketWatcher = watcher
        self.last_close = 0.0

    @override
    def window(self, of_bar: SessionWindow, time_ns: int) -> SessionWindow | None:
        """Its own instrument's session: the bar may be of an instrument with other hours."""
        window = self.watcher.window
        return window if window.open_ns <= time_ns < window.close_ns or window.move_to(time_ns) else None

    @override
    def targets_after(self, bar: Bar) -> Sequence[tuple[BarWatch[Watcher], Target, float]]:
        self.last_close = bar.close
        self.count()
        return self._basket.targets_after(self, bar)
