"""Readers of the SQLite log. An append wakes them; none polls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from typing_extensions import override

from alphapanda.contract.topics import TopicPartition
from alphapanda.eventlog.port import Assignment, GroupReader, Start, StoredRecord, TopicReader
from alphapanda.eventlog.sqlite.group import Group, Member

_TAIL_RECORDS = 1_000
_TAIL_BYTES = 1 << 20

ReadStored = Callable[[TopicPartition, int, int, int], Awaitable[Sequence[StoredRecord]]]
StoreOffsets = Callable[[str, Mapping[TopicPartition, int]], Awaitable[None]]


class LivePartition:
    """An open partition: its end, its newest records in memory, and the readers to wake.

    Args:
        at: topic and number of the partition.
        end: offset of the next record.
        read_stored: reads records (partition, first, end, limit) that are no longer in memory.
    """

    def __init__(self, at: TopicPartition, end: int, read_stored: ReadStored) -> None:
        self.at = at
        self.end = end
        self.readers: set[asyncio.Event] = set()
        self._read_stored = read_stored
        self._tail: list[StoredRecord] = []
        self._tail_bytes = 0

    def append(self, record: StoredRecord) -> None:
        """Adds a record that is durable."""
        self.end = record.offset + 1
        self._tail.append(record)
        self._tail_bytes += len(record.value)
        if len(self._tail) > _TAIL_RECORDS or self._tail_bytes > _TAIL_BYTES:
            del self._tail[: len(self._tail) // 2]
            self._tail_bytes = sum(len(kept.value) for kept in self._tail)

    def wake(self) -> None:
        """Wakes the readers of the partition."""
        for reader in self.readers:
            reader.set()

    def forget(self) -> None:
        """Drops the records in memory, after records were deleted."""
        self._tail.clear()
        self._tail_bytes = 0

    async def read(self, first: int, limit: int) -> Sequence[StoredRecord]:
        """Reads at most `limit` records from offset `first` on; empty where none is left before the end."""
        if self._tail and first >= self._tail[0].offset:
            at = first - self._tail[0].offset  # the newest records have no gaps
            return self._tail[at : at + limit]
        return await self._read_stored(self.at, first, self.end, limit)


class _Positions:
    """Holds the offsets of the next records to fetch, and waits for records."""

    def __init__(self, partitions: Mapping[TopicPartition, LivePartition]) -> None:
        self._partitions = partitions
        self._next: dict[TopicPartition, int] = {}
        self.paused: set[TopicPartition] = set()
        self.rebalancing: set[TopicPartition] = set()
        self.wake = asyncio.Event()

    def __getitem__(self, at: TopicPartition) -> int:
        return self._next[at]

    def __setitem__(self, at: TopicPartition, offset: int) -> None:
        self._next[at] = offset
        self._partitions[at].readers.add(self.wake)
        self.wake.set()

    def held(self) -> frozenset[TopicPartition]:
        return frozenset(self._next)

    def end(self, at: TopicPartition) -> int:
        return self._partitions[at].end

    def at_end(self) -> bool:
        partitions = self._partitions
        return all(first >= partitions[at].end for at, first in self._next.items())

    def drop(self, partitions: Iterable[TopicPartition]) -> None:
        for at in partitions:
            self._next.pop(at, None)
            self.paused.discard(at)
            self.rebalancing.discard(at)
            self._partitions[at].readers.discard(self.wake)

    async def fetch(self, max_records: int, timeout: float) -> dict[TopicPartition, Sequence[StoredRecord]]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            self.wake.clear()
            if found := await self._ready(max_records):
                return found
            try:
                async with asyncio.timeout_at(deadline):
                    await self.wake.wait()
            except TimeoutError:
                return {}

    async def _ready(self, max_records: int) -> dict[TopicPartition, Sequence[StoredRecord]]:
        found: list[tuple[TopicPartition, int, Sequence[StoredRecord], int]] = []
        left = max_records
        for at, first in list(self._next.items()):
            partition = self._partitions[at]
            end = partition.end
            if first >= end or not left or self._is_still(at):
                continue
            records = await partition.read(first, left)
            found.append((at, first, records, end))
            left -= len(records)
        # Positions move last and all together, so a comparison with the ends never misses a record that is being
        # fetched. Partitions revoked, paused or sought meanwhile are left out.
        ready = {}
        for at, first, records, end in found:
            if self._next.get(at) != first or self._is_still(at):
                self.wake.set()
                continue
            del self._next[at]  # moves to the end of the queue, so that a busy partition starves no other
            self._next[at] = records[-1].offset + 1 if records else end
            if records:
                ready[at] = records
        return ready

    def _is_still(self, at: TopicPartition) -> bool:
        return at in self.paused or at in self.rebalancing


class SqliteTopicReader(TopicReader):
    """Reads all partitions of topics, without a group.

    Args:
        partitions: returns the partitions of its topics, when it starts.
        start: where it begins to read.
    """

    def __init__(
        self,
        partitions: Callable[[], Mapping[TopicPartition, LivePartition]],
        start: Start | Mapping[TopicPartition, int],
    ) -> None:
        self._find = partitions
        self._start = start
        self._positions = _Positions({})

    @override
    async def start(self) -> None:
        partitions = self._find()
        self._positions = _Positions(partitions)
        for at, partition in partitions.items():
            if isinstance(self._start, Start):
                self._positions[at] = partition.end if self._start is Start.LATEST else 0
            else:
                self._positions[at] = self._start.get(at, 0)

    @override
    async def stop(self) -> None:
        self._positions.drop(self._positions.held())

    @override
    async def fetch(self, max_records: int, timeout: float) -> Sequence[StoredRecord]:
        found = await self._positions.fetch(max_records, timeout)
        return [record for records in found.values() for record in records]

    @override
    def position(self, partition: TopicPartition) -> int:
        return self._positions[partition]

    @override
    def has_fetched_all(self) -> bool:
        return self._positions.at_end()


class SqliteGroupReader(GroupReader, Member):
    """A member of a group.

    Args:
        name: the group's name.
        group: the members of the group.
        topics: the topics it subscribes to.
        start: where a group without an offset begins.
        partitions: returns the partitions of its topics, when it starts.
        committed: the group's offsets, kept up to date by the log.
        store: stores offsets of a group, durably.
    """

    def __init__(
        self,
        name: str,
        group: Group,
        topics: Sequence[str],
        start: Start,
        partitions: Callable[[], Mapping[TopicPartition, LivePartition]],
        committed: Mapping[tuple[str, TopicPartition], int],
        store: StoreOffsets,
    ) -> None:
        self._topics = tuple(topics)
        self._name = name
        self._group = group
        self._start = start
        self._find = partitions
        self._committed = committed
        self._store = store
        self._assignment: Assignment | None = None
        self._positions = _Positions({})

    @property
    @override
    def topics(self) -> Sequence[str]:
        return self._topics

    @override
    async def start(self, assignment: Assignment | None = None) -> None:
        self._positions = _Positions(self._find())
        self._assignment = assignment
        await self._group.join(self)

    @override
    async def stop(self) -> None:
        await self._group.leave(self)

    @override
    async def assign(self, partitions: Sequence[TopicPartition]) -> None:
        begins: dict[TopicPartition, int] = {}
        for at in partitions:
            offset = self._committed.get((self._name, at))
            if offset is None:
                offset = 0
                if self._start is Start.LATEST:
                    offset = begins[at] = self._positions.end(at)
            self._positions[at] = offset
        self._positions.rebalancing.update(partitions)
        if begins:
            await self._store(self._name, begins)
        if self._assignment is not None:
            await self._assignment.on_assigned(partitions)
        self._positions.rebalancing.difference_update(partitions)
        self._positions.wake.set()

    @override
    async def revoke(self, partitions: Sequence[TopicPartition]) -> None:
        self._positions.rebalancing.update(partitions)
        if self._assignment is not None and partitions:
            await self._assignment.on_revoked(partitions)
        self._positions.drop(partitions)

    @override
    async def fetch(
        self, max_records: int, timeout: float
    ) -> Mapping[TopicPartition, Sequence[StoredRecord]]:
        return await self._positions.fetch(max_records, timeout)

    @override
    def assigned(self) -> frozenset[TopicPartition]:
        return self._positions.held()

    @override
    def position(self, partition: TopicPartition) -> int:
        return self._positions[partition]

    @override
    def has_fetched_all(self) -> bool:
        return self._positions.at_end()

    @override
    def pause(self, partition: TopicPartition) -> None:
        if partition in self._positions.held():
            self._positions.paused.add(partition)

    @override
    def resume(self, partition: TopicPartition) -> None:
        self._positions.paused.discard(partition)
        self._positions.wake.set()

    @override
    async def seek(self, partition: TopicPartition, offset: int) -> None:
        if partition not in self._positions.held():
            raise ValueError(f"{partition} is not held, so it can't be sought")
        self._positions[partition] = offset

    @override
    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        held = self._positions.held()
        if kept := {at: offset for at, offset in offsets.items() if at in held}:
            await self._store(self._name, kept)

    @override
    async def committed(self, partition: TopicPartition) -> int | None:
        return self._committed.get((self._name, partition))
