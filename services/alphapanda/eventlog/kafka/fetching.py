"""Fetches records from a Kafka consumer: fairly between partitions, without paused ones, and without polling."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import IllegalStateError
from aiokafka.structs import ConsumerRecord

from alphapanda.contract.topics import TopicPartition
from alphapanda.eventlog.kafka.client import as_unavailable, kafka_partitions, stored
from alphapanda.eventlog.port import StoredRecord


class KafkaFetching:
    """Tracks the positions in a consumer's partitions, and fetches from them.

    Partitions are paused here, not in the consumer. So the consumer keeps requesting all of them, and a resumed partition
    doesn't wait for a running request that left it out.

    Args:
        consumer: started, with these partitions assigned; positions are set here, never left to it.
    """

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._next: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._held_back: set[TopicPartition] = set()
        self._served: set[TopicPartition] = set()
        self._sought: set[TopicPartition] = set()
        self._wake = asyncio.Event()

    def __getitem__(self, at: TopicPartition) -> int:
        return self._next[at]

    def held(self) -> frozenset[TopicPartition]:
        """Partitions that have a position."""
        return frozenset(self._next)

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        """Sets the offsets of the next records to fetch."""
        for at, offset in positions.items():
            self._consumer.seek(*kafka_partitions([at]), offset)
            self._next[at] = offset
        self._sought.update(positions)
        self._wake.set()

    def hold_back(self, partitions: Iterable[TopicPartition]) -> None:
        """Returns no records of these partitions until they are released or dropped."""
        self._held_back.update(partitions)

    def release(self, partitions: Iterable[TopicPartition]) -> None:
        """Returns records of these partitions again."""
        self._held_back.difference_update(partitions)
        self._wake.set()

    def drop(self) -> None:
        """Forgets all partitions."""
        for kept in (self._next, self._paused, self._held_back, self._served):
            kept.clear()
        self._wake.set()

    def pause(self, at: TopicPartition) -> None:
        """Returns no records of the partition, if it is held, until it is resumed."""
        if at in self._next:
            self._paused.add(at)

    def resume(self, at: TopicPartition) -> None:
        """Returns records of the partition again."""
        self._paused.discard(at)
        self._wake.set()

    async def fetch(self, max_records: int, timeout: float) -> dict[TopicPartition, Sequence[StoredRecord]]:
        """Returns the next records, at most `max_records`; empty after `timeout` seconds.

        Raises:
            LogUnavailable: the consumer can't go on now.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        while True:
            self._wake.clear()
            self._sought.clear()
            with as_unavailable("records be fetched"):
                found = self._taken(await self._get(max_records, deadline))
            if not found and asyncio.get_running_loop().time() >= deadline:
                await self._follow()
                return {}
            if found:
                return found

    async def _get(
        self, max_records: int, deadline: float
    ) -> Mapping[KafkaPartition, Sequence[ConsumerRecord]]:
        ready = self._next.keys() - self._paused - self._held_back
        if got := await self._in_turn(ready, max_records):
            return got
        seconds = max(0.0, deadline - asyncio.get_running_loop().time())
        waking = asyncio.create_task(self._wake.wait())
        getting = asyncio.create_task(self._get_some(ready, max_records, seconds))
        try:
            await asyncio.wait((waking, getting), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            # A getmany that is cancelled while it waits has taken nothing; records of a finished one must not be dropped.
            return getting.result() if getting.done() else {}
        finally:
            waking.cancel()
            getting.cancel()

    async def _get_some(
        self, ready: AbstractSet[TopicPartition], max_records: int, seconds: float
    ) -> Mapping[KafkaPartition, Sequence[ConsumerRecord]]:
        if not ready:
            await asyncio.sleep(seconds)  # until it is woken
            return {}
        got: Mapping[KafkaPartition, Sequence[ConsumerRecord]] = await self._consumer.getmany(
            *kafka_partitions(ready), timeout_ms=int(1000 * seconds), max_records=max_records
        )
        return got

    async def _in_turn(
        self, ready: AbstractSet[TopicPartition], max_records: int
    ) -> Mapping[KafkaPartition, Sequence[ConsumerRecord]]:
        # Partitions served in this round come last, so that a busy one starves no other.
        got = await self._at_once(ready - self._served, max_records)
        if not got:
            served, self._served = self._served, set()
            got = await self._at_once(ready & served, max_records)
        self._served.update(TopicPartition(at.topic, at.partition) for at in got)
        return got

    async def _at_once(
        self, partitions: AbstractSet[TopicPartition], max_records: int
    ) -> Mapping[KafkaPartition, Sequence[ConsumerRecord]]:
        if not partitions:
            return {}
        # During a rebalance getmany waits for its end, whatever the timeout.
        got: Mapping[KafkaPartition, Sequence[ConsumerRecord]] = {}
        with suppress(TimeoutError):
            async with asyncio.timeout(0):
                got = await self._consumer.getmany(*kafka_partitions(partitions), max_records=max_records)
        return got

    def _taken(
        self, got: Mapping[KafkaPartition, Sequence[ConsumerRecord]]
    ) -> dict[TopicPartition, Sequence[StoredRecord]]:
        found: dict[TopicPartition, Sequence[StoredRecord]] = {}
        for place, records in got.items():
            at = TopicPartition(place.topic, place.partition)
            if at not in self._next or at in self._sought:
                continue  # revoked or sought meanwhile
            if at in self._paused or at in self._held_back:
                self.seek({at: self._next[at]})
                continue
            found[at] = [stored(record) for record in records]
            self._next[at] = records[-1].offset + 1
        return found

    async def _follow(self) -> None:
        """Moves positions past offsets without records (compaction, retention), as the consumer did."""
        for at in tuple(self._next):
            with suppress(
                TimeoutError, IllegalStateError
            ):  # the consumer has no position or partition at this moment
                async with asyncio.timeout(0):
                    position = await self._consumer.position(*kafka_partitions([at]))
                    if at in self._next and at not in self._sought:
                        self._next[at] = max(self._next[at], position)
