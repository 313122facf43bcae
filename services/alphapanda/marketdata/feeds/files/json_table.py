"""JSON files: candles as brokers' APIs answer them, lists of records, columns, or a record a line."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from alphapanda.domain.errors import InvalidInput
from alphapanda.marketdata.core.recorded.arrow import pyarrow
from alphapanda.marketdata.core.recorded.columns import PRICES, Layout, layout_of, roles_known
from alphapanda.marketdata.feeds.files.opening import encoding_of, text_lines
from alphapanda.marketdata.feeds.files.table import Block

_ROWS: Final = 65_536
_DEEPEST: Final = 6
_CANDLE: Final = ("timestamp", *PRICES, "volume", "oi")
_FEWEST: Final = 5
_ALLOWED: Final = (
    "candles as Kite, Upstox, Fyers, Angel One or Dhan answer them, a list of records with date, open, high, low and close,"
    " or such a record a line"
)
Rows = list[list[Any]]


class JsonTable:
    """A JSON file; all of it is held in memory, unless it has a record a line.

    Args:
        file: the file.
        name: how messages name it.
        head: its first bytes, unpacked.
        given: column name or number by role, as the user says.

    Raises:
        InvalidInput: it isn't JSON, or has neither bars nor ticks.
    """

    def __init__(self, file: Path, name: str, head: bytes, given: Mapping[str, str]) -> None:
        self._file = file
        self._name = name
        self._encoding = encoding_of(head).replace("utf-8", "utf-8-sig")
        self._lines = _record_a_line(head, self._encoding)
        self.form = "JSON lines" if self._lines else "JSON"
        self._held: Rows = []
        if self._lines:
            first = next(self._records(), {})
            self._names = list(first)
        else:
            self._names, self._held = self._candles()
        first_row = [str(cell) for cell in self._held[0]] if self._held else None
        self.layouts: Sequence[Layout] = (layout_of(name, self._names, given, clock_in=first_row),)

    def blocks(self, needed: Collection[int]) -> Iterator[Block]:
        """Reads the file in blocks of rows."""
        first_row = 0
        for rows in self._parts():
            columns = {at: _column([row[at] for row in rows]) for at in needed}
            yield Block(first_row, len(rows), columns)
            first_row += len(rows)

    def place(self, row: int) -> str:
        """The number of a candle or a record's line, from 1."""
        return f"line {row + 1}" if self._lines else f"candle {row + 1}"

    def _parts(self) -> Iterator[Rows]:
        if not self._lines:
            yield from (self._held[at : at + _ROWS] for at in range(0, len(self._held), _ROWS))
            return
        held: Rows = []
        for record in self._records():
            held.append([record.get(name) for name in self._names])
            if len(held) == _ROWS:
                yield held
                held = []
        if held:
            yield held

    def _records(self) -> Iterator[dict[str, Any]]:
        for line, text in enumerate(text_lines(self._file, self._encoding), 1):
            if text.strip():
                record = self._parsed(text, f", line {line}")
                if not isinstance(record, dict):
                    raise InvalidInput(f"{self._name}, line {line}", text.strip(), "a record in braces")
                yield record

    def _candles(self) -> tuple[list[str], Rows]:
        found = _table_in(self._parsed("".join(text_lines(self._file, self._encoding)), ""), 0)
        if found is None:
            raise InvalidInput(f"{self._name}", "JSON", _ALLOWED)
        names, rows = found
        shorter = set(names) <= set(_CANDLE)  # some brokers leave out volume and open interest
        for at, row in enumerate(rows, 1):
            if shorter and _FEWEST <= len(row) < len(names):
                row.extend([None] * (len(names) - len(row)))
            if len(row) != len(names):
                raise InvalidInput(
                    f"{self._name}, candle {at}", row, f"{len(names)} values: {', '.join(names)}"
                )
        return names, rows

    def _parsed(self, text: str, where: str) -> Any:
        try:
            return json.loads(text)
        except ValueError as error:
            raise InvalidInput(f"{self._name}{where}", text.strip()[:40], f"JSON ({error})") from None


def is_json(head: bytes) -> bool:
    """Whether a file's first bytes are JSON."""
    start = head.decode(encoding_of(head), errors="ignore").lstrip("\ufeff \r\n\t")[:1]
    return start in {"{", "["}


def _record_a_line(head: bytes, encoding: str) -> bool:
    lines = [line for line in head.decode(encoding, errors="ignore").splitlines() if line.strip()]
    if not lines or not lines[0].strip().startswith("{"):
        return False
    try:
        return isinstance(json.loads(lines[0]), dict) and len(lines) > 1
    except ValueError:
        return False


def _table_in(value: Any, depth: int) -> tuple[list[str], Rows] | None:
    """Names and rows of the first table in a document."""
    if isinstance(value, list) and depth <= _DEEPEST:
        return _table_of_list(value, depth)
    if not isinstance(value, dict) or depth > _DEEPEST:
        return None
    if isinstance(value.get("columns"), list) and isinstance(
        value.get("data"), list
    ):  # pandas, orient="split"
        index = value.get("index") or []
        rows = [[index[at] if at < len(index) else None, *row] for at, row in enumerate(value["data"])]
        return ["index", *map(str, value["columns"])], rows
    if "timestamp" in value and isinstance(value.get("indicators"), dict):  # Yahoo's chart
        quote = (value["indicators"].get("quote") or [{}])[0]
        value = {"timestamp": value["timestamp"], **quote}
    records = list(value.values())
    if len(records) > 1 and all(
        isinstance(one, dict) and roles_known(list(one)) >= len(PRICES) for one in records
    ):
        return _table_of_list(
            [{"index": key, **one} for key, one in value.items()], depth
        )  # pandas, orient="index"
    columns = _table_of_columns(value)
    return columns or next((found for one in value.values() if (found := _table_in(one, depth + 1))), None)


def _table_of_list(value: list[Any], depth: int) -> tuple[list[str], Rows] | None:
    if value and all(isinstance(one, dict) for one in value):
        names = list(dict.fromkeys(name for one in value for name in one))
        if roles_known(names) >= 2:  # noqa: PLR2004 - a time and a price at least
            return names, [[one.get(name) for name in names] for one in value]
    if value and all(isinstance(one, list) for one in value):
        if all(isinstance(cell, str) for cell in value[0]) and roles_known(value[0]) >= len(PRICES):
            return list(value[0]), value[1:]
        if _FEWEST <= max(map(len, value)) <= len(_CANDLE):
            return list(_CANDLE[: max(map(len, value))]), value
    return next((found for one in value[:10] if (found := _table_in(one, depth + 1))), None)


def _table_of_columns(value: dict[str, Any]) -> tuple[list[str], Rows] | None:
    """A table of columns: lists of one length, or dictionaries by row as pandas writes them."""
    columns = {name: cells for name, cells in value.items() if isinstance(cells, list | dict) and cells}
    if roles_known(list(columns)) < len(PRICES):
        return None
    by_row = {name: cells for name, cells in columns.items() if isinstance(cells, dict)}
    table = {name: cells for name, cells in columns.items() if isinstance(cells, list)}
    if by_row:
        keys = list(next(iter(by_row.values())))
        table = {"index": keys, **{name: [cells.get(key) for key in keys] for name, cells in by_row.items()}}
    if len({len(cells) for cells in table.values()}) != 1:
        return None
    return list(table), [list(row) for row in zip(*table.values(), strict=True)]


def _column(cells: list[Any]) -> Any:
    """A column as an array: numbers as they are, anything else as text."""
    arrow = pyarrow()
    kinds = {type(cell) for cell in cells} - {type(None)}
    if kinds <= {int, float} and kinds:
        return arrow.array(cells, arrow.int64() if kinds == {int} else arrow.float64())
    return arrow.array([cell if cell is None else str(cell) for cell in cells], arrow.string())
