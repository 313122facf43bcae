"""Examines the file of an SQLite log that no process uses, and changes nothing in it."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final
from urllib.parse import quote

from alphapanda.eventlog.sqlite.database import VERSION

_STEPS_BETWEEN_LOOKS: Final = 10_000
_TABLES: Final = ("topics", "partitions", "records", "group_offsets")


class Condition(Enum):
    """The condition of a log's file.

    SOUND covers a file that was not read to its end within the time given. OTHER_VERSION: another version of the program
    wrote it. UNREADABLE: the operating system or another process keeps us from it, so nothing is known of its contents.
    """

    SOUND = "sound"
    MISSING = "missing"
    EMPTY = "empty"
    DAMAGED = "damaged"
    OTHER_VERSION = "of another version"
    UNREADABLE = "not readable"


@dataclass(frozen=True, slots=True)
class Examined:
    """What an examination found: the condition, and what was seen, in one line."""

    condition: Condition
    detail: str


def examine(path: Path, seconds: float) -> Examined:
    """Looks at a log's file: its header, its tables, and for at most `seconds` at every page."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return Examined(Condition.MISSING, "the file doesn't exist")
    except OSError as error:
        return Examined(Condition.UNREADABLE, error.strerror or str(error))
    if not size and not _has_journal(path):
        return Examined(Condition.EMPTY, "the file is empty")
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=1.0)) as sql:
            return _wrong_tables(sql) or _damage(sql, time.monotonic() + seconds)
    except sqlite3.OperationalError as error:
        return Examined(Condition.UNREADABLE, str(error))
    except sqlite3.DatabaseError as error:  # "file is not a database", "database disk image is malformed"
        return Examined(Condition.DAMAGED, str(error))


def _wrong_tables(sql: sqlite3.Connection) -> Examined | None:
    version = sql.execute("PRAGMA user_version").fetchone()[0]
    names = {name for (name,) in sql.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not version and not names:
        return Examined(Condition.EMPTY, "it holds no tables")
    if version != VERSION:
        return Examined(Condition.OTHER_VERSION, f"it has version {version}, this program needs {VERSION}")
    if missing := [name for name in _TABLES if name not in names]:
        return Examined(Condition.DAMAGED, f"it lacks the table {missing[0]!r}")
    if not sql.execute("SELECT EXISTS (SELECT 1 FROM topics)").fetchone()[0]:
        return Examined(Condition.EMPTY, "it holds no topics")
    return None


def _damage(sql: sqlite3.Connection, deadline: float) -> Examined:
    sql.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS_BETWEEN_LOOKS)
    try:
        found = sql.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return Examined(Condition.SOUND, "as far as there was time to read it")
    if found != "ok":
        return Examined(Condition.DAMAGED, " ".join(str(found).split()))
    return Examined(Condition.SOUND, "every page is whole")


def _has_journal(path: Path) -> bool:
    journal = path.with_name(f"{path.name}-wal")
    return journal.exists() and journal.stat().st_size > 0
