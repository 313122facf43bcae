"""The file of an SQLite log is examined without a change to it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from alphapanda.contract.topics import TopicPartition, TopicSpec
from alphapanda.eventlog.port import StoredRecord
from alphapanda.eventlog.sqlite.database import LogDatabase
from alphapanda.eventlog.sqlite.examining import Condition, examine


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of two hundred records, closed."""
    path = tmp_path / "events.sqlite"
    database = LogDatabase(path)
    database.open()
    database.create([TopicSpec("frames", 1, None, compacted=False)])
    [row] = database.partitions()
    records = [StoredRecord("frames", 0, n, b"key", bytes(1_000), (), n) for n in range(200)]
    database.write([(row.number, record) for record in records], {row.number: 200}, {})
    database.close()
    assert row.at == TopicPartition("frames", 0)
    return path


def test_a_whole_log_is_sound_and_stays_as_it_is(log: Path) -> None:
    """A sound log is said to be, and not a byte of it changes."""
    before = log.read_bytes()
    assert examine(log, 10.0).condition is Condition.SOUND
    assert log.read_bytes() == before


def test_a_log_too_large_for_the_time_is_sound_as_far_as_it_was_read(log: Path) -> None:
    """The check of the pages ends with its time."""
    assert examine(log, -1.0).condition is Condition.SOUND


@pytest.mark.parametrize(
    ("harm", "condition"),
    [
        (lambda path: path.unlink(), Condition.MISSING),
        (lambda path: path.write_bytes(b""), Condition.EMPTY),
        (lambda path: path.write_bytes(b"not a log" * 1_000), Condition.DAMAGED),
        (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), Condition.DAMAGED),
        (lambda path: _execute(path, "DROP TABLE group_offsets"), Condition.DAMAGED),
        (lambda path: _execute(path, "DELETE FROM topics"), Condition.EMPTY),
        (lambda path: _execute(path, "PRAGMA user_version = 7"), Condition.OTHER_VERSION),
    ],
    ids=["missing", "emptied", "overwritten", "cut off", "a table gone", "no topics", "another version"],
)
def test_each_harm_is_recognised(log: Path, harm, condition: Condition) -> None:
    """What was done to the file is told apart, with a line that says what was seen."""
    harm(log)
    found = examine(log, 10.0)
    assert found.condition is condition
    assert found.detail
    assert "\n" not in found.detail


def test_a_log_in_use_is_not_readable(log: Path) -> None:
    """A process that uses the log has it for itself: nothing is known of it."""
    database = LogDatabase(log)
    database.open()
    try:
        assert examine(log, 1.0).condition is Condition.UNREADABLE
    finally:
        database.close()


def _execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()
