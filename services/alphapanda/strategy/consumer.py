"""Consumes ticks and publishes signals. After a kill at any point the same signals with the same ids are published again.

How that works, per partition of the ticks:

- A batch is done when the log has acknowledged its signals. A second attempt at a batch publishes the signals that the first
  left unpublished and continues where it stopped; no frame reaches a strategy twice.
- A snapshot is (offset, revision, state) of a strategy. It is stored when no signal is unpublished. After an assignment the
  partition is read from the earliest snapshot of a running strategy, and each strategy starts at the offset of its own
  snapshot. The offset committed for the consumer group only shows lag.
- A new revision takes effect between two records. Before the second record is handled, the store has an activation of the
  revision at that record's offset, in one transaction with a snapshot of its first state. So a snapshot never restores an
  older revision than the one that handled the next record, and no activation has to be repeated.
- Records that were on the log when the partition was assigned are handled without new revisions, because the previous
  owner may have handled them without.
- A process that takes a partition over raises the partition's epoch in the store, and then reads the log's end. Snapshots
  and activations are stored only under the owner's epoch, and signals are published only after the epoch was checked. So a
  process that has lost its partition, or was frozen, publishes nothing, or signals of records that it fetched before:
  its successor handles these under the same revisions and makes the same signals with the same ids.
- Order events of a strategy that reads its position are inputs between two records: order_inputs.py. So are the other
  partitions' frames of a strategy that sees several instruments: foreign_frames.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import time_ns

from structlog.typing import FilteringBoundLogger

from alphapanda.consuming.delivery import Delivery
from alphapanda.contract.topics import TopicMap, TopicPartition
from alphapanda.contract.wire import frame_from, signal_event
from alphapanda.domain.frame import Frame
from alphapanda.domain.session import nanoseconds_of
from alphapanda.domain.signal import Signal
from alphapanda.eventlog.decode import to_record
from alphapanda.eventlog.port import EventLog, GroupReader
from alphapanda.resilience.failures import TransientFailure
from alphapanda.strategy.core.host import StrategyHost
from alphapanda.strategy.core.isolator import StrategyBroken
from alphapanda.strategy.decision_spans import BarLength, DecisionSpans
from alphapanda.strategy.earlier_bars import EarlierBars
from alphapanda.strategy.failed_strategies import FailedStrategies
from alphapanda.strategy.foreign_frames import ForeignFrames
from alphapanda.strategy.measuring import SignalFigures
from alphapanda.strategy.order_inputs import OrderReading
from alphapanda.strategy.partition import TickPartition
from alphapanda.strategy.revisions import StrategyRevisions
from alphapanda.strategy.store.port import (
    Memory,
    OwnershipLost,
    StrategyStore,
)
from alphapanda.strategy.warm_up_reader import WarmUpReader
from alphapanda.strategy.wire import SOURCE

GROUP = "strategy"


@dataclass(frozen=True, slots=True)
class StrategyCounts:
    """Counters since the process started.

    Attributes:
        frames: frames handled.
        ticks: ticks in these frames.
        signals: signals made, by strategy.
        errors: errors raised, by strategy.
    """

    frames: int
    ticks: int
    signals: Mapping[str, int]
    errors: Mapping[str, int]


class StrategyTicks:
    """Handles the tick topic (consumer group `GROUP`).

    Args:
        store: strategy's store.
        log: the log, to which signals are published.
        topic_map: the deployment's topics.
        new_host: makes an empty host, one for each partition.
        snapshot_interval_seconds: wall time between snapshots of a partition.
        wall_clock: returns the current wall time, aware.
        elapsed: returns seconds of a monotonic clock.
        logger: logs failures and stops of strategies, and nothing for each tick.
        measured: reports the latencies of signals, and frames that came again; None: nothing is measured.
        spans: makes what records the decisions, given the length of a strategy's bars; None: nothing is recorded.
        earlier: bars of the past for warm-ups; None: what the log has is all there is.

    Attributes:
        revisions: the strategies' revisions; what it is told takes effect with each partition's next batch.
    """

    def __init__(
        self,
        store: StrategyStore,
        log: EventLog,
        topic_map: TopicMap,
        new_host: Callable[[], StrategyHost],
        snapshot_interval_seconds: float,
        wall_clock: Callable[[], datetime],
        elapsed: Callable[[], float],
        logger: FilteringBoundLogger,
        measured: SignalFigures | None = None,
        spans: Callable[[BarLength], DecisionSpans] | None = None,
        earlier: EarlierBars | None = None,
    ) -> None:
        self._measured = measured or SignalFigures()
        self._store = store
        self._log = log
        self._topic_map = topic_map
        self._new_host = new_host
        self._orders = OrderReading(store, log, topic_map)
        self._foreign = ForeignFrames(store, log, topic_map, wall_clock)
        self._snapshot_interval = snapshot_interval_seconds
        self._wall_clock = wall_clock
        self._elapsed = elapsed
        self._logger = logger
        self._failed = FailedStrategies(store, wall_clock, logger)
        (tick_topic,) = self.topics
        warm_up_reader = WarmUpReader(log, topic_map, new_host, earlier, lambda: nanoseconds_of(wall_clock()))
        self.revisions = StrategyRevisions(
            store, tick_topic, warm_up_reader, self._orders, self._foreign, logger
        )
        self._spans = None if spans is None else spans(self.revisions.bar_length)
        self._partitions: dict[int, TickPartition] = {}
        self._reader: GroupReader | None = None
        self._released = StrategyCounts(0, 0, {}, {})

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that the consumer group reads."""
        return self._topic_map.topics("tick_frame")

    def holds(self) -> frozenset[int]:
        """The assigned partitions that are ready: their next frames reach the strategies."""
        return frozenset(self._partitions)

    def counts(self) -> StrategyCounts:
        """Counters since the process started."""
        hosts = [partition.host for partition in self._partitions.values()]
        return StrategyCounts(
            self._released.frames + sum(host.frames for host in hosts),
            self._released.ticks + sum(host.ticks for host in hosts),
            sum((host.signals for host in hosts), Counter(self._released.signals)),
            sum((host.errors for host in hosts), Counter(self._released.errors)),
        )

    async def handle(self, batch: Sequence[Delivery]) -> None:
        """Runs the strategies on frames; returns when the log has acknowledged their signals.

        Raises:
            TransientFailure: another process took the partition over. If it stays assigned to this process, the next
                attempt takes it over again and restores its snapshots.
        """
        at = batch[0].record.topic_partition
        partition = self._partitions.get(at.partition)
        if partition is None:
            if self._reader is not None and at in self._reader.assigned():
                await self.assigned(self._reader, [at])
            return
        await self._with_ownership(partition, self._handle(partition, batch))
        for other in list(self._partitions.values()):
            if other is not partition and other.expects_baskets:
                await self._with_ownership(other, self._handle_foreign(other))

    async def _with_ownership(self, partition: TickPartition, handled: Coroutine[None, None, None]) -> None:
        try:
            await handled
        except OwnershipLost as late:
            await self._release(partition)
            self._logger.warning("strategy.partition_lost", partition=partition.number, error=str(late))
            raise TransientFailure(str(late)) from late

    async def _handle_foreign(self, partition: TickPartition) -> None:
        """Handles other partitions' frames for strategies that see several instruments."""
        async with partition.busy:
            await self._publish(partition)
            if partition.activating or not partition.may_change(partition.position):
                return  # a revision that takes effect before the next record begins without more inputs
            partition.load_due(partition.position)
            if partition.has_baskets and await self._foreign.record_at_once(partition):
                partition.load_due(partition.position)
            partition.take_failures()
            await self._publish(partition)
            await self._failed.stop(partition)

    async def _handle(self, partition: TickPartition, batch: Sequence[Delivery]) -> None:
        async with partition.busy:
            await self._publish(partition)
            begins = max(partition.position, batch[0].record.offset)
            await self.revisions.apply(partition, begins)
            if partition.readers:
                await self._orders.apply_new(partition, begins)
            frames = [(each.record.offset, frame_from(each.event.tick_frame)) for each in batch]
            if partition.expects_baskets:
                partition.load_due(begins)
            if partition.has_baskets:
                await self._foreign.record(
                    partition, [(at, frame.market_time_ns) for at, frame in frames if at >= begins]
                )
            for each, (offset, frame) in zip(batch, frames, strict=True):
                if offset >= partition.position:
                    if not partition.is_repeated(frame.feed_run, frame.sequence):
                        partition.load_due(offset)
                        if signals := self._decide(partition, each, frame):
                            partition.unpublished += signals
                            if partition.may_change(offset):  # else a previous owner may have published them
                                self._measured.led_to_signals(each.event)
                    else:
                        self._measured.came_again()
                    partition.position = offset + 1
                partition.mark_handled(frame.feed_run, frame.sequence)
            partition.take_failures()
            await self._publish(partition)
            await self._failed.stop(partition)
            if self._elapsed() - partition.saved[1] >= self._snapshot_interval:
                await self._snapshot(partition)

    def _decide(self, partition: TickPartition, delivery: Delivery, frame: Frame) -> Sequence[Signal]:
        if self._spans is None:
            return partition.host.on_frame(frame)
        began = time_ns()
        signals = partition.host.on_frame(frame)
        resumed = bool(signals) and not partition.may_change(delivery.record.offset)
        self._spans.decided(delivery, frame, signals, began, resumed=resumed)
        return signals

    async def assigned(self, reader: GroupReader, partitions: Sequence[TopicPartition]) -> None:
        """Takes partitions over and seeks to the earliest of their snapshots."""
        self._reader = reader
        for config in await self._store.current():
            self.revisions.add(config)
        owners = [await self._store.take(at.partition) for at in partitions]
        ends = await self._log.end_offsets(
            self.topics
        )  # read after the take-over, see the module's docstring
        for at, owner in zip(partitions, owners, strict=True):
            snapshots = await self._store.snapshots(at.partition)
            host = self._new_host()
            recorded = await self._store.inputs(at.partition)
            snapshots, recorded = await self._orders.add_missing_holdings(owner, host, snapshots, recorded)
            begins = reader.position(at)
            partition = TickPartition(owner, host, snapshots, recorded, begins, ends[at], at.topic)
            partition.saved = (partition.position, self._elapsed())
            if partition.replays:
                # From the previous record on: the next record may repeat its frame.
                await reader.seek(at, max(partition.position - 1, 0))
                await reader.commit({at: partition.position})
            self._partitions[at.partition] = partition
            if partition.expects_baskets:  # inputs recorded after the last record are due now
                await self._with_ownership(partition, self._handle_foreign(partition))

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Releases partitions, with a last snapshot."""
        for at in partitions:
            partition = self._partitions.get(at.partition)
            if partition is None:
                continue
            async with partition.busy:
                try:
                    await self._publish(partition)
                    partition.take_failures()
                    if not partition.halts:  # else the next owner meets the same error and stops the strategy
                        await self._snapshot(partition)
                except OwnershipLost as late:
                    self._logger.warning("strategy.partition_lost", partition=at.partition, error=str(late))
                await self._release(partition)

    async def _release(self, partition: TickPartition) -> None:
        await self._orders.release(partition)
        await self._foreign.release(partition)
        if self._partitions.get(partition.number) is not partition:
            return
        del self._partitions[partition.number]
        gone, host = self._released, partition.host
        self._released = StrategyCounts(
            gone.frames + host.frames,
            gone.ticks + host.ticks,
            Counter(gone.signals) + host.signals,
            Counter(gone.errors) + host.errors,
        )

    async def _publish(self, partition: TickPartition) -> None:
        if not partition.unpublished:
            return
        await self._store.require(partition.owner)
        now, spans, signals = self._wall_clock(), self._spans, partition.unpublished
        began = spans.now() if spans else 0
        records = [
            to_record(
                signal_event(each, SOURCE, now), self._topic_map, spans.traceparent(each) if spans else ""
            )
            for each in signals
        ]
        await self._log.publish(records)
        self._measured.published(signals)
        if spans:
            spans.published(signals, records, began)
        signals.clear()

    async def _snapshot(self, partition: TickPartition) -> None:
        """Stores the state of each strategy; requires that no signal is unpublished."""
        states: dict[str, Memory] = {}
        if partition.position > partition.saved[0]:
            for strategy_id, revision in partition.host.revisions().items():
                try:
                    state, missing = partition.state(strategy_id), partition.host.missing(strategy_id)
                    states[strategy_id] = Memory(revision, state, missing)
                except StrategyBroken as error:  # its older snapshot stays; a restart begins there
                    self._logger.warning(
                        "strategy.snapshot_failed", strategy_id=strategy_id, error=str(error)
                    )
            await self._store.save(partition.owner, partition.position, states)
            if len(states) == len(partition.host.revisions()):
                await self._orders.forget(partition)
        partition.saved = (partition.position, self._elapsed())


class StrategyAssignment:
    """Passes assignments and revocations of partitions to the handler.

    Args:
        ticks: the handler.
        reader: the group's reader that delivers its batches.
    """

    def __init__(self, ticks: StrategyTicks, reader: GroupReader) -> None:
        self._ticks = ticks
        self._reader = reader

    async def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Takes partitions over and continues after their snapshots."""
        await self._ticks.assigned(self._reader, partitions)

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Stores last snapshots and releases partitions."""
        await self._ticks.revoked(partitions)
