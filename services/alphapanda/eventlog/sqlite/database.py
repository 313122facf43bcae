"""The tables of the SQLite log: synchronous calls, by one thread at a time.

A record's rowid combines the partition's number and the offset in one integer. So a partition's records are adjacent
on disk, an append writes at the end, and a read is one range scan without a second index.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING

from alphapanda.contract.topics import TopicPartition, TopicSpec
from alphapanda.eventlog.port import Headers, StoredRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = 1
_OFFSET_BITS = 40
_PURGE_STEP = 5_000
_LENGTHS = Struct("<HI")
_SCHEMA = """
CREATE TABLE topics (
    name TEXT PRIMARY KEY, retention_hours INTEGER, compacted INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE partitions (
    number INTEGER PRIMARY KEY,
    topic TEXT NOT NULL REFERENCES topics (name),
    partition INTEGER NOT NULL,
    next_offset INTEGER NOT NULL DEFAULT 0,
    UNIQUE (topic, partition)
);
CREATE TABLE records (
    place INTEGER PRIMARY KEY,
    appended_at_ns INTEGER NOT NULL,
    key BLOB NOT NULL,
    headers BLOB NOT NULL,
    value BLOB NOT NULL
);
CREATE TABLE group_offsets (
    group_name TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL,
    PRIMARY KEY (group_name, topic, partition)
) WITHOUT ROWID;
"""

GroupOffsets = dict[tuple[str, TopicPartition], int]


@dataclass(frozen=True, slots=True)
class PartitionRow:
    """A row of the table of partitions."""

    number: int
    at: TopicPartition
    next_offset: int


class LogDatabase:
    """The SQLite database of a log.

    Args:
        path: a file, or ":memory:".
    """

    def __init__(self, path: Path | str) -> None:
        self._path = str(path)
        self._connection: sqlite3.Connection | None = None
        self._synced = True

    @property
    def _sql(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.ProgrammingError("the log is not open")
        return self._connection

    def open(self) -> None:
        """Opens the database and creates missing tables.

        The lock is exclusive: a second process that opens the same log fails at once.

        Raises:
            sqlite3.Error: it can't be opened, is in use, or isn't a log of this version.
        """
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=1.0)
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                for statement in _SCHEMA.split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {VERSION}")
            elif version != VERSION:
                raise sqlite3.DatabaseError(f"it has version {version}, this program needs {VERSION}")
            connection.execute("COMMIT")
        except sqlite3.Error:
            connection.close()
            raise
        self._connection = connection

    def adopt(self, connection: sqlite3.Connection) -> None:
        """Uses a connection that was opened otherwise, such as one for reading a damaged file."""
        self._connection = connection

    def close(self) -> None:
        """Closes the database."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        sql = self._sql
        sql.execute("BEGIN IMMEDIATE")
        try:
            yield sql
            sql.execute("COMMIT")
        except BaseException:
            if sql.in_transaction:  # a full disk may have ended it already
                sql.execute("ROLLBACK")
            raise

    def specs(self) -> dict[str, TopicSpec]:
        """Returns the topics as they were created."""
        rows = self._sql.execute(
            "SELECT name, count(number), retention_hours, compacted FROM topics JOIN partitions ON topic = name"
            " GROUP BY name"
        )
        return {
            name: TopicSpec(name, partitions, hours, bool(compacted))
            for name, partitions, hours, compacted in rows
        }

    def create(self, specs: Iterable[TopicSpec]) -> None:
        """Creates topics that don't exist yet."""
        with self._transaction() as sql:
            for spec in specs:
                sql.execute(
                    "INSERT INTO topics VALUES (?, ?, ?)", (spec.name, spec.retention_hours, spec.compacted)
                )
                sql.executemany(
                    "INSERT INTO partitions (topic, partition) VALUES (?, ?)",
                    [(spec.name, number) for number in range(spec.partitions)],
                )

    def partitions(self) -> list[PartitionRow]:
        """Returns every partition."""
        rows = self._sql.execute("SELECT number, topic, partition, next_offset FROM partitions")
        return [
            PartitionRow(number, TopicPartition(topic, partition), end)
            for number, topic, partition, end in rows
        ]

    def group_offsets(self) -> GroupOffsets:
        """Returns every offset of every group."""
        rows = self._sql.execute("SELECT group_name, topic, partition, next_offset FROM group_offsets")
        return {(group, TopicPartition(topic, partition)): offset for group, topic, partition, offset in rows}

    def write(
        self, records: Sequence[tuple[int, StoredRecord]], ends: Mapping[int, int], offsets: GroupOffsets
    ) -> None:
        """Appends records, moves the partitions' ends and stores group offsets, in one transaction.

        Records are synced to disk before this returns: the publisher then marks them as published elsewhere (an outbox row,
        a snapshot), and after a power cut a lost offset would be used twice. Group offsets alone are not synced; losing
        them only causes a redelivery.

        Args:
            records: each with its partition's number.
            ends: next offset by partition number.
            offsets: group offsets.
        """
        synced = bool(records)
        if synced is not self._synced:
            self._sql.execute("PRAGMA synchronous = " + ("FULL" if synced else "NORMAL"))
            self._synced = synced
        with self._transaction() as sql:
            sql.executemany(
                "INSERT INTO records VALUES (?, ?, ?, ?, ?)",
                [
                    (
                        number << _OFFSET_BITS | record.offset,
                        record.appended_at_ns,
                        record.key,
                        _packed(record.headers),
                        record.value,
                    )
                    for number, record in records
                ],
            )
            sql.executemany(
                "UPDATE partitions SET next_offset = ? WHERE number = ?",
                [(end, number) for number, end in ends.items()],
            )
            sql.executemany(
                "INSERT OR REPLACE INTO group_offsets VALUES (?, ?, ?, ?)",
                [(group, at.topic, at.partition, offset) for (group, at), offset in offsets.items()],
            )

    def read(self, number: int, at: TopicPartition, first: int, end: int, limit: int) -> list[StoredRecord]:
        """Reads the records of a partition with first <= offset < end, at most `limit`, in order."""
        base = number << _OFFSET_BITS
        rows = self._sql.execute(
            "SELECT place, appended_at_ns, key, headers, value FROM records"
            " WHERE place >= ? AND place < ? ORDER BY place LIMIT ?",
            (base | first, base | end, limit),
        )
        return [
            StoredRecord(at.topic, at.partition, place - base, key, value, _unpacked(headers), appended)
            for place, appended, key, headers, value in rows
        ]

    def first_offset(self, number: int) -> int:
        """Returns the offset of the first record of a partition; 0 where it is empty."""
        base = number << _OFFSET_BITS
        found = self._sql.execute(
            "SELECT min(place) FROM records WHERE place >= ? AND place < ?",
            (base, (number + 1) << _OFFSET_BITS),
        ).fetchone()[0]
        return 0 if found is None else int(found) - base

    def first_offset_at(self, number: int, appended_at_ns: int, end: int) -> int:
        """Returns the offset of the first record below `end` that was appended then or later; `end` where there is none.

        Records are appended in the order of time, so a binary search finds it.
        """
        low, high = 0, end
        while low < high:
            middle = (low + high) // 2
            found = self._first_between(number, middle, high)
            if found is None or found[1] >= appended_at_ns:
                high = middle
            else:
                low = found[0] + 1
        kept = self._first_between(number, low, end)  # offsets below it were purged or compacted
        return end if kept is None else kept[0]

    def _first_between(self, number: int, first: int, end: int) -> tuple[int, int] | None:
        """Returns offset and time of the first record with first <= offset < end."""
        base = number << _OFFSET_BITS
        found = self._sql.execute(
            "SELECT place, appended_at_ns FROM records WHERE place >= ? AND place < ? ORDER BY place LIMIT 1",
            (base | first, base | end),
        ).fetchone()
        return None if found is None else (found[0] - base, found[1])

    def newest(self, number: int, at: TopicPartition) -> StoredRecord | None:
        """Reads the last record of a partition; None where it is empty."""
        base = number << _OFFSET_BITS
        found = self._sql.execute(
            "SELECT max(place) FROM records WHERE place >= ? AND place < ?",
            (base, (number + 1) << _OFFSET_BITS),
        ).fetchone()[0]
        if found is None:
            return None
        return self.read(number, at, found - base, found - base + 1, 1)[0]

    def delete_old(self, number: int, before_ns: int) -> int:
        """Deletes the oldest records of a partition, up to the first that was appended at `before_ns` or later.

        Returns how many it deleted: at most a few thousand a call, so that waiting writers are delayed by milliseconds.
        """
        base = number << _OFFSET_BITS
        end = (number + 1) << _OFFSET_BITS
        kept = self._sql.execute(
            "SELECT place FROM records WHERE place >= ? AND place < ? AND appended_at_ns >= ?"
            " ORDER BY place LIMIT 1",
            (base, end, before_ns),
        ).fetchone()
        with self._transaction() as sql:
            return sql.execute(
                "DELETE FROM records WHERE place IN"
                " (SELECT place FROM records WHERE place >= ? AND place < ? ORDER BY place LIMIT ?)",
                (base, kept[0] if kept else end, _PURGE_STEP),
            ).rowcount

    def compact(self, number: int) -> int:
        """Deletes records that a newer record of the same key replaces; returns how many."""
        span = (number << _OFFSET_BITS, (number + 1) << _OFFSET_BITS)
        with self._transaction() as sql:
            return sql.execute(
                "DELETE FROM records WHERE place >= ? AND place < ? AND place NOT IN"
                " (SELECT max(place) FROM records WHERE place >= ? AND place < ? GROUP BY key)",
                span + span,
            ).rowcount


def _packed(headers: Headers) -> bytes:
    parts: list[bytes] = []
    for name, value in headers:
        encoded = name.encode()
        parts += (_LENGTHS.pack(len(encoded), len(value)), encoded, value)
    return b"".join(parts)


def _unpacked(packed: bytes) -> Headers:
    headers = []
    at = 0
    while at < len(packed):
        name_length, value_length = _LENGTHS.unpack_from(packed, at)
        name_at = at + _LENGTHS.size
        value_at = name_at + name_length
        at = value_at + value_length
        headers.append((packed[name_at:value_at].decode(), packed[value_at:at]))
    return tuple(headers)
