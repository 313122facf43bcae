"""Runs strategies on ticks and turns their targets into signals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from alphapanda.domain import ids
from alphapanda.domain.calendar import CalendarNotCovered, TradingCalendar
from alphapanda.domain.frame import Frame, instant
from alphapanda.domain.frame_batch import FrameBatch
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.order import OrderType
from alphapanda.domain.order_events import OrderState
from alphapanda.domain.routing import ExecutionRouter
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.strategy.core.bar_watch import Asked, BarWatch, InstrumentBars
from alphapanda.strategy.core.batch_targets import BatchTarget, batch_targets
from alphapanda.strategy.core.building import StrategyBuilder
from alphapanda.strategy.core.config import StrategyConfig, StrategyState
from alphapanda.strategy.core.flattening import flattening_signals
from alphapanda.strategy.core.holdings import Holding, state_of
from alphapanda.strategy.core.isolator import Isolated
from alphapanda.strategy.core.registry import StrategyRegistry
from alphapanda.strategy.core.remembered import Remembered, as_state, is_fresh
from alphapanda.strategy.core.strategy import Target
from alphapanda.strategy.core.watching import Route, Running, StrategyFailure, Watcher

DEFAULT_MAX_ERRORS = 5
MAX_REASON = 500
_MINUTE_NS: Final = 60_000_000_000


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
        build: builds its strategies.
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
        self.build = StrategyBuilder(
            directory, calendar, router, registry or StrategyRegistry(), self._failed
        )
        self._max_errors = max_errors
        self._max_signals = max_signals_per_minute
        self._running: dict[str, Running] = {}
        self._readers: dict[str, StrategyConfig] = {}
        self._routes: dict[int, Route] = {}
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
        return self.build.not_covered

    def configure(self, config: StrategyConfig, state: bytes = b"") -> None:
        """Puts a revision in the place of the one before, from the next frame on.

        A new revision starts its state anew, whatever changed in it, unless `state` (as `states` gave it for this
        revision) is taken up. A stopped one drops the strategy; its positions are nobody's concern here. Where the
        revision flattens what the one before held, the next frame begins with the signals for it.

        Raises:
            InvalidInput: type, parameters or an instrument that don't exist; the strategy is dropped.
            StrategyBroken: the type's own code raised; the strategy is dropped.
        """
        self._readers.pop(config.strategy_id, None)
        if self._running.pop(config.strategy_id, None):
            self._rebuild_routes()
        flattens = config.flattens is not None and is_fresh(state)
        if flattens:
            self._flattening.append(config)
        if config.state is not StrategyState.RUNNING:
            if (
                flattens
            ):  # it stays here as one that sees nothing, so that its state says that it was flattened
                self._running[config.strategy_id] = self.build.stopped(config)
            return
        running = self.build(config, state)
        self._running[config.strategy_id] = running
        if running.holdings is not None:
            self._readers[config.strategy_id] = config
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
        holdings = None if running.holdings is None else state_of(running.holdings)
        fresh = any(waits.strategy_id == strategy_id for waits in self._flattening)
        return as_state(Remembered(running.stopped, remembered, made, holdings), fresh=fresh)

    def warm_up(self, strategy_id: str) -> int:
        """Ticks, or bars, that a strategy has to have seen before its first target."""
        return self.build.warm_up(self._running[strategy_id].config)

    def is_on_bars(self, strategy_id: str) -> bool:
        """Whether a strategy is shown bars."""
        return any(watcher.bars is not None for watcher in self._running[strategy_id].watchers)

    def missing(self, strategy_id: str) -> int:
        """What a strategy still has to see before its first target, on the instrument that lacks most."""
        return max((watcher.missing for watcher in self._running[strategy_id].watchers), default=0)

    def rest(self, strategy_id: str) -> None:
        """Lets a strategy on bars tell its next stance whatever it was before."""
        for watcher in self._running[strategy_id].watchers:
            if watcher.bars is not None:
                watcher.bars.rest()

    def holdings(self, strategy_id: str) -> Mapping[PositionKey, Holding]:
        """What a strategy was told it holds; empty where it doesn't read that, or isn't here."""
        running = self._running.get(strategy_id)
        return {} if running is None or running.holdings is None else running.holdings

    def readers(self) -> list[StrategyConfig]:
        """Configurations of the strategies that read their position."""
        return list(self._readers.values())

    def on_order(self, order: OrderState) -> bool:
        """A strategy's order has changed; False where its strategy doesn't read that, or knows it already.

        What happens to the orders is an input like the frames: the same, at the same place between them, makes the
        same signals.
        """
        running = self._running.get(order.key.strategy_id)
        if running is None or running.holdings is None:
            return False
        holding = running.holdings.get(order.key)
        return holding is not None and holding.apply(order)

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
                        window.close if inside else None,
                    )
            if route.bars is not None and inside:
                signals += self._tick_of_bars(route.bars, frame, ordinal, at)
        if self._next_ends and frame.market_time_ns > self._next_ends.get(frame.shard, frame.market_time_ns):
            signals += self._close_bars(frame)
        return signals

    def on_batch(self, batch: FrameBatch) -> list[BatchTarget] | None:
        """The targets of the strategies at the ticks of many frames, which makes no signals yet.

        Returns:
            In the order of the ticks, of one tick in the order of the strategies' names. None where they have to be
            shown the frames one by one: they want bars, read their position, don't take many ticks, one raised, or a
            tick lies outside the sessions. Nothing has changed then.
        """
        if self._flattening or self._readers or self._next_ends or self._bars:
            return None
        wishes = batch_targets(batch, self._routes)
        if wishes is not None:
            self.frames += len(batch.frames)
            self.ticks += len(batch.instrument_token)
        return wishes

    def signals_of(self, wishes: Iterable[BatchTarget], frame: Frame, end: int) -> list[Signal]:
        """The signals of targets at a frame's ticks, as `on_frame` would have made them.

        Args:
            wishes: of `on_batch`.
            frame: theirs.
            end: how many ticks the batch has up to the frame's end.
        """
        self._frame = frame
        begin = end - len(frame.instrument_token)
        signals: list[Signal] = []
        for tick, watcher, wish, close in wishes:
            at = tick - begin
            time_ns, price = frame.exchange_time[at], frame.last_price[at]
            signals += self._signals(watcher, wish, frame, at, 0, time_ns, price, close)
        return signals

    def take_failures(self) -> list[StrategyFailure]:
        """What strategies raised since this was asked last."""
        failures, self._failures = self._failures, []
        return failures

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
            for signal in flattening_signals(config, self.build.brokers(config), frame)
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
                watcher, wish, frame, ordinal, n + made[strategy_id], time_ns, units, bars.window.close
            )
            made[strategy_id] += 1
        return signals

    def _signals(
        self,
        watcher: Watcher,
        wish: Target,
        frame: Frame,
        ordinal: int,
        n: int,
        time_ns: int,
        price: int,
        session_close: datetime | None,
    ) -> list[Signal]:
        running = watcher.running
        config = running.config
        if self._max_signals is not None and self._flooded(watcher, time_ns // _MINUTE_NS, self._max_signals):
            return []
        frame_id = frame.frame_id
        market_time = instant(time_ns)
        valid_until = market_time + running.ttl
        if session_close is not None and session_close < valid_until:
            valid_until = session_close
        self.signals[config.strategy_id] += len(running.brokers)
        token, target = (
            watcher.instrument.instrument_token,
            max(running.shortest, wish.stance * running.quantity),
        )
        reference_price, reason = Decimal(price) / frame.price_scale, wish.reason[:MAX_REASON]
        return [
            Signal(
                ids.signal_id(config.strategy_id, config.revision, frame_id, ordinal, n, key.broker),
                frame_id,
                frame_id,
                key,
                token,
                config.revision,
                target,
                None,
                None,
                OrderType.MARKET,
                market_time,
                valid_until,
                reference_price,
                reason,
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
