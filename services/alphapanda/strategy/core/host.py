"""Runs strategies on frames of ticks and turns their targets into signals."""

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
from alphapanda.strategy.core.bar_watch import BarTarget, InstrumentBars
from alphapanda.strategy.core.bars import unserved_interval
from alphapanda.strategy.core.basket import MOST_SYMBOLS
from alphapanda.strategy.core.batch_targets import BatchTarget, batch_targets, waiting_at_end
from alphapanda.strategy.core.building import StrategyBuilder
from alphapanda.strategy.core.config import StrategyConfig, StrategyState
from alphapanda.strategy.core.flattening import flattening_signals
from alphapanda.strategy.core.holdings import Holding, state_of
from alphapanda.strategy.core.isolator import Isolated
from alphapanda.strategy.core.registry import StrategyRegistry
from alphapanda.strategy.core.revision_state import RevisionState, is_fresh, state_bytes
from alphapanda.strategy.core.routing import ANY_SHARD, Routing
from alphapanda.strategy.core.strategy import Target
from alphapanda.strategy.core.watching import Running, StrategyFailure, Watcher

DEFAULT_MAX_ERRORS = 5
MAX_REASON = 500
_MINUTE_NS: Final = 60_000_000_000


class StrategyHost:
    """Runs the strategies of one partition, or of a whole replay.

    It is deterministic: the same configurations, states and frames in the same order make the same signals with the same
    ids. Strategies on one instrument are called in the order of their names, those on ticks before those on bars. Bars
    that a frame's market time closes are handled after its ticks, in the order of their tokens. Only frames of an
    instrument's own shard close its bars, so one host for all shards makes the same signals as one host for each.

    Args:
        directory: the instruments with their session hours.
        calendar: the exchange's sessions.
        router: decides which brokers get a strategy's signals.
        registry: the strategy types; None: the shipped ones.
        max_errors: number of errors in a row on one instrument after which a strategy is stopped.
        max_signals_per_minute: maximum number of targets of a strategy on one instrument in a minute of market time; one
            more stops it. None: no limit.

    Attributes:
        build: builds the strategies.
        frames: frames handled.
        ticks: ticks in these frames.
        signals: signals made, by strategy.
        errors: errors raised, by strategy.
        unserved: by strategy that was stopped because its interval can't be made from the recorded bars: the interval,
            why, and what to do.
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
        self._singles = Routing()
        self._baskets = Routing()
        self._frame: Frame | None = None
        self._flattening: list[StrategyConfig] = []
        self._failures: list[StrategyFailure] = []
        self.frames = 0
        self.ticks = 0
        self.signals: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.unserved: dict[str, tuple[str, str]] = {}

    @property
    def not_covered(self) -> CalendarNotCovered | None:
        """The error of the first day with ticks that the calendar doesn't cover; strategies got none of these ticks."""
        return self.build.not_covered

    def configure(self, config: StrategyConfig, state: bytes = b"") -> None:
        """Replaces a strategy's revision, from the next frame on.

        Args:
            config: the new revision. If its strategy is stopped, the strategy is removed; its positions stay as they are.
                If it flattens positions, the signals for that are made at the next frame, before all others.
            state: what `state` returned for this revision; empty: it begins with an empty state.

        Raises:
            InvalidInput: the type, a parameter or an instrument doesn't exist; the strategy is removed.
            StrategyBroken: the type's own code raised; the strategy is removed.
        """
        self._readers.pop(config.strategy_id, None)
        if self._running.pop(config.strategy_id, None):
            self._rebuild_routes()
        flattens = config.flattens is not None and is_fresh(state)
        if flattens:
            self._flattening.append(config)
        if config.state is not StrategyState.RUNNING:
            if flattens:
                # Kept without instruments, so that its stored state says that it was flattened.
                self._running[config.strategy_id] = self.build.stopped(config)
            return
        running = self.build(config, state)
        self._running[config.strategy_id] = running
        if running.holdings is not None:
            self._readers[config.strategy_id] = config
        if not running.stopped:
            self._rebuild_routes()

    def revisions(self) -> dict[str, int]:
        """Revision of each strategy in the host, including those stopped by their errors."""
        return {strategy_id: running.config.revision for strategy_id, running in self._running.items()}

    def state(self, strategy_id: str) -> bytes:
        """The exact state of a strategy on all its instruments, as bytes.

        Raises:
            StrategyBroken: the type's state can't be stored.
        """
        running = self._running[strategy_id]
        remembered = {w.instrument.instrument_id: w.state() for w in running.watchers}
        made = {w.instrument.instrument_id: [w.minute, w.made] for w in running.watchers if w.made}
        holdings = None if running.holdings is None else state_of(running.holdings)
        fresh = any(waits.strategy_id == strategy_id for waits in self._flattening)
        return state_bytes(RevisionState(running.stopped, remembered, made, holdings), fresh=fresh)

    def warm_up(self, strategy_id: str) -> int:
        """The number of ticks (or bars) that a strategy needs before its first target."""
        return self.build.warm_up(self._running[strategy_id].config)

    def is_on_bars(self, strategy_id: str) -> bool:
        """Whether a strategy gets bars."""
        return any(watcher.bars is not None for watcher in self._running[strategy_id].watchers)

    def missing(self, strategy_id: str) -> int:
        """Ticks (or bars) that a strategy still needs before its first target, on the instrument that lacks most."""
        return max((watcher.missing for watcher in self._running[strategy_id].watchers), default=0)

    def forget_stance(self, strategy_id: str) -> None:
        """Makes a strategy on bars signal its next target even if it repeats the last stance; drops a waiting target."""
        for watcher in self._running[strategy_id].watchers:
            watcher.waiting.forget()
            if watcher.bars is not None:
                watcher.bars.forget_stance()

    def holdings(self, strategy_id: str) -> Mapping[PositionKey, Holding]:
        """The holdings of a strategy; empty if it doesn't read its position, or isn't in the host."""
        running = self._running.get(strategy_id)
        return {} if running is None or running.holdings is None else running.holdings

    def readers(self) -> list[StrategyConfig]:
        """The configurations of the strategies that read their position."""
        return list(self._readers.values())

    def on_order(self, order: OrderState) -> bool:
        """Applies a new state of a strategy's order; False if the strategy doesn't read its position, or knows it already.

        Order events are inputs like frames: the same ones at the same places between frames make the same signals.
        """
        running = self._running.get(order.key.strategy_id)
        if running is None or running.holdings is None:
            return False
        holding = running.holdings.get(order.key)
        return holding is not None and holding.apply(order)

    def shows(self, token: int, at_ns: int) -> bool:
        """Whether a tick of an instrument at this time is passed to its strategies."""
        route = self._singles.routes.get(token) or self._baskets.routes.get(token)
        if route is None:
            return False
        window = route.window
        return bool(route.always) or window.open_ns <= at_ns < window.close_ns or window.move_to(at_ns)

    def on_frame(self, frame: Frame) -> list[Signal]:
        """Runs the strategies on a frame; returns the signals, in the order of the ticks."""
        self.frames += 1
        self.ticks += len(frame.instrument_token)
        signals: list[Signal] = self._flatten(frame) if self._flattening else []
        signals += self._run(self._singles, frame)
        if self._baskets.routes:
            signals += self._run(self._baskets, frame)
        return signals

    def on_foreign_frame(self, frame: Frame) -> list[Signal]:
        """Runs the strategies that see several instruments on a frame of another partition.

        Like order events, these frames are inputs: the same ones at the same places between this partition's frames make
        the same signals.
        """
        signals: list[Signal] = self._flatten(frame) if self._flattening else []
        return signals + self._run(self._baskets, frame)

    def sees_all(self, strategy_id: str) -> bool:
        """Whether one object of the strategy sees all its instruments."""
        return self._running[strategy_id].sees_all

    def basket_tokens(self) -> frozenset[int]:
        """The instruments of the strategies that see several."""
        return frozenset(self._baskets.routes)

    def _run(self, routing: Routing, frame: Frame) -> list[Signal]:
        """Runs the strategies of a routing on a frame."""
        self._frame = frame
        tokens = frame.instrument_token
        signals: list[Signal] = []
        route_of = routing.routes.get
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
            inside = window.open_ns <= at < window.close_ns or window.move_to(at)
            for watcher in route.watchers if inside else route.always:
                target = watcher.on_tick(prices[ordinal] / scale, times[ordinal])
                if inside and (target is not None or watcher.waiting.target is not None):
                    close = prices[ordinal] / scale if at < times[ordinal] else 0.0
                    target = watcher.tradable(target, times[ordinal], close)
                    if watcher.waits_for_open:
                        routing.waiting.setdefault(frame.shard, set()).add(token)
                if target is not None:
                    signals += self._signals(
                        watcher,
                        target,
                        frame,
                        ordinal,
                        0,
                        times[ordinal],
                        prices[ordinal],
                        window.close if inside else None,
                    )
            if route.bars is not None and inside:
                signals += self._tick_of_bars(routing, route.bars, frame, ordinal, at)
            elif route.bars is not None and len(frame.volume):
                route.bars.outside(frame.volume[ordinal], at)
        return signals + self._time_passed(routing, frame)

    def _time_passed(self, routing: Routing, frame: Frame) -> list[Signal]:
        """The signals that a frame's market time causes, after its ticks: of targets that waited, of bars that it closes."""
        signals: list[Signal] = []
        if not frame.instrument_token and (routing.waiting or routing is self._baskets):
            signals += self._open(routing, frame)
        ends = routing.next_ends
        if ends and frame.market_time_ns > ends.get(frame.shard, frame.market_time_ns):
            signals += self._close_bars(routing, frame)
        return signals

    def on_batch(self, batch: FrameBatch) -> list[BatchTarget] | None:
        """Computes the strategies' targets at the ticks of many frames, without making signals yet.

        Returns:
            The targets in the order of the ticks, at one tick in the order of the strategies' names. None if the frames
            have to be handled one by one: a strategy is on bars, reads its position, doesn't support batches or raised,
            or a tick is outside the sessions. Nothing has changed then.
        """
        if self._flattening or self._readers or self._singles.bars or self._baskets.routes:
            return None
        targets = batch_targets(batch, self._singles.routes)
        if targets is not None:
            for token, shard in waiting_at_end(batch, self._singles.routes):
                self._singles.waiting.setdefault(shard, set()).add(token)
            self.frames += len(batch.frames)
            self.ticks += len(batch.instrument_token)
        return targets

    def signals_of(self, targets: Iterable[BatchTarget], frame: Frame, end: int) -> list[Signal]:
        """Makes the signals of targets at a frame's ticks, as `on_frame` would have made them.

        Args:
            targets: targets from `on_batch`.
            frame: the frame of their ticks.
            end: number of ticks in the batch up to the end of the frame.
        """
        self._frame = frame
        begin = end - len(frame.instrument_token)
        signals: list[Signal] = []
        for tick, watcher, target, close in targets:
            at = tick - begin
            time_ns, price = frame.exchange_time[at], frame.last_price[at]
            signals += self._signals(watcher, target, frame, at, 0, time_ns, price, close)
        return signals

    def take_failures(self) -> list[StrategyFailure]:
        """The strategies' failures since the last call."""
        failures, self._failures = self._failures, []
        return failures

    def _rebuild_routes(self) -> None:
        in_order = [self._running[strategy_id] for strategy_id in sorted(self._running)]
        self._singles.rebuild(running for running in in_order if not running.sees_all)
        self._baskets.rebuild(running for running in in_order if running.sees_all)

    def _flatten(self, frame: Frame) -> list[Signal]:
        """The signals with target 0 for revisions that have just taken effect and flatten."""
        configs, self._flattening = self._flattening, []
        signals = [
            signal
            for config in configs
            for signal in flattening_signals(config, self.build.brokers(config), frame)
        ]
        self.signals.update(signal.key.strategy_id for signal in signals)
        return signals

    def _tick_of_bars(
        self, routing: Routing, bars: InstrumentBars[Watcher], frame: Frame, ordinal: int, at_ns: int
    ) -> list[Signal]:
        price = frame.last_price[ordinal] / frame.price_scale
        volume = frame.volume[ordinal] if len(frame.volume) else None
        time_ns = frame.exchange_time[ordinal]
        prices = None
        if len(frame.open):
            scale = frame.price_scale
            prices = (frame.open[ordinal] / scale, frame.high[ordinal] / scale, frame.low[ordinal] / scale)
        targets = bars.tick(price, at_ns, time_ns, volume, frame.shard, prices)
        if bars.unserved:
            self._stop_unserved(bars, time_ns - at_ns)
        routing.schedule_open(bars, frame.instrument_token[ordinal], frame.shard)
        routing.schedule_close(bars, frame.instrument_token[ordinal], frame.shard)
        return self._signals_of_bars(targets, frame, ordinal, 0, time_ns) if targets else []

    def _open(self, routing: Routing, frame: Frame) -> list[Signal]:
        """The signals of targets that waited for the open which a frame without ticks shows."""
        signals: list[Signal] = []
        now = frame.market_time_ns
        of_shard = routing.bars.get(frame.shard, {})
        waiting = routing.waiting.pop(frame.shard, set()) | routing.waiting.pop(ANY_SHARD, set())
        # A bar of one instrument may let targets wait on the others of a strategy that sees several.
        for token in sorted(of_shard if routing is self._baskets else waiting):
            route, bars = routing.routes[token], of_shard.get(token)
            for watcher in route.watchers:
                signals += self._opened(watcher, frame)
            if bars is not None and (targets := bars.opened(now)):
                n = token * MOST_SYMBOLS if routing is self._baskets else token
                signals += self._signals_of_bars(targets, frame, 1, n, now)
            if any(each.waits_for_open for each in (*route.watchers, *((bars,) if bars else ()))):
                routing.waiting.setdefault(frame.shard, set()).add(token)
        return signals

    def _opened(self, watcher: Watcher, frame: Frame) -> list[Signal]:
        """The signals of a target on ticks that waited for the open."""
        now, window, close = frame.market_time_ns, watcher.window, watcher.waiting.close
        in_session = window.open_ns <= now < window.close_ns or window.move_to(now)
        if not (watcher.waits_for_open and in_session):
            return []
        target = watcher.waiting.taken(window.day_open_ns)
        if target is None:
            return []
        token, units = watcher.instrument.instrument_token, round(close * frame.price_scale)
        return self._signals(watcher, target, frame, 1, token, now, units, window.close)

    def _stop_unserved(self, bars: InstrumentBars[Watcher], length_ns: int) -> None:
        """Stops the strategies whose interval can't be made from the recorded bars."""
        unserved, bars.unserved = bars.unserved, []
        for watch in unserved:
            if not watch.watcher.running.stopped:
                error = unserved_interval(watch.builder.interval, length_ns)
                self.unserved[watch.watcher.running.config.strategy_id] = (watch.builder.interval, error)
                self._note(watch.watcher, error, 0, stops=True)

    def _close_bars(self, routing: Routing, frame: Frame) -> list[Signal]:
        """Closes the bars of the frame's shard that end before its market time."""
        signals: list[Signal] = []
        now = frame.market_time_ns
        del routing.next_ends[frame.shard]
        for token, bars in sorted(routing.bars[frame.shard].items()):
            if 0 < bars.next_end_ns < now:
                # Numbered by token: no tick causes these, and a strategy may have one for each instrument. One that sees
                # several may have as many at each.
                n = token * MOST_SYMBOLS if routing is self._baskets else token
                signals += self._signals_of_bars(
                    bars.close_due(now), frame, len(frame.instrument_token), n, now
                )
            routing.schedule_close(bars, token, frame.shard)
        return signals

    def _signals_of_bars(
        self,
        targets: Sequence[BarTarget[Watcher]],
        frame: Frame,
        ordinal: int,
        n: int,
        time_ns: int,
    ) -> list[Signal]:
        signals: list[Signal] = []
        made: Counter[str] = Counter()
        for watcher, target, price in targets:
            strategy_id = watcher.running.config.strategy_id
            units = round(price * frame.price_scale)
            signals += self._signals(
                watcher, target, frame, ordinal, n + made[strategy_id], time_ns, units, watcher.window.close
            )
            made[strategy_id] += 1
        return signals

    def _signals(
        self,
        watcher: Watcher,
        target: Target,
        frame: Frame,
        ordinal: int,
        n: int,
        time_ns: int,
        price: int,
        session_close: datetime | None,
    ) -> list[Signal]:
        running = watcher.running
        config = running.config
        if self._max_signals is not None and self._exceeds_signal_limit(
            watcher, time_ns // _MINUTE_NS, self._max_signals
        ):
            return []
        frame_id = frame.frame_id
        market_time = instant(time_ns)
        valid_until = market_time + running.ttl
        if session_close is not None and session_close < valid_until:
            valid_until = session_close
        self.signals[config.strategy_id] += len(running.brokers)
        token, target_position = (
            watcher.instrument.instrument_token,
            max(running.min_quantity, target.stance * running.quantity),
        )
        reference_price, reason = Decimal(price) / frame.price_scale, target.reason[:MAX_REASON]
        return [
            Signal(
                ids.signal_id(config.strategy_id, config.revision, frame_id, ordinal, n, key.broker),
                frame_id,
                frame_id,
                key,
                token,
                config.revision,
                target_position,
                None,
                None,
                OrderType.MARKET,
                market_time,
                valid_until,
                reference_price,
                reason,
                config.size,
            )
            for key in watcher.keys
        ]

    def _exceeds_signal_limit(self, watcher: Watcher, minute: int, most: int) -> bool:
        """Counts a target; stops the strategy if it is one too many in a minute of market time."""
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
        """Records a failure; if it `stops` the strategy, removes the strategy from its instruments."""
        running = watcher.running
        if stops:
            running.stopped = True
            (self._baskets if running.sees_all else self._singles).remove(running)
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
