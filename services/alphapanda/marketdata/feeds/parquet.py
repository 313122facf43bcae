"""Reads ticks and bars from Parquet files; pyarrow is imported only when such a file is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from itertools import repeat
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.domain.frame import SECOND_NS
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.marketdata.core.csv_replay import BAR_COLUMNS, bars_without_instrument
from alphapanda.marketdata.core.ticks import OFF_SCALE, PRICE_SCALE, Tick, new_tick
from alphapanda.marketdata.feeds.extent import Extent

SUFFIX: Final = ".parquet"
RECORDING_KEY: Final = b"alphapanda.recording"
"""Key in the metadata of a Parquet schema that marks a recording of frames (feeds.recording)."""

IST_NS: Final = 19_800 * SECOND_NS
DAY_NS: Final = 86_400 * SECOND_NS
_MINUTE_NS: Final = 60 * SECOND_NS
_ROWS: Final = 65_536
_DECIMALS: Final = len(str(PRICE_SCALE)) - 1
_LARGEST_FLOAT: Final = 1e13
_NAMING: Final = ("instrument_token", "symbol")
_COLUMNS: Final = (
    f"the columns {BAR_COLUMNS}, with instrument_token or symbol where bars name theirs, or ts, instrument_token or"
    " symbol, last_price and perhaps volume"
)

Whole = NDArray[np.int64]


class _BadCell(Exception):
    """A cell can't be used; `at` is its index in the batch."""

    def __init__(self, at: int, value: object, allowed: str) -> None:
        super().__init__(allowed)
        self.at = at
        self.value = value
        self.allowed = allowed


def pyarrow() -> Any:
    """Imports pyarrow with pyarrow.parquet.

    Raises:
        InvalidInput: pyarrow isn't installed.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - 170 MB, needed for Parquet files alone

        import_module("pyarrow.parquet")
    except ImportError:
        raise InvalidInput(
            "file", "*.parquet", "pyarrow reads and writes it: pip install alphapanda[embedded]"
        ) from None
    return pa


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """Converts errors of reading a file to one that names the file.

    Raises:
        InvalidInput: the file doesn't exist, is cut short, or isn't a Parquet file.
    """
    try:
        yield
    except (OSError, pyarrow().ArrowException) as error:
        why = (getattr(error, "strerror", None) or str(error)).splitlines()[0]
        raise InvalidInput("file", file, f"a whole, readable Parquet file ({why})") from None


def parquet_ticks(
    file: Path, instrument_token: int | None, directory: InstrumentDirectory, extent: Extent
) -> Iterator[Tick]:
    """Reads the ticks of one file, in their order.

    Args:
        file: a Parquet file of ticks or bars.
        instrument_token: instrument of bars that don't name theirs.
        directory: the instruments, to look up symbols.
        extent: counts the bytes of the file and those that were read.

    Raises:
        InvalidInput: the file can't be read, a column is missing or has the wrong type, or a row can't be used (raised
            after the ticks before it).
    """
    with readable(file):
        source = pyarrow().parquet.ParquetFile(file)
        schema = source.schema_arrow
    names = set(schema.names)
    naming = [column for column in _NAMING if column in names]
    if names.issuperset(BAR_COLUMNS.split(",")) and len(naming) <= 1:
        if not naming and instrument_token is None:
            raise bars_without_instrument(str(file))
        columns, ticks = [*BAR_COLUMNS.split(","), *naming], partial(_bars, token=instrument_token or 0)
    elif names.issuperset(("ts", "last_price")) and len(naming) == 1:
        columns = ["ts", "last_price", *naming, *(["volume"] if "volume" in names else [])]
        ticks = partial(_trades)
    else:
        raise InvalidInput(f"{file}, columns", ", ".join(schema.names), _COLUMNS)
    readers = {column: _reader(file, column, schema.field(column).type, directory) for column in columns}
    return ticks(file, _batches(file, source, readers, extent))


def _batches(
    file: Path, source: Any, readers: Mapping[str, Callable[[Any], Whole]], extent: Extent
) -> Iterator[tuple[int, dict[str, Whole]]]:
    """Batches of rows as columns of integers, each with the number of its first row, from 1."""
    first_row = 1
    extent.begin(file, lambda: (first_row - 1) / max(source.metadata.num_rows, 1))
    batches = source.iter_batches(batch_size=_ROWS, columns=list(readers))
    while True:
        with readable(file):
            batch = next(batches, None)
        if batch is None:
            return
        cells = {}
        for column, read in readers.items():
            try:
                cells[column] = read(batch.column(column))
            except _BadCell as bad:
                raise _malformed(file, first_row + bad.at, column, bad.value, bad.allowed) from None
        yield first_row, cells
        first_row += batch.num_rows


def _bars(file: Path, batches: Iterator[tuple[int, dict[str, Whole]]], token: int) -> Iterator[Tick]:
    days: dict[int, tuple[int, int]] = {}
    before = 0
    for first_row, cells in batches:
        starts, tokens = cells["datetime_ist"], cells.get("instrument_token", cells.get("symbol"))
        _check(file, first_row, "datetime_ist", starts % _MINUTE_NS != 0, starts, "the start of a minute")
        _check(file, first_row, "volume", cells["volume"] < 0, cells["volume"], "a whole number, 0 or more")
        if tokens is not None and len(starts):
            back = np.diff(starts, prepend=before) < 0
            _check(
                file,
                first_row,
                "datetime_ist",
                back,
                starts,
                "rows in the order of time, where a file has several instruments",
            )
            before = int(starts[-1])
        for named, price, start, traded, open_, high, low in zip(
            repeat(token) if tokens is None else tokens.tolist(),
            cells["close"].tolist(),
            starts.tolist(),
            cells["volume"].tolist(),
            cells["open"].tolist(),
            cells["high"].tolist(),
            cells["low"].tolist(),
            strict=False,
        ):
            day = (start + IST_NS) // DAY_NS
            last_day, volume = days.get(named, (day, 0))
            volume = traded + (volume if day == last_day else 0)
            days[named] = (day, volume)
            yield new_tick((named, price, start + _MINUTE_NS, volume, start, open_, high, low))


def _trades(file: Path, batches: Iterator[tuple[int, dict[str, Whole]]]) -> Iterator[Tick]:
    for first_row, cells in batches:
        tokens = cells.get("instrument_token", cells.get("symbol", cells["ts"]))
        bad = (tokens <= 0) | (tokens >= 2**32)
        _check(file, first_row, "instrument_token", bad, tokens, "an instrument token, 1 to 4294967295")
        volumes = (
            [None if volume < 0 else volume for volume in cells["volume"].tolist()]
            if "volume" in cells
            else None
        )
        for token, price, time, volume in zip(
            tokens.tolist(),
            cells["last_price"].tolist(),
            cells["ts"].tolist(),
            volumes or repeat(None),
            strict=False,
        ):
            yield new_tick((token, price, time, volume, None, None, None, None))


def _check(
    file: Path, first_row: int, column: str, bad: NDArray[np.bool_], values: Whole, allowed: str
) -> None:
    if bad.any():
        at = int(bad.argmax())
        raise _malformed(file, first_row + at, column, values[at], allowed)


def _malformed(file: Path, row: int, column: str, value: object, allowed: str) -> InvalidInput:
    return InvalidInput(f"{file}, row {row}, column {column}", value, allowed)


# -- columns ------------------------------------------------------------------------------------------------------------


_Read = Callable[[Any], Whole]


def _reader(file: Path, column: str, kind: Any, directory: InstrumentDirectory) -> _Read:
    """The function that reads a column of this type.

    Raises:
        InvalidInput: the column can't have this type.
    """
    choose, allowed = _COLUMN_KINDS.get(column, (_price_reader, _PRICE_ALLOWED))
    read = choose(kind, directory)
    if read is None:
        raise InvalidInput(f"{file}, column {column}", f"type {kind}", allowed)
    return read


def _start_reader(kind: Any, _: InstrumentDirectory) -> _Read | None:
    return partial(_instants, shift=0 if kind.tz else IST_NS) if pyarrow().types.is_timestamp(kind) else None


def _time_reader(kind: Any, _: InstrumentDirectory) -> _Read | None:
    if pyarrow().types.is_timestamp(kind) and kind.tz:
        return partial(_instants, shift=0)
    return _wholes if pyarrow().types.is_int64(kind) else None


def _whole_reader(kind: Any, _: InstrumentDirectory) -> _Read | None:
    return _wholes if pyarrow().types.is_integer(kind) and not pyarrow().types.is_uint64(kind) else None


def _volume_reader(kind: Any, directory: InstrumentDirectory) -> _Read | None:
    return _volumes if _whole_reader(kind, directory) else None


def _symbol_reader(kind: Any, directory: InstrumentDirectory) -> _Read | None:
    types = pyarrow().types
    text = kind.value_type if types.is_dictionary(kind) else kind
    is_text = types.is_string(text) or types.is_large_string(text)
    return partial(_tokens, directory=directory) if is_text else None


def _price_reader(kind: Any, directory: InstrumentDirectory) -> _Read | None:
    types = pyarrow().types
    if types.is_decimal128(kind):
        return partial(decimals, scale=kind.scale)
    if types.is_float64(kind):
        return _floats
    return _rupees if _whole_reader(kind, directory) else None


_PRICE_ALLOWED: Final = "decimal128, double or a whole number of rupees"
_COLUMN_KINDS: Final[Mapping[str, tuple[Callable[[Any, InstrumentDirectory], _Read | None], str]]] = {
    "datetime_ist": (_start_reader, "a timestamp (without a zone it is IST)"),
    "ts": (_time_reader, "a timestamp with a time zone, or int64 nanoseconds since the epoch"),
    "instrument_token": (_whole_reader, "a whole number of at most 63 bits"),
    "volume": (_volume_reader, "a whole number of at most 63 bits"),
    "symbol": (_symbol_reader, "a string such as NSE:INFY"),
}


def _whole_cells(cells: Any) -> Any:
    """Checks that no cell is missing, and returns the cells."""
    if cells.null_count:
        raise _BadCell(
            int(np.argmax(cells.is_null().to_numpy(zero_copy_only=False))), "", "a value in every row"
        )
    return cells


def _wholes(cells: Any) -> Whole:
    made: Whole = _whole_cells(cells).to_numpy(zero_copy_only=False).astype(np.int64)
    return made


def _rupees(cells: Any) -> Whole:
    return _wholes(cells) * PRICE_SCALE


def _volumes(cells: Any) -> Whole:
    """Volumes as integers; a missing one is -1."""
    return _wholes(cells.fill_null(-1))


def _instants(cells: Any, shift: int) -> Whole:
    arrow = pyarrow()
    nanoseconds = _whole_cells(cells).cast(arrow.timestamp("ns", cells.type.tz))
    return _wholes(nanoseconds.cast(arrow.int64())) - shift


def _tokens(cells: Any, directory: InstrumentDirectory) -> Whole:
    coded = _whole_cells(cells)
    coded = coded if pyarrow().types.is_dictionary(coded.type) else coded.dictionary_encode()
    tokens = []
    for code, symbol in enumerate(coded.dictionary.to_pylist()):
        found = directory.by_symbol(symbol)
        at = np.flatnonzero(coded.indices.to_numpy(zero_copy_only=False) == code)
        if found is None and len(at):
            near = UnknownName("symbol", symbol, [one.symbol for one in directory]).allowed
            raise _BadCell(int(at[0]), symbol, near)
        tokens.append(0 if found is None else found.instrument_token)
    made: Whole = np.array(tokens, dtype=np.int64)[coded.indices.to_numpy(zero_copy_only=False)]
    return made


def decimals(cells: Any, scale: int) -> Whole:
    """Prices of a decimal128 column in 1/PRICE_SCALE rupees; OFF_SCALE if a price has no exact value."""
    _whole_cells(cells)
    words = np.frombuffer(cells.buffers()[1], dtype=np.int64).reshape(-1, 2)
    words = words[cells.offset : cells.offset + len(cells)]
    low, high = words[:, 0], words[:, 1]
    if (too_large := high != low >> 63).any():
        raise _BadCell(
            int(too_large.argmax()), cells[int(too_large.argmax())], "a price of at most 18 digits"
        )
    if scale <= _DECIMALS:
        made: Whole = low * 10 ** (_DECIMALS - scale)
        return made
    unit = 10 ** (scale - _DECIMALS)
    return np.where(low % unit == 0, low // unit, OFF_SCALE)


def _floats(cells: Any) -> Whole:
    """Prices of a float column, each rounded to its nearest decimal; OFF_SCALE if that needs more decimals."""
    values = _whole_cells(cells).to_numpy(zero_copy_only=False)
    bad = ~(np.abs(values) < _LARGEST_FLOAT)
    if bad.any():
        raise _BadCell(int(bad.argmax()), values[bad.argmax()], "rupees as a number")
    scaled = np.rint(values * PRICE_SCALE)
    return np.where(scaled / PRICE_SCALE == values, scaled, OFF_SCALE).astype(np.int64)


def is_recording(file: Path) -> bool:
    """Whether a file is a recording of frames.

    Raises:
        InvalidInput: its name ends with .parquet and it can't be read.
    """
    if file.suffix != SUFFIX:
        return False
    with readable(file):
        metadata = pyarrow().parquet.read_schema(file).metadata or {}
    return RECORDING_KEY in metadata
