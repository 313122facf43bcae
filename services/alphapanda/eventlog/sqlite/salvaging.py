"""Reads what can be read of a damaged log's file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from alphapanda.eventlog.port import StoredRecord
from alphapanda.eventlog.sqlite.database import GroupOffsets, LogDatabase, PartitionRow

_RECORDS_AT_ONCE: Final = 1_000


class SalvagedLog:
    """A log's file, opened for reading; what can't be read is left out and counted.

    Args:
        path: the file; one that is missing, or is no log, has no partitions.

    Attributes:
        partitions: its partitions; empty where the table of them can't be read, because without it no record has a topic.
        group_offsets: the offsets of the groups, as far as they can be read.
        unreadable: offsets that could not be read so far.
    """

    def __init__(self, path: Path) -> None:
        self.partitions: list[PartitionRow] = []
        self.group_offsets: GroupOffsets = {}
        self.unreadable = 0
        self._database = LogDatabase(path)
        with suppress(sqlite3.Error):
            self._database.adopt(
                sqlite3.connect(
                    f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None, timeout=1.0
                )
            )
            self.partitions = self._database.partitions()
        with suppress(sqlite3.Error):
            self.group_offsets = self._database.group_offsets()

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def records(self, row: PartitionRow) -> Iterator[StoredRecord]:
        """The readable records of a partition, in order. Around damage the range is halved until one record is skipped."""
        offset, window = self._first(row), _RECORDS_AT_ONCE
        while offset < row.next_offset:
            end = min(offset + window, row.next_offset)
            try:
                yield from self._database.read(row.number, row.at, offset, end, window)
            except (sqlite3.Error, ValueError, OverflowError):
                if window == 1:
                    self.unreadable += 1
                    offset += 1
                window = max(1, window // 2)
                continue
            offset, window = end, min(2 * window, _RECORDS_AT_ONCE)

    def _first(self, row: PartitionRow) -> int:
        """The offset of the first record; 0 where it can't be read."""
        with suppress(sqlite3.Error):
            return self._database.first_offset(row.number)
        return 0
