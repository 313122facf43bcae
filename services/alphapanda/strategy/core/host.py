"""Shows ticks to strategies and turns their wishes into signals."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from pydantic import JsonValue

from alphapanda.domain import ids
from alphapanda.domain.calendar import CalendarNotCovered, TradingCalendar
from alphapanda.domain.errors import UnknownName
from alphapanda.domain.frame import Frame, instant
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.order import OrderType, Product
from alphapanda.domain.routing import ExecutionRouter
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.strategy.core.config import StrategyConfig, StrategyInstrument, StrategyState
from alphapanda.strategy.core.registry import StrategyRegistry
from alphapanda.strategy.core.sessions import SessionWindow
from alphapanda.strategy.core.strategy import Wish
from alphapanda.strategy.isolator import Isolated

DEFAULT_MAX_ERRORS = 5
MAX_REASON = 500


@dataclass(frozen=True, slots=True)
class StrategyFailure:
    """A strategy raised.

    Attributes:
        strategy_id: which strategy.
        revision: its revision.
        instrument_id: on which instrument.
        frame_id: on which frame.
        error: the error, in words.
        errors_in_a_row: how many on this instrument, this one included.
        stopped: True where it was one too many: the strategy sees nothing more until its next revision.
    """

    strategy_id: str
    revision: int
    instrument_id: str
    frame_id: str
    error: str
    errors_in_a_row: int
    stopped: bool


class _Running:
    """A strategy at one revision."""

    __slots__ = ("brokers", "config", "failed", "quantity", "shortest", "stopped", "ttl", "watchers")

    def __init__(
        self,
        config: StrategyConfig,
        brokers: tuple[str, ...],
        failed: Callable[[_Watcher, Isolated, Exception], None],
    ) -> None:
        self.config = config
        self.brokers = brokers
        self.failed = failed
        self.quantity = config.quantity
        self.shortest = 0 if config.product is Product.CNC else -config.quantity
        self.ttl = timedelta(seconds=config.signal_ttl_seconds)
        self.watchers: list[_Watcher] = []
        self.stopped = False


class _Watcher:
    """A strategy at one revision on one instrument."""

    __slots__ = ("instrument", "isolated", "keys", "on_tick", "outside_sessions", "running", "window")

    def __init__(self, running: _Running, instrument: StrategyInstrument, window: SessionWindow) -> None:
        self.running = running
        self.instrument = instrument
        self.window = window
        self.isolated: Isolated
        self.on_tick: Callable[[float, int], Wish | None]
        config = running.config
        self.keys = tuple(
            PositionKey(broker, config.account, config.strategy_id, instrument.instrument_id, config.product)
            for broker in running.brokers
        )
        self.outside_sessions = False

    def __call__(self, isolated: Isolated, error: Exception) -> None:
        """Passes an error on. There may be 100,000 watchers, so none holds a callable of its own for this."""
        self.running.failed(self, isolated, error)


class _Route:
    """Who watches an instrument, and the session it is in."""

    __slots__ = ("always", "watchers", "window")

    def __init__(self, window: SessionWindow) -> None:
        self.window = window
        self.watchers: tuple[_Watcher, ...] = ()
        self.always: tuple[_Watcher, ...] = ()


class StrategyHost:
    """The strategies of one partition, or of a whole replay.

    It is a function of the configurations, states and frames it is given, in their order: the same make the same
    signals with the same ids (rule 11). Strategies on one instrument are asked in the order of their names.

    Args:
        directory: the instruments; says which session hours an instrument has.
        calendar: the sessions.
        router: which brokers get a strategy's signals.
        registry: the types there are.
        max_errors: errors in a row on one instrument after which a strategy is stopped.

    Attributes:
        frames: frames seen.
        ticks: ticks in them, watched or not.
        signals: signals made, by strategy.
        errors: errors raised, by strategy.
    """

    def __init__(
        self,
        directory: InstrumentDirectory,
        calendar: TradingCalendar,
        router: ExecutionRouter,
        registry: StrategyRegistry | None = None,
        max_errors: int = DEFAULT_MAX_ERRORS,
    ) -> None:
        self._directory = directory
        self._calendar = calendar
        self._router = router
        self._registry = registry or StrategyRegistry()
        self._max_errors = max_errors
        self._running: dict[str, _Running] = {}
        self._routes: dict[int, _Route] = {}
        self._windows: dict[str, SessionWindow] = {}
        self._frame: Frame | None = None
        self._failures: list[StrategyFailure] = []
        self.frames = 0
        self.ticks = 0
        self.signals: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()

    @property
    def not_covered(self) -> CalendarNotCovered | None:
        """The first day with ticks that the calendar has no data for: strategies saw none of them."""
        return next((w.not_covered for w in self._windows.values() if w.not_covered), None)

    def configure(self, config: StrategyConfig, state: bytes = b"") -> None:
        """Puts a revision in the place of the one before, from the next frame on.

        A new revision starts its state anew, whatever changed in it, unless `state` (as `states` gave it for this
        revision) is taken up. A stopped one drops the strategy; its positions are nobody's concern here.

        Raises:
            InvalidInput: type, parameters or an instrument that don't exist; the strategy is dropped.
            StrategyBroken: the type's own code raised; the strategy is dropped.
        """
        if self._running.pop(config.strategy_id, None):
            self._rebuild_routes()
        if config.state is not StrategyState.RUNNING:
            return
        running = self._built(config, state)
        self._running[config.strategy_id] = running
        if not running.stopped:
            self._rebuild_routes()

    def revisions(self) -> dict[str, int]:
        """Revision of each strategy it holds, those stopped by their errors too."""
        return {strategy_id: running.config.revision for strategy_id, running in self._running.items()}

    def state(self, strategy_id: str) -> bytes:
        """What a strategy remembers on all its instruments; exact.

        Raises:
            StrategyBroken: its type doesn't give a state that can be stored.
        """
        running = self._running[strategy_id]
        remembered = {w.instrument.instrument_id: w.isolated.state() for w in running.watchers}
        return json.dumps([running.stopped, remembered]).encode()

    def on_frame(self, frame: Frame) -> list[Signal]:
        """The signals that the frame's ticks cause, in the ticks' order."""
        self._frame = frame
        tokens = frame.instrument_token
        self.frames += 1
        self.ticks += len(tokens)
        signals: list[Signal] = []
        route_of = self._routes.get
        prices = frame.last_price
        times = frame.exchange_time
        belongs_at = frame.bar_start if len(frame.bar_start) else times
        scale = frame.price_scale
        for ordinal, token in enumerate(tokens):
            route = route_of(token)
            if route is None:
                continue
            at = belongs_at[ordinal]
            window = route.window
            inside = window.open_ns <= at < window.close_ns or window.moved_to(at)
            for watcher in route.watchers if inside else route.always:
                wish = watcher.on_tick(prices[ordinal] / scale, times[ordinal])
                if wish is not None:
                    signals += self._signals(watcher, wish, frame, ordinal, window if inside else None)
        return signals

    def take_failures(self) -> list[StrategyFailure]:
        """What strategies raised since this was asked last."""
        failures, self._failures = self._failures, []
        return failures

    def _built(self, config: StrategyConfig, state: bytes) -> _Running:
        strategy_type = self._registry.type_named(config.strategy_type)
        parameters = self._registry.parameters(config.strategy_type, config.parameters)
        running = _Running(config, self._router.brokers(config.brokers), self._failed)
        remembered: dict[str, JsonValue] = {}
        if state:
            running.stopped, remembered = json.loads(state)
        for instrument in config.instruments:
            watcher = _Watcher(running, instrument, self._window_of(instrument))
            watcher.outside_sessions = strategy_type.outside_sessions
            watcher.isolated = Isolated(strategy_type, parameters, watcher)
            watcher.on_tick = watcher.isolated.on_tick
            if instrument.instrument_id in remembered:
                watcher.isolated.restore(remembered[instrument.instrument_id])
            running.watchers.append(watcher)
        return running

    def _rebuild_routes(self) -> None:
        """One lookup from instrument to watchers; built anew at each change, which is rare."""
        routes: dict[int, _Route] = {}
        for strategy_id in sorted(self._running):
            running = self._running[strategy_id]
            for watcher in () if running.stopped else running.watchers:
                token = watcher.instrument.instrument_token
                route = routes.get(token)
                if route is None:
                    route = routes[token] = _Route(watcher.window)
                route.watchers += (watcher,)
                if watcher.outside_sessions:
                    route.always += (watcher,)
        self._routes = routes

    def _unwatch(self, running: _Running) -> None:
        """Takes a strategy off its instruments at once, within a frame too."""
        for route in self._routes.values():
            route.watchers = tuple(w for w in route.watchers if w.running is not running)
            route.always = tuple(w for w in route.always if w.running is not running)

    def _window_of(self, instrument: StrategyInstrument) -> SessionWindow:
        found = self._directory.by_id(instrument.instrument_id)
        if found is None:
            raise UnknownName(
                "instruments", instrument.instrument_id, (each.instrument_id for each in self._directory)
            )
        window = self._windows.get(found.session_segment)
        if window is None:
            window = self._windows[found.session_segment] = SessionWindow(
                self._calendar, found.session_segment
            )
        return window

    def _signals(
        self, watcher: _Watcher, wish: Wish, frame: Frame, ordinal: int, window: SessionWindow | None
    ) -> list[Signal]:
        running = watcher.running
        config = running.config
        frame_id = frame.frame_id
        market_time = instant(frame.exchange_time[ordinal])
        valid_until = market_time + running.ttl
        if window is not None and window.close < valid_until:
            valid_until = window.close
        self.signals[config.strategy_id] += len(running.brokers)
        return [
            Signal(
                signal_id=ids.signal_id(
                    config.strategy_id, config.revision, frame_id, ordinal, 0, key.broker
                ),
                correlation_id=frame_id,
                causation_id=frame_id,
                key=key,
                instrument_token=watcher.instrument.instrument_token,
                config_revision=config.revision,
                target=max(running.shortest, wish.stance * running.quantity),
                side=None,
                quantity=None,
                order_type=OrderType.MARKET,
                market_time=market_time,
                valid_until=valid_until,
                reference_price=Decimal(frame.last_price[ordinal]) / frame.price_scale,
                reason=wish.reason[:MAX_REASON],
            )
            for key in watcher.keys
        ]

    def _failed(self, watcher: _Watcher, isolated: Isolated, error: Exception) -> None:
        running = watcher.running
        strategy_id = running.config.strategy_id
        self.errors[strategy_id] += 1
        stops = isolated.errors_in_a_row >= self._max_errors and not running.stopped
        if stops:
            running.stopped = True
            self._unwatch(running)
        self._failures.append(
            StrategyFailure(
                strategy_id=strategy_id,
                revision=running.config.revision,
                instrument_id=watcher.instrument.instrument_id,
                frame_id=self._frame.frame_id if self._frame else "",
                error=f"{type(error).__name__}: {error}",
                errors_in_a_row=isolated.errors_in_a_row,
                stopped=stops,
            )
        )
