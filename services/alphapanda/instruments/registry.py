"""The instruments that a user has imported or added, in one SQLite file that replay, up and the service read.

Every import is one transaction. Readers open the file read-only and look up single instruments, so nothing has to
load 120,000 of them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.instrument import Instrument
from alphapanda.instruments.merging import Entry, Merge

SCHEMA_VERSION: Final = 1
WAIT_SECONDS: Final = 10.0
CACHE_KIB: Final = 131_072
_COLUMNS: Final = (
    "instrument_id", "instrument_token", "exchange", "tradingsymbol", "name", "segment", "instrument_type",
    "tick_size", "lot_size", "freeze_quantity", "session_segment", "expiry",
)  # fmt: skip
_SELECT: Final = f"SELECT {', '.join(_COLUMNS)}, until_day FROM instruments"
_CREATE: Final = """
CREATE TABLE IF NOT EXISTS instruments (
    instrument_id TEXT PRIMARY KEY, instrument_token INTEGER NOT NULL UNIQUE, exchange TEXT NOT NULL,
    tradingsymbol TEXT NOT NULL, name TEXT NOT NULL, segment TEXT NOT NULL, instrument_type TEXT NOT NULL,
    tick_size TEXT NOT NULL, lot_size INTEGER NOT NULL, freeze_quantity INTEGER NOT NULL,
    session_segment TEXT NOT NULL, expiry TEXT, until_day TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS listed ON instruments (exchange, tradingsymbol);
CREATE TABLE IF NOT EXISTS imports (
    number INTEGER PRIMARY KEY, imported_at TEXT NOT NULL, source TEXT NOT NULL, own_tokens INTEGER NOT NULL,
    added INTEGER NOT NULL, changed INTEGER NOT NULL, ended INTEGER NOT NULL, unchanged INTEGER NOT NULL,
    refused INTEGER NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class State:
    """What the registry holds: the number of the last import (0: none), and how many own tokens it has given away."""

    number: int = 0
    own_tokens: int = 0


@dataclass(frozen=True, slots=True)
class LastImport:
    """The last import of a source.

    Attributes:
        at: when it was imported, aware wall time.
        listed: how many instruments it listed.
    """

    at: datetime
    listed: int


class InstrumentRegistry:
    """The registry in a file; without the file it is empty.

    Args:
        file: the SQLite file. It is made by the first import.
    """

    def __init__(self, file: Path) -> None:
        self.file: Final = file
        self._reading: sqlite3.Connection | None = None

    def state(self) -> State:
        """The last import.

        Raises:
            InvalidInput: the file isn't a registry, or one of a newer version.
        """
        rows = self._read("SELECT number, own_tokens FROM imports ORDER BY number DESC LIMIT 1")
        return State(*rows[0]) if rows else State()

    def last_of(self, source: str) -> LastImport | None:
        """The last import of a source, such as a file's name; None if there was none.

        Raises:
            InvalidInput: the file isn't a registry, or one of a newer version.
        """
        rows = self._read(
            "SELECT imported_at, added + changed + unchanged FROM imports WHERE source = ?"
            " ORDER BY number DESC LIMIT 1",
            source,
        )
        return LastImport(datetime.fromisoformat(rows[0][0]), rows[0][1]) if rows else None

    def by_id(self, instrument_id: str) -> Instrument | None:
        """The instrument with this id; None if there is none."""
        return self._one("instrument_id = ?", instrument_id)

    def by_token(self, instrument_token: int) -> Instrument | None:
        """The instrument with this token; None if there is none."""
        return self._one("instrument_token = ?", instrument_token)

    def by_symbol(self, exchange: str, tradingsymbol: str) -> Instrument | None:
        """The instrument with this symbol; of several one that has its token, then the one that expires last."""
        order = "ORDER BY until_day IS NOT NULL, expiry IS NOT NULL, expiry DESC LIMIT 1"
        return self._one(f"exchange = ? AND tradingsymbol = ? {order}", exchange, tradingsymbol)

    def entries(self) -> dict[str, Entry]:
        """All entries by id, with those that have lost their tokens."""
        return {row[0]: Entry(_instrument(row), _day(row[-1])) for row in self._read(_SELECT)}

    def current(self) -> list[Instrument]:
        """All instruments that have not lost their tokens, by exchange and symbol."""
        where = "WHERE until_day IS NULL ORDER BY exchange, tradingsymbol, instrument_id"
        return [_instrument(row) for row in self._read(f"{_SELECT} {where}")]

    def count(self) -> int:
        """How many instruments have not lost their tokens."""
        rows = self._read("SELECT count(*) FROM instruments WHERE until_day IS NULL")
        return rows[0][0] if rows else 0

    def symbols_near(self, symbol: str, most: int) -> list[str]:
        """Symbols ("NSE:INFY") with the same first letter and about the same length, at most `most`."""
        exchange, _, name = symbol.rpartition(":")
        rows = self._read(
            "SELECT exchange || ':' || tradingsymbol FROM instruments WHERE until_day IS NULL AND exchange = ?"
            " AND tradingsymbol >= ? AND tradingsymbol < ? AND length(tradingsymbol) BETWEEN ? AND ? LIMIT ?",
            exchange or "NSE",
            name[:1],
            name[:1] + chr(0x10FFFF),
            len(name) - 1,
            len(name) + 1,
            most,
        )
        return [row[0] for row in rows]

    def store(self, merge: Merge, before: State, source: str, refused: int, at: datetime) -> None:
        """Stores an import, all or nothing.

        Args:
            merge: what it changes.
            before: the state that it was merged into.
            source: name of the file, or of the instrument that was added.
            refused: number of rows that were refused.
            at: when, aware.

        Raises:
            InvalidInput: the file can't be written, isn't a registry, or another import came between.
        """
        with self._writing() as connection:
            if _state(connection) != before:
                raise InvalidInput(
                    "instruments", source, "one import at a time: another one has ended meanwhile"
                )
            connection.executemany(
                "DELETE FROM instruments WHERE instrument_id = ?", [(name,) for name in sorted(merge.stored)]
            )
            places = ", ".join("?" * (len(_COLUMNS) + 1))
            connection.executemany(
                f"INSERT INTO instruments ({', '.join(_COLUMNS)}, until_day) VALUES ({places})",
                [_row(merge.stored[name]) for name in sorted(merge.stored)],
            )
            counts = (merge.added, merge.changed, merge.ended, merge.unchanged, refused)
            connection.execute(
                "INSERT INTO imports VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (before.number + 1, at.isoformat(timespec="seconds"), source, merge.own_tokens, *counts),
            )

    def close(self) -> None:
        """Closes the file; a later read opens it again."""
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    def _one(self, where: str, *values: object) -> Instrument | None:
        rows = self._read(f"{_SELECT} WHERE {where}", *values)
        return _instrument(rows[0]) if rows else None

    def _read(self, query: str, *values: object) -> list[Any]:
        if self._reading is None:
            with self._named():
                # Without a byte before its first commit: an import that was killed has left nothing.
                if not self.file.exists() or not self.file.stat().st_size:
                    return []
                self._reading = _opened(self.file, "ro")
        with self._named():
            return self._reading.execute(query, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._named():
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with closing(_opened(self.file, "rwc")) as connection, connection:
                connection.execute(
                    f"PRAGMA cache_size = -{CACHE_KIB}"
                )  # a whole dump without spilling to the disk
                connection.execute("BEGIN IMMEDIATE")
                for statement in _CREATE.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                yield connection

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise InvalidInput(
                "instruments.file", self.file, f"a file that `alphapanda instruments` has written ({error})"
            ) from None


def _opened(file: Path, mode: str) -> sqlite3.Connection:
    """Opens a registry.

    Raises:
        sqlite3.Error: it can't be opened, or was written by a newer version.
    """
    address = f"file:{quote(str(file.absolute()))}?mode={mode}"
    connection = sqlite3.connect(
        address, uri=True, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            message = f"a newer version of this program made it: {version}"
            raise sqlite3.DatabaseError(message)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _state(connection: sqlite3.Connection) -> State:
    row = connection.execute("SELECT number, own_tokens FROM imports ORDER BY number DESC LIMIT 1").fetchone()
    return State(*row) if row else State()


def _row(entry: Entry) -> Sequence[object]:
    one = entry.instrument
    cells = [getattr(one, name) for name in _COLUMNS]
    cells[_COLUMNS.index("tick_size")] = str(one.tick_size)
    cells[_COLUMNS.index("expiry")] = one.expiry.isoformat() if one.expiry else None
    return (*cells, entry.until.isoformat() if entry.until else None)


def _instrument(row: Sequence[Any]) -> Instrument:
    one = dict(zip(_COLUMNS, row, strict=False))
    one["tick_size"] = Decimal(one["tick_size"])
    one["expiry"] = _day(one["expiry"])
    return Instrument(**one)


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None
