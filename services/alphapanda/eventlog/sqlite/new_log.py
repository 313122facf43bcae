"""Writes the file of a log from records that have their offsets already: a copy, or one that was repaired."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from alphapanda.contract.topics import TopicPartition, TopicSpec
from alphapanda.eventlog.port import StoredRecord
from alphapanda.eventlog.sqlite.database import GroupOffsets, LogDatabase

_RECORDS_AT_ONCE: Final = 1_000


class NewLog:
    """A log's file that is being written, to take the place of another.

    Args:
        path: the file; one that is there already is overwritten.
    """

    def __init__(self, path: Path) -> None:
        for left_over in files_of(path):
            left_over.unlink(missing_ok=True)
        self._database = LogDatabase(path)
        self._database.open()
        self._numbers: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._waiting: list[tuple[int, StoredRecord]] = []

    def create(self, specs: Sequence[TopicSpec]) -> None:
        """Creates all its topics."""
        self._database.create(specs)
        self._numbers = {row.at: row.number for row in self._database.partitions()}
        self._ends = dict.fromkeys(self._numbers, 0)

    def has(self, at: TopicPartition) -> bool:
        """Whether it has this partition."""
        return at in self._ends

    def end(self, at: TopicPartition) -> int:
        """Offset of the next record of a partition."""
        return self._ends[at]

    def add(self, record: StoredRecord) -> None:
        """Appends a record at its own offset, which is the partition's end or beyond it."""
        at = record.topic_partition
        self._waiting.append((self._numbers[at], record))
        self._ends[at] = record.offset + 1
        if len(self._waiting) >= _RECORDS_AT_ONCE:
            self.flush()

    def raise_end(self, at: TopicPartition, offset: int) -> None:
        """Lets the next record of a partition have at least this offset."""
        self._ends[at] = max(self._ends[at], offset)

    def flush(self, group_offsets: GroupOffsets | None = None) -> None:
        """Writes what is waiting, and the offsets of groups."""
        ends = {self._numbers[at]: end for at, end in self._ends.items()}
        self._database.write(self._waiting, ends, group_offsets or {})
        self._waiting.clear()

    def close(self) -> None:
        """Closes the file; its journal is then part of it."""
        self._database.close()


def files_of(path: Path) -> tuple[Path, ...]:
    """The files that a log may consist of."""
    return (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm"))
