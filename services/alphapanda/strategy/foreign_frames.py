"""Gives a strategy that sees several instruments the frames of other partitions, as inputs recorded between two ticks.

Such a strategy lives on the partition of its first instrument. Frames of its other instruments may be on other partitions,
and the log says nothing of the order between partitions. So the order is decided here and stored, like that of order
events (order_inputs.py): frames of other partitions are stored with the offset of the record before which they are handled,
under the partition's epoch; only then are they handled. After a kill they are handled again before the same record.

- When records of the partition itself are handled, a frame of another one goes before the first record whose market time is
  not earlier than its own.
- When another partition's frame arrives and no record of the partition itself is waiting, it is handled at once. In lockstep
  the log has one new frame at a time, so the order is that of the feed, as in a replay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from alphapanda.contract.topics import TopicMap, TopicPartition, shard_of
from alphapanda.contract.wire import frame_event, frame_from
from alphapanda.domain.frame import SECOND_NS, Frame
from alphapanda.eventlog.decode import Unreadable, from_record
from alphapanda.eventlog.port import EventLog, StoredRecord
from alphapanda.strategy.core.warm_up import narrowed
from alphapanda.strategy.partition import TickPartition
from alphapanda.strategy.store.port import OrderInput, StrategyStore
from alphapanda.strategy.wire import SOURCE

_FETCH: Final = 500
_MOST_FOUND: Final = 20_000
"""Frames that may wait in memory to be recorded; the others stay on the log until there is room."""


class _Found(NamedTuple):
    """A frame that isn't recorded yet, and its place on the log."""

    at: TopicPartition
    offset: int
    frame: Frame


class ForeignTail:
    """Follows the tick topic for one partition's strategies that see several instruments.

    Args:
        log: the log.
        topic_map: the deployment's topics.
        topic: the tick topic.
        home: number of the partition.
        starts: first offset of each partition of the topic.
    """

    def __init__(
        self, log: EventLog, topic_map: TopicMap, topic: str, home: int, starts: Mapping[TopicPartition, int]
    ) -> None:
        self._topic_map = topic_map
        self._home = home
        self._partitions = topic_map.partitions(topic)
        self._reader = log.topic_reader([topic], starts)
        self._last: dict[int, tuple[str, int]] = {}
        self._closed_until_ns: dict[int, int] = {}
        self.found: list[_Found] = []

    async def start(self) -> None:
        """Opens the reader."""
        await self._reader.start()

    async def stop(self) -> None:
        """Closes the reader."""
        await self._reader.stop()

    def positions(self) -> dict[TopicPartition, int]:
        """The offset of each partition's first frame that isn't recorded."""
        first = {at: self._reader.position(at) for at in self._partitions}
        for at, offset, _ in self.found:
            first[at] = min(first[at], offset)
        return first

    async def read(self, tokens: frozenset[int]) -> None:
        """Finds the new frames of these instruments' other partitions, without waiting, in the order of market time.

        Raises:
            LogUnavailable: the log can't be read now; no frame is lost.
        """
        shards = {shard_of(token) for token in tokens} - {self._home}
        while len(self.found) < _MOST_FOUND and (records := await self._reader.fetch(_FETCH, 0.0)):
            for record in records:
                if record.partition in shards and (frame := self._frame(record, tokens)) is not None:
                    self.found.append(_Found(record.topic_partition, record.offset, frame))
        self.found.sort(key=lambda each: each.frame.market_time_ns)

    def _frame(self, record: StoredRecord, tokens: frozenset[int]) -> Frame | None:
        """The record's frame with only these instruments; None if no strategy needs it."""
        try:
            frame = frame_from(from_record(record, self._topic_map).tick_frame)
        except (Unreadable, ValueError):
            return None  # its consumer has dead-lettered it
        run, sequence = self._last.get(frame.shard, ("", 0))
        if frame.feed_run == run and frame.sequence <= sequence:
            return None
        self._last[frame.shard] = frame.feed_run, frame.sequence
        kept = narrowed(frame, tokens)
        # A frame without ticks is needed only to close bars, which end at whole seconds, when market time is after them.
        closed_until_ns = (frame.market_time_ns - 1) // SECOND_NS
        if not kept.instrument_token and closed_until_ns <= self._closed_until_ns.get(frame.shard, 0):
            return None
        self._closed_until_ns[frame.shard] = closed_until_ns
        return kept


class ForeignFrames:
    """Reads, records and queues the frames of other partitions for a process's strategies.

    Args:
        store: strategy's store.
        log: the log.
        topic_map: the deployment's topics.
        wall_clock: returns the current wall time, aware.
    """

    def __init__(
        self, store: StrategyStore, log: EventLog, topic_map: TopicMap, wall_clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._log = log
        self._topic_map = topic_map
        self._wall_clock = wall_clock
        (self._topic,) = topic_map.topics("tick_frame")

    async def tail(self, partition: TickPartition) -> ForeignTail:
        """The partition's tail; it begins where the inputs stored so far end, else with the next frames."""
        if partition.foreign_tail is None:
            starts = {**await self._log.end_offsets([self._topic]), **partition.foreign_positions}
            tail = ForeignTail(self._log, self._topic_map, self._topic, partition.number, starts)
            await tail.start()
            partition.foreign_tail = tail
        return partition.foreign_tail

    async def record(self, partition: TickPartition, records: Iterable[tuple[int, int]]) -> None:
        """Stores new frames of other partitions and queues them, each for a record of the partition itself.

        Args:
            partition: the partition; one whose records may still be handled without new inputs is left alone.
            records: (offset, market time in ns) of its records that are handled next.

        Raises:
            LogUnavailable: the log can't be read now.
            OwnershipLost: the partition was taken over.
        """
        tail = await self.tail(partition)
        await tail.read(partition.host.basket_tokens())
        for offset, market_time_ns in records:
            due = [each for each in tail.found if each.frame.market_time_ns <= market_time_ns]
            if due and partition.may_change(offset):
                await self._store_inputs(partition, tail, offset, due)

    async def record_at_once(self, partition: TickPartition) -> bool:
        """Stores and queues all new frames of other partitions, if no record of the partition itself is on the log.

        Returns:
            Whether there were any; they are due before the partition's next record.
        """
        at = partition.position
        if not partition.may_change(at):
            return False
        tail = await self.tail(partition)
        await tail.read(partition.host.basket_tokens())
        if not tail.found:
            return False
        ends = await self._log.end_offsets([self._topic])
        if ends[TopicPartition(self._topic, partition.number)] > at:
            return False  # they are handled with that record
        await self._store_inputs(partition, tail, at, tail.found)
        return True

    async def release(self, partition: TickPartition) -> None:
        """Stops reading for a partition."""
        tail, partition.foreign_tail = partition.foreign_tail, None
        if tail is not None:
            await tail.stop()

    async def _store_inputs(
        self, partition: TickPartition, tail: ForeignTail, offset: int, due: Sequence[_Found]
    ) -> None:
        now = self._wall_clock()
        events = [frame_event(each.frame, SOURCE, now) for each in due]
        left = [each for each in tail.found if each not in due]
        found, tail.found = tail.found, left
        try:
            await self._store.record_inputs(partition.owner, offset, events, partition.input_positions())
        except BaseException:
            tail.found = found
            raise
        partition.queue([OrderInput(offset, event) for event in events])
