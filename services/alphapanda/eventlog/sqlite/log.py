"""The event log on SQLite, for one process on one machine: a file or `:memory:`.

One thread uses one connection. Publishes that arrive during a write become the next transaction together, so they
share one disk sync. The newest records stay in memory, for readers that keep up. `:memory:` works on the caller's
thread, so the same calls always give the same order; the simulation needs that.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import structlog
from typing_extensions import override

from alphapanda.contract.topics import TopicPartition, TopicSpec
from alphapanda.eventlog.port import EventLog, LogUnavailable, Record, Start, StoredRecord, TopicMissing
from alphapanda.eventlog.specs import differences
from alphapanda.eventlog.sqlite.database import GroupOffsets, LogDatabase
from alphapanda.eventlog.sqlite.group import Group
from alphapanda.eventlog.sqlite.new_log import NewLog
from alphapanda.eventlog.sqlite.readers import LivePartition, SqliteGroupReader, SqliteTopicReader
from alphapanda.resilience.tasks import kept_running

MEMORY = ":memory:"
_TRANSACTION_RECORDS = 5_000
_COPIED_AT_ONCE = 1_000
_HOUR_NS = 3_600_000_000_000

P = ParamSpec("P")
T = TypeVar("T")
_logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Publish:
    records: Sequence[Record]
    offsets: asyncio.Future[list[int]]


@dataclass(slots=True)
class _Commit:
    offsets: GroupOffsets
    done: asyncio.Future[None]


class SqliteEventLog(EventLog):
    """The event log on SQLite. All calls come from the event loop that started it.

    Args:
        path: a file (its folder exists), or ":memory:".
        purge_interval: seconds between purges of what is past its retention.
        wall_clock_ns: wall time in nanoseconds.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        purge_interval: float = 300.0,
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._path = path
        self._database = LogDatabase(path)
        self._thread: ThreadPoolExecutor | None = None
        self._purge_interval = purge_interval
        self._wall_clock_ns = wall_clock_ns
        self._specs: dict[str, TopicSpec] = {}
        self._counts: dict[str, int] = {}
        self._partitions: dict[TopicPartition, LivePartition] = {}
        self._numbers: dict[TopicPartition, int] = {}
        self._offsets: GroupOffsets = {}
        self._groups: dict[str, Group] = {}
        self._publishes: list[_Publish] = []
        self._commits: list[_Commit] = []
        self._writing: asyncio.Task[None] | None = None
        self._purging: asyncio.Task[None] | None = None
        self._open = False
        self._still = asyncio.Lock()
        self._purge_turn = asyncio.Lock()

    # -- start and stop -----------------------------------------------------------------------------------------------

    @override
    async def start(self) -> None:
        if str(self._path) != MEMORY:
            self._thread = ThreadPoolExecutor(1, "event-log")
        await self._call(self._database.open)
        self._open = True
        await self._load()
        self._purging = kept_running(self._purge_now_and_then, "event log retention", _logger)

    @override
    async def stop(self) -> None:
        self._open = False
        if self._purging is not None:
            self._purging.cancel()
            await asyncio.wait([self._purging])
        if self._writing is not None:
            await asyncio.wait([self._writing])
        await self._call(self._database.close)
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    async def _load(self) -> None:
        self._specs = await self._call(self._database.specs)
        self._offsets.update(await self._call(self._database.group_offsets))
        for row in await self._call(self._database.partitions):
            if row.at not in self._partitions:
                self._partitions[row.at] = LivePartition(row.at, row.next_offset, self._read)
                self._numbers[row.at] = row.number
        self._counts.update({name: spec.partitions for name, spec in self._specs.items()})

    async def _call(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            if self._thread is None:
                return work(*args, **kwargs)
            return await asyncio.wrap_future(self._thread.submit(work, *args, **kwargs))
        except (sqlite3.Error, OSError) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: BaseException) -> LogUnavailable:
        if isinstance(error, LogUnavailable):
            return LogUnavailable(*error.args)  # every waiting caller raises an exception object of its own
        return LogUnavailable(f"the log {self._path} can't be used: {error}")

    def _check_open(self) -> None:
        if not self._open:
            raise LogUnavailable(f"the log {self._path} is not open")

    # -- topics -------------------------------------------------------------------------------------------------------

    @override
    async def ensure(self, topics: Sequence[TopicSpec]) -> Sequence[str]:
        new = [spec for spec in topics if spec.name not in self._specs]
        differing = [
            difference
            for spec in topics
            if spec.name in self._specs
            for difference in differences(self._specs[spec.name], spec)
        ]
        if new:
            await self._call(self._database.create, new)
            await self._load()
        return differing

    @override
    async def topics(self) -> Mapping[str, int]:
        return dict(self._counts)

    def _of(self, topics: Iterable[str]) -> dict[TopicPartition, LivePartition]:
        found = {}
        for topic in topics:
            if topic not in self._counts:
                raise TopicMissing(f"topic {topic!r} does not exist")
            for number in range(self._counts[topic]):
                at = TopicPartition(topic, number)
                found[at] = self._partitions[at]
        return found

    # -- writing ------------------------------------------------------------------------------------------------------

    @override
    async def publish(self, records: Sequence[Record]) -> Sequence[int]:
        self._check_open()
        if not records:
            return []
        for record in records:
            if record.topic not in self._counts:
                raise TopicMissing(f"topic {record.topic!r} does not exist")
            if not 0 <= record.partition < self._counts[record.topic]:
                raise ValueError(
                    f"partition: {record.partition} is not in topic {record.topic!r},"
                    f" which has {self._counts[record.topic]}"
                )
        publish = _Publish(records, asyncio.get_running_loop().create_future())
        self._publishes.append(publish)
        self._write_soon()
        return await publish.offsets

    async def _store_offsets(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        self._check_open()
        commit = _Commit(
            {(group, at): offset for at, offset in offsets.items()},
            asyncio.get_running_loop().create_future(),
        )
        self._commits.append(commit)
        self._write_soon()
        await commit.done

    def _write_soon(self) -> None:
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._publishes or self._commits:
                await self._write_once()
        finally:
            self._writing = None
            if self._publishes or self._commits:
                self._write_soon()

    async def _write_once(self) -> None:
        async with self._still:
            await self._write_waiting()

    async def _write_waiting(self) -> None:
        publishes = self._take_publishes()
        commits, self._commits = self._commits, []
        stored, ends = self._laid_out(publishes)
        offsets = {key: offset for commit in commits for key, offset in commit.offsets.items()}
        try:
            await self._call(
                self._database.write,
                [(self._numbers[record.topic_partition], record) for record in stored],
                {self._numbers[at]: end for at, end in ends.items()},
                offsets,
            )
        except LogUnavailable as error:
            self._refuse(publishes, commits, error)
            return
        except BaseException as error:
            self._refuse(publishes, commits, error)
            raise
        for record in stored:
            self._partitions[record.topic_partition].append(record)
        for at in ends:
            self._partitions[at].wake()
        self._offsets.update(offsets)
        numbers = iter(stored)
        for publish in publishes:
            _settle(publish.offsets, [next(numbers).offset for _ in publish.records])
        for commit in commits:
            _settle(commit.done, None)

    def _refuse(
        self, publishes: Iterable[_Publish], commits: Iterable[_Commit], error: BaseException
    ) -> None:
        waiting: list[asyncio.Future[list[int]] | asyncio.Future[None]] = []
        waiting += [one.offsets for one in publishes]
        waiting += [one.done for one in commits]
        for future in waiting:
            if not future.done():
                future.set_exception(self._unavailable(error))

    def _laid_out(
        self, publishes: Iterable[_Publish]
    ) -> tuple[list[StoredRecord], dict[TopicPartition, int]]:
        """Assigns offsets; returns the records to store and the new ends of their partitions."""
        now = self._wall_clock_ns()
        ends: dict[TopicPartition, int] = {}
        stored = []
        for publish in publishes:
            for record in publish.records:
                at = TopicPartition(record.topic, record.partition)
                offset = ends.get(at, self._partitions[at].end)
                ends[at] = offset + 1
                stored.append(
                    StoredRecord(
                        at.topic, at.partition, offset, record.key, record.value, record.headers, now
                    )
                )
        return stored, ends

    def _take_publishes(self) -> list[_Publish]:
        """Removes and returns the oldest waiting publishes that fit into one transaction, at least one."""
        records = 0
        for taken, publish in enumerate(self._publishes):
            if taken and records + len(publish.records) > _TRANSACTION_RECORDS:
                break
            records += len(publish.records)
        else:
            taken = len(self._publishes)
        publishes, self._publishes = self._publishes[:taken], self._publishes[taken:]
        return publishes

    # -- reading ------------------------------------------------------------------------------------------------------

    async def _read(self, at: TopicPartition, first: int, end: int, limit: int) -> Sequence[StoredRecord]:
        return await self._call(self._database.read, self._numbers[at], at, first, end, limit)

    @override
    def group_reader(self, group: str, topics: Sequence[str], start: Start) -> SqliteGroupReader:
        members = self._groups.setdefault(group, Group(self._counts))
        return SqliteGroupReader(
            group, members, topics, start, lambda: self._of(topics), self._offsets, self._store_offsets
        )

    @override
    def topic_reader(
        self, topics: Sequence[str], start: Start | Mapping[TopicPartition, int]
    ) -> SqliteTopicReader:
        return SqliteTopicReader(lambda: self._of(topics), start)

    @override
    async def end_offsets(self, topics: Sequence[str]) -> Mapping[TopicPartition, int]:
        return {at: partition.end for at, partition in self._of(topics).items()}

    @override
    async def offsets_at(self, topics: Sequence[str], appended_at_ns: int) -> Mapping[TopicPartition, int]:
        first, held = self._database.first_offset_at, self._of(topics)
        return {at: await self._call(first, self._numbers[at], appended_at_ns, held[at].end) for at in held}

    @override
    async def ping(self, topic: str) -> None:
        await self._call(
            self._of, [topic]
        )  # in the thread that writes: it answers after what is being written

    @override
    async def committed_offsets(self, group: str) -> Mapping[TopicPartition, int]:
        return {at: offset for (name, at), offset in self._offsets.items() if name == group}

    @override
    async def last(self, partition: TopicPartition) -> StoredRecord | None:
        found = self._of([partition.topic]).get(partition)
        return await self._call(self._database.newest, self._numbers[partition], partition) if found else None

    # -- retention ----------------------------------------------------------------------------------------------------

    async def purge(self) -> int:
        """Deletes records past their topic's retention and, on compacted topics, replaced ones; returns how many."""
        async with self._purge_turn:
            return await self._purge()

    async def copy_to(self, path: Path, at_the_point: Callable[[], Awaitable[T]]) -> T:
        """Writes a copy of the log to a new file, as it is at one moment; returns what `at_the_point` returned then.

        While `at_the_point` runs nothing is appended and no offset is stored, so what it notes elsewhere is of the same
        moment. Afterwards the log goes on, and the copy is written beside it.

        Raises:
            LogUnavailable: the log can't be read.
            sqlite3.Error, OSError: the copy can't be written.
        """
        self._check_open()
        async with self._purge_turn:
            async with self._still:
                noted = await at_the_point()
                ends = {at: partition.end for at, partition in self._partitions.items()}
                offsets = dict(self._offsets)
            await self._copy(path, ends, offsets)
        return noted

    async def _copy(self, path: Path, ends: Mapping[TopicPartition, int], offsets: GroupOffsets) -> None:
        copy = await asyncio.to_thread(NewLog, path)
        try:
            await asyncio.to_thread(copy.create, list(self._specs.values()))
            for at, end in ends.items():
                first = await self._call(self._database.first_offset, self._numbers[at])
                while first < end:
                    until = min(first + _COPIED_AT_ONCE, end)
                    for record in await self._read(at, first, until, _COPIED_AT_ONCE):
                        copy.add(record)
                    await asyncio.to_thread(copy.flush)
                    first = until
                copy.raise_end(at, end)
            await asyncio.to_thread(copy.flush, offsets)
        finally:
            await asyncio.to_thread(copy.close)

    async def _purge(self) -> int:
        deleted = 0
        now = self._wall_clock_ns()
        for at, partition in list(self._partitions.items()):
            spec = self._specs[at.topic]
            number = self._numbers[at]
            before = deleted
            if spec.compacted:
                deleted += await self._call(self._database.compact, number)
            if spec.retention_hours is not None:
                oldest_kept = now - spec.retention_hours * _HOUR_NS
                while some := await self._call(self._database.delete_old, number, oldest_kept):
                    deleted += some
            if deleted != before:
                partition.forget()
        return deleted

    async def _purge_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(self._purge_interval)
            try:
                if deleted := await self.purge():
                    _logger.info("eventlog.purged", records=deleted)
            except LogUnavailable as error:
                _logger.warning("eventlog.purge_failed", error=str(error))


def _settle(future: asyncio.Future[T], result: T) -> None:
    if not future.done():  # the waiting caller may have been cancelled
        future.set_result(result)
