"""The event log on Kafka, for the mesh. Only `ensure` creates topics; offsets grow and may have gaps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from weakref import WeakSet

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import CommitFailedError
from typing_extensions import override

from alphapanda.contract.topics import TopicPartition, TopicSpec
from alphapanda.eventlog.kafka.client import (
    KafkaClients,
    as_unavailable,
    end_consumer,
    kafka_partitions,
    learn_topics,
    ours,
)
from alphapanda.eventlog.kafka.options import KafkaOptions
from alphapanda.eventlog.kafka.publisher import KafkaPublisher
from alphapanda.eventlog.kafka.readers import KafkaGroupReader, KafkaTopicReader
from alphapanda.eventlog.kafka.topics import KafkaTopics
from alphapanda.eventlog.port import EventLog, LogUnavailable, Record, Start, StoredRecord, TopicMissing

READY_SECONDS = 60.0
"""How long `ensure` waits, after it created the topics, until the leader of every partition answers."""

_LOOK_BACK = 1_000
_LOOK_AGAIN_SECONDS = 0.1
_MILLISECOND_NS = 1_000_000


class GroupRuns(Exception):
    """Offsets of a consumer group can't be moved while one of its processes runs."""

    def __init__(self, group: str) -> None:
        super().__init__(
            f"a process of the group {group} runs: stop every service, and where one was killed, wait for"
            " kafka.session_timeout_seconds"
        )


class KafkaEventLog(EventLog):
    """The event log on Kafka.

    Args:
        options: connection and client options.
        bulk_topics: topics of market data: their records are compressed and sent in batches (linger).
        wall_clock_ns: wall time in nanoseconds; Kafka keeps its milliseconds.
    """

    def __init__(
        self,
        options: KafkaOptions,
        bulk_topics: Collection[str] = (),
        *,
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._options = options
        self._clients = KafkaClients(options)
        self._bulk_topics = frozenset(bulk_topics)
        seconds = options.request_timeout_seconds
        self._money = KafkaPublisher(lambda: self._clients.producer(bulk=False), seconds, wall_clock_ns)
        self._bulk = KafkaPublisher(lambda: self._clients.producer(bulk=True), seconds, wall_clock_ns)
        self._topics = KafkaTopics(self._clients, options.replication_factor)
        self._offsets: AIOKafkaConsumer | None = None
        # The caller holds the reader; a discarded reader leaves the set by itself.
        self._readers: WeakSet[KafkaGroupReader | KafkaTopicReader] = WeakSet()
        self._counts: dict[str, int] = {}

    # -- start and stop -----------------------------------------------------------------------------------------------

    @override
    async def start(self) -> None:
        started = False
        try:
            self._offsets = self._clients.consumer()
            with as_unavailable(f"be reached at {self._clients.where}"):
                await self._offsets.start()
            await self._topics.start()
            await self._money.start()
            await self._bulk.start()
            started = True
        finally:
            if not started:
                await self.stop()

    @override
    async def stop(self) -> None:
        readers, self._readers = self._readers, WeakSet()
        await asyncio.gather(*(reader.stop() for reader in readers))
        offsets, self._offsets = self._offsets, None
        ends = [self._money.stop(), self._bulk.stop(), self._topics.stop()]
        if offsets is not None:
            ends.append(end_consumer(offsets))
        await asyncio.gather(*ends)

    def _connected(self) -> AIOKafkaConsumer:
        if self._offsets is None:
            raise LogUnavailable("the log is not open")
        return self._offsets

    # -- topics -------------------------------------------------------------------------------------------------------

    @override
    async def ensure(self, topics: Sequence[TopicSpec]) -> Sequence[str]:
        differing = await self._topics.ensure(topics)
        # A partition's leader learns last that it leads: until then a reader that begins at the end begins too late.
        await self._leaders_answer([spec.name for spec in topics])
        return differing

    async def _leaders_answer(self, topics: Sequence[str]) -> None:
        last: Exception | None = None
        try:
            async with asyncio.timeout(READY_SECONDS):
                while True:
                    try:
                        await self.end_offsets(topics)
                    except (LogUnavailable, TopicMissing) as not_yet:
                        last = not_yet
                    else:
                        return
                    await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        except TimeoutError:
            raise LogUnavailable(
                f"all {len(topics)} topics were created, but not every partition's leader answered within"
                f" {READY_SECONDS:g} s; repeat the command before services start ({last or 'no answer'})"
            ) from last

    @override
    async def topics(self) -> Mapping[str, int]:
        self._counts = dict(await self._topics.partitions())
        return dict(self._counts)

    async def _count(self, topic: str) -> int:
        if topic not in self._counts:
            await self.topics()
        if topic not in self._counts:
            raise TopicMissing(f"topic {topic!r} does not exist")
        return self._counts[topic]

    async def _partitions(self, topics: Sequence[str]) -> Sequence[TopicPartition]:
        return [
            TopicPartition(topic, number) for topic in topics for number in range(await self._count(topic))
        ]

    # -- writing ------------------------------------------------------------------------------------------------------

    @override
    async def publish(self, records: Sequence[Record]) -> Sequence[int]:
        for record in records:
            if not 0 <= record.partition < await self._count(record.topic):
                raise ValueError(
                    f"partition: {record.partition} is not in topic {record.topic!r},"
                    f" which has {self._counts[record.topic]}"
                )
        bulk = [number for number, record in enumerate(records) if record.topic in self._bulk_topics]
        if not bulk:
            return await self._money.publish(records) if records else []
        if len(bulk) == len(records):
            return await self._bulk.publish(records)
        money = sorted(set(range(len(records))).difference(bulk))
        by_number: dict[int, int] = {}
        for publisher, numbers in ((self._money, money), (self._bulk, bulk)):
            offsets = await publisher.publish([records[number] for number in numbers])
            by_number.update(zip(numbers, offsets, strict=True))
        return [by_number[number] for number in range(len(records))]

    # -- reading ------------------------------------------------------------------------------------------------------

    @override
    def group_reader(self, group: str, topics: Sequence[str], start: Start) -> KafkaGroupReader:
        reader = KafkaGroupReader(
            group,
            lambda: self._clients.consumer(group),
            topics,
            start,
            self._partitions,
            lambda partitions: self._topics.group_offsets(group, partitions),
            (
                self._clients.rebalance_seconds + self._options.request_timeout_seconds,
                self._options.request_timeout_seconds,
            ),
        )
        self._readers.add(reader)
        return reader

    @override
    def topic_reader(
        self, topics: Sequence[str], start: Start | Mapping[TopicPartition, int]
    ) -> KafkaTopicReader:
        reader = KafkaTopicReader(self._clients.consumer, topics, start, self._partitions)
        self._readers.add(reader)
        return reader

    @override
    async def end_offsets(self, topics: Sequence[str]) -> Mapping[TopicPartition, int]:
        partitions = kafka_partitions(await self._partitions(topics))
        with as_unavailable("ends be found"):
            learn_topics(self._connected(), topics)
            return ours(await self._connected().end_offsets(partitions))

    @override
    async def offsets_at(self, topics: Sequence[str], appended_at_ns: int) -> Mapping[TopicPartition, int]:
        partitions = kafka_partitions(await self._partitions(topics))
        with as_unavailable("offsets be found by time"):
            learn_topics(self._connected(), topics)
            if appended_at_ns <= 0:
                return ours(await self._connected().beginning_offsets(partitions))
            asked = dict.fromkeys(partitions, appended_at_ns // _MILLISECOND_NS)
            found = await self._connected().offsets_for_times(asked)
            ends = await self._connected().end_offsets(partitions)
        return ours({at: ends[at] if first is None else first.offset for at, first in found.items()})

    @override
    async def ping(self, topic: str) -> None:
        await self.end_offsets([topic])

    @override
    async def committed_offsets(self, group: str) -> Mapping[TopicPartition, int]:
        return await self._topics.group_offsets(group, await self._partitions(list(await self.topics())))

    async def move_group(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        """Stores other offsets for a group of which no process runs.

        Raises:
            GroupRuns: a process of the group runs, or Kafka hasn't missed it yet.
            LogUnavailable: Kafka can't be reached.
        """
        consumer = self._clients.consumer(group)
        with as_unavailable(f"offsets of {group} be moved"):
            await consumer.start()
            try:
                consumer.assign(kafka_partitions(offsets))
                await consumer.commit(dict(zip(kafka_partitions(offsets), offsets.values(), strict=True)))
            except CommitFailedError as error:
                raise GroupRuns(group) from error
            finally:
                await end_consumer(consumer)

    @override
    async def last(self, partition: TopicPartition) -> StoredRecord | None:
        ends = await self.end_offsets([partition.topic])
        with as_unavailable("the first record be found"):
            firsts = await self._connected().beginning_offsets(kafka_partitions([partition]))
        first, end = ours(firsts)[partition], ends[partition]
        reach = 1
        while first < end:
            found = await self._read(partition, max(first, end - reach), end)
            if found or end - reach <= first:
                return found[-1] if found else None
            reach *= _LOOK_BACK  # the newest offsets hold no record: compacted, or a control record
        return None

    async def _read(self, at: TopicPartition, first: int, end: int) -> Sequence[StoredRecord]:
        ends = await self.end_offsets([at.topic])
        reader = KafkaTopicReader(self._clients.consumer, [at.topic], {**ends, at: first}, self._partitions)
        try:
            await reader.start()
            found: list[StoredRecord] = []
            deadline = asyncio.get_running_loop().time() + self._options.request_timeout_seconds
            while reader.position(at) < end and asyncio.get_running_loop().time() < deadline:
                found += [one for one in await reader.fetch(_LOOK_BACK, 0.1) if one.topic_partition == at]
            return found
        finally:
            await reader.stop()
