"""Builds strategies on their instruments, from their configurations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alphapanda.domain.calendar import CalendarNotCovered, TradingCalendar
from alphapanda.domain.errors import UnknownName
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.routing import ExecutionRouter
from alphapanda.domain.signal import PositionKey
from alphapanda.strategy.core.basket import BasketStrategy, require_together
from alphapanda.strategy.core.basket_watching import Basket
from alphapanda.strategy.core.config import StrategyConfig, StrategyInstrument
from alphapanda.strategy.core.holdings import Holding, restore
from alphapanda.strategy.core.isolator import Isolated
from alphapanda.strategy.core.registry import StrategyRegistry
from alphapanda.strategy.core.revision_state import RevisionState, revision_state
from alphapanda.strategy.core.sessions import SessionWindow
from alphapanda.strategy.core.strategy import StrategyParameters
from alphapanda.strategy.core.waiting import carries_over_night
from alphapanda.strategy.core.watching import Running, Watcher, bar_watch, position_keys


class StrategyBuilder:
    """Builds strategies for a host.

    Args:
        directory: the instruments, with their session hours.
        calendar: the exchange's sessions.
        router: decides which brokers get a strategy's signals.
        registry: the strategy types.
        failed: called with each error that a strategy raises.
    """

    def __init__(
        self,
        directory: InstrumentDirectory,
        calendar: TradingCalendar,
        router: ExecutionRouter,
        registry: StrategyRegistry,
        failed: Callable[[Watcher, Isolated, Exception], None],
    ) -> None:
        self._directory = directory
        self._calendar = calendar
        self._router = router
        self._registry = registry
        self._failed = failed
        self._windows: dict[str, SessionWindow] = {}

    @property
    def not_covered(self) -> CalendarNotCovered | None:
        """The error of the first day with ticks that the calendar doesn't cover."""
        return next((w.not_covered for w in self._windows.values() if w.not_covered), None)

    def __call__(self, config: StrategyConfig, state: bytes) -> Running:
        """Builds a strategy that continues from a state.

        Raises:
            InvalidInput: the type, a parameter or an instrument doesn't exist.
            StrategyBroken: the type's own code raised.
        """
        strategy_type = self._registry.type_named(config.strategy_type)
        parameters = self._registry.parameters(config.strategy_type, config.parameters)
        running = Running(config, self.brokers(config), self._failed)
        remembered = revision_state(state)
        running.stopped = remembered.stopped
        if strategy_type.wants_position:
            running.holdings = {key: Holding() for key in self.position_keys(config)}
            restore(running.holdings, remembered.holdings or ())
        if issubclass(strategy_type, BasketStrategy):
            self._add_basket(running, strategy_type, parameters, remembered)
            return running
        carries = carries_over_night(strategy_type, parameters, config.product)
        for instrument in config.instruments:
            found = self._found(instrument)
            watcher = Watcher(running, instrument, self._window_of(found), carries=carries)
            watcher.outside_sessions = strategy_type.outside_sessions
            watcher.isolated = Isolated(strategy_type, parameters, watcher)
            watcher.on_tick = watcher.isolated.on_tick
            watcher.bars = bar_watch(watcher, strategy_type, parameters)
            if strategy_type.wants_position or watcher.isolated.takes_context:
                watcher.isolated.set_context(watcher.context(found))
            if instrument.instrument_id in remembered.instruments:
                watcher.restore(remembered.instruments[instrument.instrument_id])
            watcher.minute, watcher.made = remembered.made.get(instrument.instrument_id, (0, 0))
            running.watchers.append(watcher)
        return running

    def _add_basket(
        self,
        running: Running,
        strategy_type: type[BasketStrategy[Any]],
        parameters: StrategyParameters,
        remembered: RevisionState,
    ) -> None:
        """Builds one object on all instruments of a strategy; none on a partition that has none of them."""
        instruments = running.config.instruments
        if not instruments:
            return
        found = [(each, self._found(each)) for each in instruments]
        require_together(strategy_type, [instrument for _, instrument in found], "symbols")
        basket = Basket(
            running,
            strategy_type,
            parameters,
            [(each, instrument, self._window_of(instrument)) for each, instrument in found],
        )
        for watcher in basket.watchers:
            instrument_id = watcher.instrument.instrument_id
            if instrument_id in remembered.instruments:
                watcher.restore(remembered.instruments[instrument_id])
            watcher.minute, watcher.made = remembered.made.get(instrument_id, (0, 0))
            running.watchers.append(watcher)
        running.sees_all = True

    def sees_all(self, config: StrategyConfig) -> bool:
        """Whether one object of the strategy sees all its instruments; False if there is no such type."""
        try:
            return issubclass(self._registry.type_named(config.strategy_type), BasketStrategy)
        except UnknownName:
            return False

    def stopped(self, config: StrategyConfig) -> Running:
        """Makes a stopped strategy without instruments."""
        running = Running(config.only(()), self.brokers(config), self._failed)
        running.stopped = True
        return running

    def brokers(self, config: StrategyConfig) -> tuple[str, ...]:
        """The brokers that get the strategy's signals."""
        return self._router.brokers(config.brokers)

    def warm_up(self, config: StrategyConfig) -> int:
        """The number of ticks (or bars) that the strategy needs before its first target."""
        parameters = self._registry.parameters(config.strategy_type, config.parameters)
        return self._registry.type_named(config.strategy_type).warm_up(parameters)

    def position_keys(self, config: StrategyConfig) -> list[PositionKey]:
        """The keys of the positions that the strategy trades."""
        brokers = self.brokers(config)
        return [key for each in config.instruments for key in position_keys(config, each, brokers)]

    def reads_position(self, config: StrategyConfig) -> bool:
        """Whether the strategy reads its position and its open orders.

        Raises:
            UnknownName: there is no such type.
        """
        return self._registry.type_named(config.strategy_type).wants_position

    def _found(self, instrument: StrategyInstrument) -> Instrument:
        found = self._directory.by_id(instrument.instrument_id)
        if found is None:
            raise UnknownName(
                "instruments", instrument.instrument_id, (each.instrument_id for each in self._directory)
            )
        return found

    def _window_of(self, instrument: Instrument) -> SessionWindow:
        window = self._windows.get(instrument.session_segment)
        if window is None:
            window = self._windows[instrument.session_segment] = SessionWindow(
                self._calendar, instrument.session_segment
            )
        return window
