"""Shows ticks to strategies and turns their wishes into signals."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from pydantic import JsonValue

from alphapanda.domain import ids
from alphapanda.domain.calendar import CalendarNotCovered, TradingCalendar
from alphapanda.domain.errors import UnknownName
from alphapanda.domain.frame import Frame, instant
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.order import OrderType
from alphapanda.domain.routing import ExecutionRouter
from alphapanda.domain.signal import Signal
from alphapanda.strategy.core.bar_watch import Asked, BarWatch, InstrumentBars
from alphapanda.strategy.core.config import StrategyConfig, StrategyInstrument, StrategyState
from alphapanda.strategy.core.flattening import flattening_signals
from alphapanda.strategy.core.registry import StrategyRegistry
from alphapanda.strategy.core.sessions import SessionWindow
from alphapanda.strategy.core.strategy import Wish
from alphapanda.strategy.core.watching import Route, Running, StrategyFailure, Watcher, bar_watch
from alphapanda.strategy.isolator import Isolated

DEFAULT_MAX_ERRORS = 5
MAX_REASON = 500
FRESH: Final = b"fresh "
"""What a state begins with that no frame followed: what the revision flattens is still to be flattened."""
_MINUTE_NS: Final = 60_000_000_000


def is_fresh(state: bytes) -> bool:
    """Whether the revision with this state has not been in effect yet."""
    return not state or state.startswith(FRESH)


class StrategyHost:
    """The strategies of one partition, or of a whole replay.

    It is a function of the configurations, states and frames it is given, in their order: the same make the same
    signals with the same ids (rule 11). Strategies on one instrument are asked in the order of their names, those on
    ticks before those on bars. Bars that a frame's market time closes come after its ticks, in the order of their
    tokens; only frames of an instrument's own shard close its bars, so that one host for all shards does what one for
    each does.

    Args:
        directory: the instruments; says which session hours an instrument has.
        calendar: the sessions.
        router: which brokers get a strategy's signals.
        registry: the types there are.
        max_errors: errors in a row on one instrument after which a strategy is stopped.
        max_signals_per_minute: wishes of a strategy on one instrument in a minute of market time; one more stops it.
            None sets no limit.

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
        max_signals_per_minute: int | None = None,
    ) -> None:
        self._directory = directory
        self._calendar = calendar
        self._router = router
        self._registry = registry or StrategyRegistry()
        self._max_errors = max_errors
        self._max_signals = max_signals_per_minute
        self._running: dict[str, Running] = {}
        self._routes: dict[int, Route] = {}
        self._windows: dict[str, SessionWindow] = {}
        self._bars: dict[int, dict[int, InstrumentBars[Watcher]]] = {}
        self._next_ends: dict[int, int] = {}
        self._frame: Frame | None = None
        self._flattening: list[StrategyConfig] = []
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
        revision) is taken up. A stopped one drops the strategy; its positions are nobody's concern here. Where the
        revision flattens what the one before held, the next frame begins with the signals for it.

        Raises:
            InvalidInput: type, parameters or an instrument that don't exist; the strategy is dropped.
            StrategyBroken: the type's own code raised; the strategy is dropped.
        """
        if self._running.pop(config.strategy_id, None):
            self._rebuild_routes()
        flattens = config.flattens is not None and is_fresh(state)
        if flattens:
            self._flattening.append(config)
        if config.state is not StrategyState.RUNNING:
            if (
                flattens
            ):  # it stays here as one that sees nothing, so that its state says that it was flattened
                running = Running(config.only(()), self._router.brokers(config.brokers), self._failed)
                running.stopped = True
                self._running[config.strategy_id] = running
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
        remembered = {w.instrument.instrument_id: w.state() for w in running.watchers}
        made = {w.instrument.instrument_id: [w.minute, w.made] for w in running.watchers if w.made}
        state = json.dumps([running.stopped, remembered, *([made] if made else [])]).encode()
        return FRESH + state if running.config in self._flattening else state

    def warm_up(self, strategy_id: str) -> int:
        """Ticks, or bars, that a strategy has to have seen before its first wish."""
        config = self._running[strategy_id].config
        parameters = self._registry.parameters(config.strategy_type, config.parameters)
        return self._registry.type_named(config.strategy_type).warm_up(parameters)

    def is_on_bars(self, strategy_id: str) -> bool:
        """Whether a strategy is shown bars."""
        return any(watcher.bars is not None for watcher in self._running[strategy_id].watchers)

    def missing(self, strategy_id: str) -> int:
        """What a strategy still has to see before its first wish, on the instrument that lacks most."""
        return max((watcher.missing for watcher in self._running[strategy_id].watchers), default=0)

    def rest(self, strategy_id: str) -> None:
        """Lets a strategy on bars tell its next stance whatever it was before."""
        for watcher in self._running[strategy_id].watchers:
            if watcher.bars is not None:
                watcher.bars.rest()

    def shows(self, token: int, at_ns: int) -> bool:
        """Whether a tick of an instrument that belongs to this time is shown to its strategies."""
        route = self._routes.get(token)
        if route is None:
            return False
        window = route.window
        return bool(route.always) or window.open_ns <= at_ns < window.close_ns or window.moved_to(at_ns)

    def on_frame(self, frame: Frame) -> list[Signal]:
        """The signals that the frame's ticks cause, in the ticks' order."""
        self._frame = frame
        tokens = frame.instrument_token
        self.frames += 1
        self.ticks += len(tokens)
        signals: list[Signal] = self._flatten(frame) if self._flattening else []
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
                    signals += self._signals(
                        watcher,
                        wish,
                        frame,
                        ordinal,
                        0,
                        times[ordinal],
                        prices[ordinal],
                        window if inside else None,
                    )
            if route.bars is not None and inside:
                signals += self._tick_of_bars(route.bars, frame, ordinal, at)
        if self._next_ends and frame.market_time_ns > self._next_ends.get(frame.shard, frame.market_time_ns):
            signals += self._close_bars(frame)
        return signals

    def take_failures(self) -> list[StrategyFailure]:
        """What strategies raised since this was asked last."""
        failures, self._failures = self._failures, []
        return failures

    def _built(self, config: StrategyConfig, state: bytes) -> Running:
        strategy_type = self._registry.type_named(config.strategy_type)
        parameters = self._registry.parameters(config.strategy_type, config.parameters)
        running = Running(config, self._router.brokers(config.brokers), self._failed)
        remembered: dict[str, JsonValue] = {}
        made: dict[str, tuple[int, int]] = {}
        if state:
            running.stopped, remembered, *rest = json.loads(state.removeprefix(FRESH))
            made = rest[0] if rest else {}
        for instrument in config.instruments:
            watcher = Watcher(running, instrument, self._window_of(instrument))
            watcher.outside_sessions = strategy_type.outside_sessions
            watcher.isolated = Isolated(strategy_type, parameters, watcher)
            watcher.on_tick = watcher.isolated.on_tick
            watcher.bars = bar_watch(watcher, strategy_type, parameters)
            if instrument.instrument_id in remembered:
                watcher.restore(remembered[instrument.instrument_id])
            watcher.minute, watcher.made = made.get(instrument.instrument_id, (0, 0))
            running.watchers.append(watcher)
        return running

    def _rebuild_routes(self) -> None:
        """One lookup from instrument to watchers; built anew at each change, which is rare."""
        routes: dict[int, Route] = {}
        on_bars: dict[int, list[BarWatch[Watcher]]] = {}
        for strategy_id in sorted(self._running):
            running = self._running[strategy_id]
            for watcher in () if running.stopped else running.watchers:
                token = watcher.instrument.instrument_token
                route = routes.get(token)
                if route is None:
                    route = routes[token] = Route(watcher.window)
                if watcher.bars is not None:
                    on_bars.setdefault(token, []).append(watcher.bars)
                    continue
                route.watchers += (watcher,)
                if watcher.outside_sessions:
                    route.always += (watcher,)
        self._routes = routes
        self._bars = {}
        self._next_ends = {}
        for token, watches in on_bars.items():
            bars = routes[token].bars = InstrumentBars(routes[token].window, watches)
            self._expect(bars, token, bars.shard)

    def _unwatch(self, running: Running) -> None:
        """Takes a strategy off its instruments at once, within a frame too."""
        for route in self._routes.values():
            route.watchers = tuple(w for w in route.watchers if w.running is not running)
            route.always = tuple(w for w in route.always if w.running is not running)
            if route.bars is not None:
                route.bars.keep(lambda watcher: watcher.running is not running)

    def _expect(self, bars: InstrumentBars[Watcher], token: int, shard: int) -> None:
        """Remembers when the instrument's bars have to be closed by market time alone, if no tick does it before."""
        of_shard = self._bars.setdefault(shard, {})
        of_shard[token] = bars
        ends = bars.next_end_ns
        if ends and ends < self._next_ends.get(shard, ends + 1):
            self._next_ends[shard] = ends

    def _flatten(self, frame: Frame) -> list[Signal]:
        """Signals to hold nothing, for what revisions before those just put in effect held."""
        configs, self._flattening = self._flattening, []
        signals = [
            signal
            for config in configs
            for signal in flattening_signals(config, self._router.brokers(config.brokers), frame)
        ]
        self.signals.update(signal.key.strategy_id for signal in signals)
        return signals

    def _tick_of_bars(
        self, bars: InstrumentBars[Watcher], frame: Frame, ordinal: int, at_ns: int
    ) -> list[Signal]:
        price = frame.last_price[ordinal] / frame.price_scale
        volume = frame.volume[ordinal] if len(frame.volume) else None
        time_ns = frame.exchange_time[ordinal]
        wishes = bars.tick(price, at_ns, time_ns, volume, frame.shard)
        self._expect(bars, frame.instrument_token[ordinal], frame.shard)
        return self._signals_of_bars(bars, wishes, frame, ordinal, 0, time_ns) if wishes else []

    def _close_bars(self, frame: Frame) -> list[Signal]:
        """Closes the bars of the frame's shard whose end its market time is past."""
        signals: list[Signal] = []
        now = frame.market_time_ns
        del self._next_ends[frame.shard]
        for token, bars in sorted(self._bars[frame.shard].items()):
            if 0 < bars.next_end_ns < now:
                # Numbered by token: these come from no tick of the frame, and a strategy has one for each instrument.
                signals += self._signals_of_bars(
                    bars, bars.passed(now), frame, len(frame.instrument_token), token, now
                )
            self._expect(bars, token, frame.shard)
        return signals

    def _signals_of_bars(
        self,
        bars: InstrumentBars[Watcher],
        wishes: Sequence[Asked[Watcher]],
        frame: Frame,
        ordinal: int,
        n: int,
        time_ns: int,
    ) -> list[Signal]:
        signals: list[Signal] = []
        made: Counter[str] = Counter()
        for watcher, wish, price in wishes:
            strategy_id = watcher.running.config.strategy_id
            units = round(price * frame.price_scale)
            signals += self._signals(
                watcher, wish, frame, ordinal, n + made[strategy_id], time_ns, units, bars.window
            )
            made[strategy_id] += 1
        return signals

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
        self,
        watcher: Watcher,
        wish: Wish,
        frame: Frame,
        ordinal: int,
        n: int,
        time_ns: int,
        price: int,
        window: SessionWindow | None,
    ) -> list[Signal]:
        running = watcher.running
        config = running.config
        if self._max_signals is not None and self._flooded(watcher, time_ns // _MINUTE_NS, self._max_signals):
            return []
        frame_id = frame.frame_id
        market_time = instant(time_ns)
        valid_until = market_time + running.ttl
        if window is not None and window.close < valid_until:
            valid_until = window.close
        self.signals[config.strategy_id] += len(running.brokers)
        return [
            Signal(
                signal_id=ids.signal_id(
                    config.strategy_id, config.revision, frame_id, ordinal, n, key.broker
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
                reference_price=Decimal(price) / frame.price_scale,
                reason=wish.reason[:MAX_REASON],
            )
            for key in watcher.keys
        ]

    def _flooded(self, watcher: Watcher, minute: int, most: int) -> bool:
        """Counts a wish; one too many in a minute of market time stops the strategy."""
        if watcher.running.stopped:
            return True
        if minute != watcher.minute:
            watcher.minute, watcher.made = minute, 0
        watcher.made += 1
        if watcher.made <= most:
            return False
        self._note(watcher, f"more than {most} signals in a minute of market time", 0, stops=True)
        return True

    def _failed(self, watcher: Watcher, isolated: Isolated, error: Exception) -> None:
        running = watcher.running
        strategy_id = running.config.strategy_id
        self.errors[strategy_id] += 1
        stops = isolated.errors_in_a_row >= self._max_errors and not running.stopped
        self._note(watcher, f"{type(error).__name__}: {error}", isolated.errors_in_a_row, stops=stops)

    def _note(self, watcher: Watcher, error: str, errors_in_a_row: int, *, stops: bool) -> None:
        """Notes a failure, and where it `stops` the strategy takes it off its instruments."""
        running = watcher.running
        if stops:
            running.stopped = True
            self._unwatch(running)
        self._failures.append(
            StrategyFailure(
                strategy_id=running.config.strategy_id,
                revision=running.config.revision,
                instrument_id=watcher.instrument.instrument_id,
                frame_id=self._frame.frame_id if self._frame else "",
                error=error,
                errors_in_a_row=errors_in_a_row,
                stopped=stops,
            )
        )
