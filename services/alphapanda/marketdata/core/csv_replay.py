"""Parses recorded ticks and bars from CSV exactly: no price is converted to a float.

Ticks have the columns `ts,instrument_token,last_price[,volume…]`, with `ts` in RFC 3339 with a zone or in nanoseconds since the
epoch; other columns are ignored. Bars have the columns `datetime_ist,open,high,low,close,volume`; each becomes one tick at
its end, which is its start + 60 s. In both, `symbol` ("NSE:INFY") may replace `instrument_token`. Bars of several instruments have
one of the two as an additional column, anywhere, and their rows are in time order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from heapq import merge
from operator import itemgetter
from typing import Final, NoReturn
from zoneinfo import ZoneInfo

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import nanoseconds
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.marketdata.core.ticks import OFF_SCALE, PRICE_SCALE, Tick, new_tick

BAR_COLUMNS: Final = "datetime_ist,open,high,low,close,volume"
TICK_COLUMNS: Final = "ts,instrument_token,last_price"
HEADERS: Final = (
    f"a header that is {BAR_COLUMNS}, with instrument_token or symbol where bars name theirs, or begins with"
    f" {TICK_COLUMNS} (or symbol in the token's place)"
)

_DECIMALS: Final = len(str(PRICE_SCALE)) - 1
_IST: Final = ZoneInfo("Asia/Kolkata")
_MINUTE_NS: Final = 60_000_000_000
_MAX_CACHED: Final = 100_000
_PRICE: Final = re.compile(r"(-?)(\d{1,15})(?:\.(\d{1,18}))?")
_WHOLE: Final = re.compile(r"\d{1,18}")
_NANOSECONDS: Final = re.compile(r"\d{1,19}")
_LATEST_NS: Final = 2**63 - 1
_RFC3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.IGNORECASE
)

_PRICE_ALLOWED: Final = "rupees as a plain decimal number, such as 182.65"
_WHOLE_ALLOWED: Final = "a whole number, 0 or more"
_INSTRUMENT_ALLOWED: Final = "an instrument token, 1 to 4294967295"
_SYMBOL_ALLOWED: Final = "the symbol of a known instrument, such as NSE:INFY"
_ORDER_ALLOWED: Final = (
    "rows in the order of time, where a file has several instruments; sort it by datetime_ist"
)
_BAR_START_ALLOWED: Final = "the minute's start in IST as YYYY-MM-DD HH:MM:SS"
_TS_ALLOWED: Final = (
    "RFC 3339 with a zone, such as 2026-11-23T09:15:00.250+05:30, or nanoseconds since the epoch"
)


_Cells = dict[str, tuple[Callable[[str], int], str]]
"""By column: the function that parses a cell, and a description of allowed values."""

_NO_INSTRUMENTS: Final = InstrumentDirectory(())


class MalformedRow(InvalidInput):
    """A row can't be parsed; the error has file, line, column, value and what is allowed."""

    def __init__(self, file: str, line: int, column: str, value: str, allowed: str) -> None:
        self.file = file
        self.line = line
        self.column = column
        super().__init__(f"{file}, line {line}, column {column}", value, allowed)


class _Cached(dict[str, int]):
    """Caches the values of cells, because cells repeat; it is cleared when it reaches its maximum size."""

    def __init__(self, read: Callable[[str], int]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, text: str) -> int:
        if len(self) >= _MAX_CACHED:
            self.clear()
        value = self[text] = self._read(text)
        return value


def read_ticks(
    file: str,
    lines: Iterable[str],
    instrument_token: int | None = None,
    directory: InstrumentDirectory = _NO_INSTRUMENTS,
) -> Iterator[Tick]:
    """Parses the ticks of one file, in their order.

    Args:
        file: name of the file, for errors.
        lines: lines of the file; the first is the header.
        instrument_token: instrument of bars that don't name theirs; otherwise ignored.
        directory: the instruments, to look up symbols.

    Raises:
        MalformedRow: a row can't be parsed; raised after the ticks before it.
        InvalidInput: the file has bars without an instrument.
    """
    rows = iter(lines)
    header = next(rows, "").removeprefix("\ufeff").strip()
    columns = header.split(",")
    known: _Cells = {
        "instrument_token": (_token, _INSTRUMENT_ALLOWED),
        "symbol": (partial(_token_of, directory), _SYMBOL_ALLOWED),
    }
    naming = {column: known[column] for column in columns if column in known}
    if len(naming) <= 1 and ",".join(c for c in columns if c not in naming) == BAR_COLUMNS:
        if not naming and instrument_token is None:
            raise bars_without_instrument(file)
        return _bars(file, rows, instrument_token or 0, columns, naming)
    if len(naming) == 1 and columns[:3] == ["ts", *naming, "last_price"]:
        return _trades(file, rows, columns, naming)
    raise MalformedRow(file, 1, "header", header, HEADERS)


def bars_without_instrument(file: str) -> InvalidInput:
    """Makes the error for a file of bars without an instrument."""
    return InvalidInput(
        "instrument",
        "",
        f"{file} has bars, which don't name their instrument: give one as --instrument NSE:INFY, or NSE:INFY={file}",
    )


def merge_ticks(files: Iterable[Iterator[Tick]]) -> Iterator[Tick]:
    """Merges the ticks of several files by time; ticks of one time are in the order of the files."""
    sources = list(files)
    return sources[0] if len(sources) == 1 else merge(*sources, key=itemgetter(2))


def _bars(file: str, rows: Iterator[str], token: int, columns: list[str], naming: _Cells) -> Iterator[Tick]:
    days = _Cached(_ist_midnight)
    minutes = _Cached(_minute_of_day)
    prices = _Cached(_price)
    named_at = next((at for at, column in enumerate(columns) if column in naming), None)
    tokens = _Cached(_token if named_at is None else naming[columns[named_at]][0])
    others: dict[int, tuple[str, int]] = {}
    day_text = ""
    day_volume = before = 0
    for line, row in enumerate(rows, 2):
        try:
            cells = row.split(",")
            if named_at is not None:
                named = tokens[cells.pop(named_at).rstrip("\r\n")]
                if named != token:
                    others[token] = (day_text, day_volume)
                    day_text, day_volume = others.get(named, ("", 0))
                    token = named
            start_text, open_, high, low, close, volume = cells
            day = start_text[:10]
            start = days[day] + minutes[start_text[10:]]
            bar = (prices[open_], prices[high], prices[low])
            price = prices[close]
            traded = int(volume)
        except (ValueError, IndexError):
            if not row.strip():
                continue
            _raise_malformed(file, line, row, columns, _BAR_CELLS | naming)
        if traded < 0 or not volume[0].isdigit():
            _raise_malformed(file, line, row, columns, _BAR_CELLS | naming)
        if named_at is not None:
            if start < before:
                raise MalformedRow(file, line, "datetime_ist", start_text, _ORDER_ALLOWED)
            before = start
        if day != day_text:
            day_text = day
            day_volume = 0
        day_volume += traded
        yield new_tick((token, price, start + _MINUTE_NS, day_volume, start, *bar))


def _trades(file: str, rows: Iterator[str], columns: list[str], naming: _Cells) -> Iterator[Tick]:
    times = _Cached(_exchange_time)
    tokens = _Cached(naming[columns[1]][0])
    prices = _Cached(_price)
    volume_at = columns.index("volume") if "volume" in columns else None
    volume = None
    for line, row in enumerate(rows, 2):
        cells = row.rstrip("\r\n").split(",")
        try:
            if len(cells) != len(columns):
                raise ValueError  # noqa: TRY301 - one place finds the malformed cell
            if volume_at is not None:
                volume = _whole(cells[volume_at]) if cells[volume_at] else None
            tick = new_tick(
                (tokens[cells[1]], prices[cells[2]], times[cells[0]], volume, None, None, None, None)
            )
        except ValueError:
            if not row.strip():
                continue
            _raise_malformed(file, line, row, columns, _TRADE_CELLS | naming)
        yield tick


def _price(text: str) -> int:
    found = _PRICE.fullmatch(text)
    if found is None:
        raise ValueError
    sign, whole, part = found.groups("")
    part = part.rstrip("0")
    if len(part) > _DECIMALS:
        return OFF_SCALE
    scaled = int(whole) * PRICE_SCALE + int(part.ljust(_DECIMALS, "0"))
    return -scaled if sign else scaled


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError
    return int(text)


def _token(text: str) -> int:
    token = _whole(text)
    if not 0 < token < 2**32:
        raise ValueError
    return token


def _ist_midnight(text: str) -> int:
    return nanoseconds(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=_IST))


def _minute_of_day(text: str) -> int:
    # strptime would accept one-digit fields; a bar's start has two digits everywhere.
    if len(text) != len(" 09:15:00") or not text.endswith(":00"):
        raise ValueError
    at = datetime.strptime(text, " %H:%M:%S").replace(tzinfo=_IST)
    return (at.hour * 60 + at.minute) * _MINUTE_NS


def _exchange_time(text: str) -> int:
    if _NANOSECONDS.fullmatch(text) and int(text) <= _LATEST_NS:
        return int(text)
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise ValueError
    second, fraction, zone = found.groups("")
    at = datetime.fromisoformat(second + ("+00:00" if zone in "Zz" else zone))
    return nanoseconds(at) + int(fraction.ljust(9, "0") or 0)


def _token_of(directory: InstrumentDirectory, symbol: str) -> int:
    found = directory.by_symbol(symbol)
    if found is None:
        raise ValueError
    return found.instrument_token


def _raise_malformed(file: str, line: int, row: str, columns: list[str], known: _Cells) -> NoReturn:
    """Finds the malformed cell of a row and raises its error; the fast loops only know that there is one."""
    cells = row.rstrip("\r\n").split(",")
    if len(cells) != len(columns):
        raise MalformedRow(file, line, "all", ",".join(cells), f"{len(columns)} cells: {','.join(columns)}")
    for column, cell in zip(columns, cells, strict=True):
        if column in known:
            read, allowed = known[column]
            try:
                read(cell)
            except ValueError:
                raise MalformedRow(file, line, column, cell, allowed) from None
    raise MalformedRow(file, line, "all", ",".join(cells), f"a row of {','.join(columns)}")


def _bar_start(text: str) -> int:
    return _ist_midnight(text[:10]) + _minute_of_day(text[10:])


_BAR_CELLS: Final[_Cells] = {
    "datetime_ist": (_bar_start, _BAR_START_ALLOWED),
    **dict.fromkeys(("open", "high", "low", "close"), (_price, _PRICE_ALLOWED)),
    "volume": (_whole, _WHOLE_ALLOWED),
}
_TRADE_CELLS: Final[_Cells] = {
    "ts": (_exchange_time, _TS_ALLOWED),
    "last_price": (_price, _PRICE_ALLOWED),
    "volume": (_whole, _WHOLE_ALLOWED),
}
