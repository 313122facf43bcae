"""Readers of the Kafka log: members of groups, and readers of whole topics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import CommitFailedError, IllegalStateError
from typing_extensions import override

from alphapanda.contract.topics import TopicPartition
from alphapanda.eventlog.kafka.client import (
    as_unavailable,
    end_consumer,
    kafka_partitions,
    learn_topics,
    ours,
)
from alphapanda.eventlog.kafka.fetching import KafkaFetching
from alphapanda.eventlog.port import Assignment, GroupReader, LogUnavailable, Start, StoredRecord, TopicReader

_LOOK_UP_AGAIN_SECONDS = 0.2

FindPartitions = Callable[[Sequence[str]], Awaitable[Sequence[TopicPartition]]]
FindOffsets = Callable[[Sequence[TopicPartition]], Awaitable[Mapping[TopicPartition, int]]]

_logger = structlog.get_logger(__name__)


class KafkaTopicReader(TopicReader):
    """Reads all partitions of topics, without a group.

    Args:
        make: creates a Kafka consumer.
        topics: the topics it reads.
        start: where it begins to read.
        partitions: finds the partitions of topics.
    """

    def __init__(
        self,
        make: Callable[[], AIOKafkaConsumer],
        topics: Sequence[str],
        start: Start | Mapping[TopicPartition, int],
        partitions: FindPartitions,
    ) -> None:
        self._make = make
        self._topics = tuple(topics)
        self._start = start
        self._find = partitions
        self._consumer: AIOKafkaConsumer | None = None
        self._fetching: KafkaFetching | None = None

    @override
    async def start(self) -> None:
        partitions = kafka_partitions(await self._find(self._topics))
        self._consumer = consumer = self._make()
        started = False
        try:
            with as_unavailable("a reader start"):
                await consumer.start()
                learn_topics(consumer, self._topics)
                if self._start is Start.LATEST:
                    positions = ours(await consumer.end_offsets(partitions))
                else:
                    positions = ours(await consumer.beginning_offsets(partitions))
            started = True
        finally:
            if not started:
                await end_consumer(consumer)
        if not isinstance(self._start, Start):
            positions = {at: max(self._start.get(at, 0), first) for at, first in positions.items()}
        consumer.assign(partitions)
        self._fetching = KafkaFetching(consumer)
        self._fetching.seek(positions)

    @override
    async def stop(self) -> None:
        if self._consumer is not None:
            await end_consumer(self._consumer)

    @override
    async def fetch(self, max_records: int, timeout: float) -> Sequence[StoredRecord]:
        if self._fetching is None:
            raise LogUnavailable("the reader is not started")
        found = await self._fetching.fetch(max_records, timeout)
        return [record for records in found.values() for record in records]

    @override
    def position(self, partition: TopicPartition) -> int:
        if self._fetching is None:
            raise KeyError(partition)
        return self._fetching[partition]


class KafkaGroupReader(GroupReader, ConsumerRebalanceListener):  # type: ignore[misc]
    """A member of a group. Rebalances are eager: each revokes all partitions and assigns the new share.

    Args:
        group: the group's name, without prefix.
        make: creates a Kafka consumer in the group.
        topics: the topics it subscribes to.
        start: where a group without an offset begins.
        partitions: finds the partitions of topics.
        committed: finds the group's offsets; partitions without one are left out.
        timeouts: seconds for joining the group, and for an answer.
    """

    def __init__(
        self,
        group: str,
        make: Callable[[], AIOKafkaConsumer],
        topics: Sequence[str],
        start: Start,
        partitions: FindPartitions,
        committed: FindOffsets,
        timeouts: tuple[float, float],
    ) -> None:
        self._make = make
        self._topics = tuple(topics)
        self._start = start
        self._find = partitions
        self._committed = committed
        self._join_seconds, self._answer_seconds = timeouts
        self._assignment: Assignment | None = None
        self._consumer: AIOKafkaConsumer | None = None
        self._fetching: KafkaFetching | None = None
        self._joined = asyncio.Event()
        self._stopping = asyncio.Event()
        self._rebalancing = asyncio.Lock()
        self._logger = _logger.bind(group=group)

    @property
    @override
    def topics(self) -> Sequence[str]:
        return self._topics

    # -- start and stop -----------------------------------------------------------------------------------------------

    @override
    async def start(self, assignment: Assignment | None = None) -> None:
        await self._find(self._topics)
        self._assignment = assignment
        self._stopping.clear()
        self._consumer = consumer = self._make()
        self._fetching = KafkaFetching(consumer)
        consumer.subscribe(self._topics, listener=self)
        started = False
        try:
            with as_unavailable("a member join its group"):
                async with asyncio.timeout(self._join_seconds):
                    await consumer.start()
                    await self._joined.wait()
            started = True
        finally:
            if not started:
                await self.stop()

    @override
    async def stop(self) -> None:
        if self._consumer is None:
            return
        self._stopping.set()
        await self.on_partitions_revoked(())
        consumer, self._consumer = self._consumer, None
        await end_consumer(consumer)
        self._joined.clear()

    # -- rebalance callbacks: aiokafka logs what they raise and goes on -----------------------------------------------

    @override
    async def on_partitions_assigned(self, assigned: Iterable[KafkaPartition]) -> None:
        """Accepts partitions: from the group's offset, else from where new groups begin."""
        partitions = sorted(TopicPartition(at.topic, at.partition) for at in assigned)
        async with self._rebalancing:
            if (positions := await self._found_positions(partitions)) is None or self._fetching is None:
                return
            self._fetching.hold_back(partitions)
            self._fetching.seek(positions)
            self._logger.info("kafka.partitions_assigned", partitions=len(partitions))
            if self._assignment is not None and partitions:
                await self._assignment.on_assigned(partitions)
            self._fetching.release(partitions)
            self._joined.set()

    @override
    async def on_partitions_revoked(self, revoked: Iterable[KafkaPartition]) -> None:
        """Releases all partitions."""
        async with self._rebalancing:
            held = sorted(self.assigned())
            if self._fetching is None or not held:
                return
            self._fetching.hold_back(held)
            try:
                if self._assignment is not None:
                    await self._assignment.on_revoked(held)
            finally:
                self._fetching.drop()

    async def _found_positions(
        self, partitions: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, int] | None:
        """Looks up the positions to begin at, until Kafka answers; None where the reader was stopped meanwhile."""
        while not self._stopping.is_set():
            try:
                return await self._positions(partitions)
            except LogUnavailable as error:
                self._logger.warning("kafka.positions_unavailable", error=str(error))
            await asyncio.sleep(_LOOK_UP_AGAIN_SECONDS)
        return None

    async def _positions(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        consumer = self._started()
        with as_unavailable("positions be found"):
            async with asyncio.timeout(self._answer_seconds):
                committed = await self._committed(partitions)
                firsts = ours(await consumer.beginning_offsets(kafka_partitions(partitions)))
                new = [at for at in partitions if at not in committed]
                if new and self._start is Start.LATEST:
                    # Committed as the group's offset: otherwise records published while the group is away would be skipped.
                    ends = ours(await consumer.end_offsets(kafka_partitions(new)))
                    await self._store(consumer, ends)
                    committed = {**committed, **ends}
        return {at: max(committed.get(at, 0), firsts[at]) for at in partitions}

    # -- reading ------------------------------------------------------------------------------------------------------

    @override
    async def fetch(
        self, max_records: int, timeout: float
    ) -> Mapping[TopicPartition, Sequence[StoredRecord]]:
        if self._fetching is None:
            raise LogUnavailable("the reader is not started")
        return await self._fetching.fetch(max_records, timeout)

    @override
    def assigned(self) -> frozenset[TopicPartition]:
        return frozenset() if self._fetching is None else self._fetching.held()

    @override
    def position(self, partition: TopicPartition) -> int:
        if self._fetching is None:
            raise KeyError(partition)
        return self._fetching[partition]

    @override
    def pause(self, partition: TopicPartition) -> None:
        if self._fetching is not None:
            self._fetching.pause(partition)

    @override
    def resume(self, partition: TopicPartition) -> None:
        if self._fetching is not None:
            self._fetching.resume(partition)

    @override
    async def seek(self, partition: TopicPartition, offset: int) -> None:
        if self._fetching is None or partition not in self._fetching.held():
            raise ValueError(f"{partition} is not held, so it can't be sought")
        self._fetching.seek({partition: offset})

    @override
    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        held = self.assigned()
        kept = {at: offset for at, offset in offsets.items() if at in held}
        if not kept:
            return
        with as_unavailable("offsets be committed"):
            async with asyncio.timeout(self._answer_seconds):
                await self._store(self._started(), kept)

    async def _store(self, consumer: AIOKafkaConsumer, offsets: Mapping[TopicPartition, int]) -> None:
        places = kafka_partitions(offsets)
        try:
            await consumer.commit(dict(zip(places, offsets.values(), strict=True)))
        except (CommitFailedError, IllegalStateError) as error:
            # Another member has them, or will: it gets again what was handled here. Nothing more is fetched of them here.
            self._logger.warning("kafka.commit_refused", error=f"{type(error).__name__}: {error}")
            if self._fetching is not None:
                self._fetching.hold_back(self.assigned())

    @override
    async def committed(self, partition: TopicPartition) -> int | None:
        return (await self._committed([partition])).get(partition)

    def _started(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise LogUnavailable("the reader is not started")
        return self._consumer
