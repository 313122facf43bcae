"""Runs strategies on frames of ticks and turns their targets into signals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from alphapanda.domain.calendar import CalendarNotCovered, TradingCalendar
from alphapanda.domain.frame import Frame
from alphapanda.domain.frame_batch import FrameBatch
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.order_events import OrderState
from alphapanda.domain.routing import ExecutionRouter
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.strategy.core.batch_targets import BatchTarget, batch_targets, waiting_at_end
from alphapanda.strategy.core.building import StrategyBuilder
from alphapanda.strategy.core.config import StrategyConfig, StrategyState
from alphapanda.strategy.core.failures import DEFAULT_MAX_ERRORS, Failures
from alphapanda.strategy.core.flattening import flattening_signals
from alphapanda.strategy.core.frame_run import FrameRun
from alphapanda.strategy.core.holdings import Holding, state_of
from alphapanda.strategy.core.registry import StrategyRegistry
from alphapanda.strategy.core.revision_state import RevisionState, is_fresh, state_bytes
from alphapanda.strategy.core.routing import Routing
from alphapanda.strategy.core.signal_making import SignalMaking
from alphapanda.strategy.core.watching import Running, StrategyFailure


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
        self._failures = Failures(max_errors, self._remove)
        self.build = StrategyBuilder(
            directory, calendar, router, registry or StrategyRegistry(), self._failures.raised
        )
        self._making = SignalMaking(directory, self._failures, max_signals_per_minute)
        self._running: dict[str, Running] = {}
        self._readers: dict[str, StrategyConfig] = {}
        self._singles = Routing()
        self._baskets = Routing()
        self._on_singles = FrameRun(self._singles, self._making, self._failures)
        self._on_baskets = FrameRun(self._baskets, self._making, self._failures, on_baskets=True)
        self._flattening: list[StrategyConfig] = []
        self.frames = 0
        self.ticks = 0

    @property
    def signals(self) -> Counter[str]:
        """Signals made, by strategy."""
        return self._making.made

    @property
    def errors(self) -> Counter[str]:
        """Errors raised, by strategy."""
        return self._failures.errors

    @property
    def unserved(self) -> dict[str, tuple[str, str]]:
        """By strategy stopped because its interval can't be made from the recorded bars: the interval, why, and what to do."""
        return self._failures.unserved

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
        signals += self._on_singles.on_frame(frame)
        if self._baskets.routes:
            signals += self._on_baskets.on_frame(frame)
        return signals

    def on_foreign_frame(self, frame: Frame) -> list[Signal]:
        """Runs the strategies that see several instruments on a frame of another partition.

        Like order events, these frames are inputs: the same ones at the same places between this partition's frames make
        the same signals.
        """
        signals: list[Signal] = self._flatten(frame) if self._flattening else []
        return signals + self._on_baskets.on_frame(frame)

    def sees_all(self, strategy_id: str) -> bool:
        """Whether one object of the strategy sees all its instruments."""
        return self._running[strategy_id].sees_all

    def basket_tokens(self) -> frozenset[int]:
        """The instruments of the strategies that see several."""
        return frozenset(self._baskets.routes)

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
        self._failures.frame = frame
        begin = end - len(frame.instrument_token)
        signals: list[Signal] = []
        for one in targets:
            at = one.tick - begin
            time_ns, price = frame.exchange_time[at], frame.last_price[at]
            signals += self._making.of_target(
                one.watcher, one.target, frame, at, 0, time_ns, price, one.session_close
            )
        return signals

    def take_failures(self) -> list[StrategyFailure]:
        """The strategies' failures since the last call."""
        return self._failures.take()

    def _remove(self, running: Running) -> None:
        (self._baskets if running.sees_all else self._singles).remove(running)

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
