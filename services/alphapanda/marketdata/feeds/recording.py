"""Writes and reads recordings of frames: Parquet files with a row for each tick, in the order of publishing.

A frame without ticks (a heartbeat) is a row without an instrument. An unfinished recording is an Arrow stream in FILE.part; a
crash loses at most its last second. FILE itself is created when the recording is complete.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, pairwise, repeat
from pathlib import Path
from typing import Any, Final

import numpy as np
import structlog

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import Frame
from alphapanda.domain.instrument import MAKE_KNOWN, InstrumentDirectory
from alphapanda.marketdata.core.ticks import PRICE_SCALE
from alphapanda.marketdata.feeds.extent import Extent
from alphapanda.marketdata.feeds.parquet import RECORDING_KEY, SUFFIX, pyarrow, readable, whole_decimals
from alphapanda.resilience.attempts import attempted

PART: Final = ".part"
_FLUSH_SECONDS: Final = 1.0
_GROUP_ROWS: Final = 65_536
_DECIMALS: Final = len(str(PRICE_SCALE)) - 1
_OF_BARS: Final = ("open", "high", "low")
"""Columns that recordings of earlier versions don't have; the bars in them are known by their closes alone."""

_log = structlog.get_logger(__name__)


def _schema() -> Any:
    arrow = pyarrow()
    instant = arrow.timestamp("ns", "UTC")
    fields = [
        ("ts", instant),
        ("instrument_token", arrow.uint32()),
        ("last_price", arrow.decimal128(18, _DECIMALS)),
        ("volume", arrow.int64()),
        ("bar_start", instant),
        ("market_time", instant),
        ("feed_run", arrow.string()),
        ("shard", arrow.int32()),
        ("sequence", arrow.int64()),
        *((name, arrow.decimal128(18, _DECIMALS)) for name in _OF_BARS),
    ]
    return arrow.schema(fields, metadata={RECORDING_KEY: b"1"})


def check_recording(file: Path) -> None:
    """Checks that a recording can be written to a file.

    Raises:
        InvalidInput: the suffix isn't .parquet, the folder doesn't exist, or the file exists.
    """
    pyarrow()
    if file.suffix != SUFFIX:
        raise InvalidInput("--record", file, f"a file whose name ends in {SUFFIX}")
    if not file.parent.is_dir():
        raise InvalidInput("--record", file, "a file in a folder that exists")
    for there in (file, _cut_short(file)) if _part(file).exists() else (file,):
        if there.exists():
            raise InvalidInput("--record", there, "the name of a file that isn't there yet")


def unfinished(folder: Path) -> Sequence[Path]:
    """The recordings in a folder that a crash has cut short, by their final names."""
    return sorted(part.with_name(part.name.removesuffix(PART)) for part in folder.glob(f"*{SUFFIX}{PART}"))


async def save_cut_short(file: Path) -> None:
    """Saves a recording that was cut short as a Parquet file named NAME.cut-short.parquet."""
    saved = _cut_short(file)
    rows = await asyncio.to_thread(_to_parquet, _part(file), saved)
    _log.warning("recording.salvaged", saved_as=str(saved), rows=rows)


class FrameRecorder:
    """Records frames in a file. A write error ends the recording and is logged; the feed continues.

    Args:
        file: the file of the complete recording; checked by `check_recording`.

    Attributes:
        frames: number of frames recorded so far.
        failure: why the recording ended early; empty if it didn't.
    """

    def __init__(self, file: Path) -> None:
        self.frames = 0
        self.failure = ""
        self._file = file
        self._rows: list[tuple[Any, ...]] = []
        self._stream: Any = None
        self._writer: Any = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        """Starts recording; first saves an earlier recording that a crash has cut short.

        Raises:
            InvalidInput: the file can't be written.
        """
        if _part(self._file).exists():
            await save_cut_short(self._file)
        try:
            self._stream = _part(self._file).open("wb")
        except OSError as error:
            self.failure = str(error)
            raise InvalidInput(
                "--record", self._file, f"a file that can be written ({error.strerror})"
            ) from None
        self._writer = pyarrow().ipc.new_stream(self._stream, _schema())
        self._task = asyncio.create_task(self._flush_on(), name="recording")

    async def stop(self) -> None:
        """Writes the remaining rows and completes the file."""
        if self._task is not None:
            # Not cancelled: rows being written would be lost, or written at the same time as the last ones.
            self._stopping.set()
            await self._task
            self._task = None
        if self._writer is None or self.failure:
            return
        try:
            self._writer.close()
            self._stream.close()
            rows = await asyncio.to_thread(_to_parquet, _part(self._file), self._file)
        except (OSError, pyarrow().ArrowException) as error:
            self._fail(error)
        else:
            _log.info("recording.completed", file=str(self._file), frames=self.frames, rows=rows)
        self._writer = None

    def add(self, frames: Sequence[Frame]) -> None:
        """Records published frames."""
        if self.failure:
            return
        self.frames += len(frames)
        for frame in frames:
            self._rows += _rows(frame)

    async def _flush_on(self) -> None:
        while not self.failure and not self._stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _FLUSH_SECONDS)
            await self._flush()
        await self._flush()

    async def _flush(self) -> None:
        rows, self._rows = self._rows, []
        if not rows or self.failure:
            return
        if error := await attempted(asyncio.to_thread(self._write, rows)):
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.failure = str(error)
        _log.error("recording.failed", alarm=True, file=str(_part(self._file)), error=self.failure)

    def _write(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self._writer.write_batch(_batch(rows))
        self._stream.flush()


def _rows(frame: Frame) -> list[tuple[Any, ...]]:
    if frame.price_scale != PRICE_SCALE:
        raise ValueError(
            f"a frame's prices are in 1/{frame.price_scale} rupees; a recording holds 1/{PRICE_SCALE}"
        )
    rest = (frame.market_time_ns, frame.feed_run, frame.shard, frame.sequence)
    ticks = len(frame.instrument_token)
    if not ticks:
        return [(None, None, None, None, None, *rest, None, None, None)]
    volumes: Iterable[int | None] = frame.volume or repeat(None, ticks)
    starts: Iterable[int | None] = frame.bar_start or repeat(None, ticks)
    columns = (frame.exchange_time, frame.instrument_token, frame.last_price, volumes, starts)
    bars: Iterable[tuple[int | None, ...]] = zip(frame.open, frame.high, frame.low, strict=True)
    bars = bars if frame.open else repeat((None, None, None), ticks)
    return [(*tick, *rest, *bar) for tick, bar in zip(zip(*columns, strict=True), bars, strict=True)]


def _batch(rows: Sequence[tuple[Any, ...]]) -> Any:
    arrow, schema = pyarrow(), _schema()
    columns = []
    for field, values in zip(schema, zip(*rows, strict=True), strict=True):
        if arrow.types.is_decimal(field.type):
            paise = arrow.array(values, arrow.int64())
            low = np.asarray(paise.fill_null(0))
            words = arrow.py_buffer(np.stack([low, low >> 63], axis=1).tobytes())
            columns.append(arrow.Array.from_buffers(field.type, len(paise), [paise.buffers()[0], words]))
        else:
            columns.append(arrow.array(values, field.type))
    return arrow.RecordBatch.from_arrays(columns, schema=schema)


def _part(file: Path) -> Path:
    return file.with_name(file.name + PART)


def _cut_short(file: Path) -> Path:
    return file.with_name(f"{file.stem}.cut-short{SUFFIX}")


def _to_parquet(part: Path, file: Path) -> int:
    """Converts a stream, as far as it is readable, to a Parquet file and removes the stream; returns the number of rows.

    No frame is split over two row groups. The file gets its name when it is complete.
    """
    arrow = pyarrow()
    making = file.with_name(file.name + ".tmp")
    rows = 0
    tables = _tables(part)
    first = next(tables, None)
    # An earlier version may have begun it, with fewer columns.
    schema = _schema() if first is None else first.schema
    with arrow.parquet.ParquetWriter(making, schema, compression="zstd") as writer:
        for table in () if first is None else chain([first], tables):
            rows += table.num_rows
            writer.write_table(table, row_group_size=table.num_rows)
    with making.open("rb+") as written:
        os.fsync(written.fileno())
    making.replace(file)
    part.unlink()
    return rows


def _tables(part: Path) -> Iterator[Any]:
    """The stream's batches, joined to tables; ends where the stream was cut off."""
    arrow = pyarrow()
    held: list[Any] = []
    with part.open("rb") as stream:
        try:
            for batch in arrow.ipc.open_stream(stream):
                held.append(batch)
                if sum(one.num_rows for one in held) >= _GROUP_ROWS:
                    yield arrow.Table.from_batches(held)
                    held = []
        except (OSError, arrow.ArrowException):
            _log.info("recording.ended_early", file=str(part))
    if held:
        yield arrow.Table.from_batches(held)


# -- reading ------------------------------------------------------------------------------------------------------------


def recorded_runs(file: Path) -> Sequence[str]:
    """The names of a recording's feed runs, in order.

    Raises:
        InvalidInput: the file can't be read.
    """
    with readable(file):
        source = pyarrow().parquet.ParquetFile(file, read_dictionary=["feed_run"])
        column = source.read(columns=["feed_run"]).column("feed_run")
        return list(dict.fromkeys(column.unique().to_pylist()))


def recorded_frames(file: Path, directory: InstrumentDirectory, extent: Extent) -> Iterator[Frame]:
    """Reads the frames of a recording as they were published, but with `simulated` always true.

    Args:
        file: the recording.
        directory: the known instruments.
        extent: counts the bytes of the file and those that were read.

    Raises:
        InvalidInput: the file can't be read, frames are missing, or an instrument isn't known; raised after the frames
            before the error.
    """
    known: set[int] = set()
    with readable(file):
        source = pyarrow().parquet.ParquetFile(file)
        wanted = [field.name for field in _schema() if field.name not in _OF_BARS]
        missing = [name for name in wanted if name not in source.schema_arrow.names]
    if missing:
        raise InvalidInput(
            f"{file}, columns", ", ".join(source.schema_arrow.names), f"{', '.join(missing)} as well"
        )
    sequences: dict[tuple[str, int], int] = {}
    rows = 0
    extent.begin(file, lambda: rows / max(source.metadata.num_rows, 1))
    for group in range(source.num_row_groups):
        with readable(file):
            table = source.read_row_group(group).combine_chunks()
        for frame in _frames(table):
            stream = (frame.feed_run, frame.shard)
            before = sequences.get(stream, frame.sequence - 1)
            if frame.sequence != before + 1:
                raise InvalidInput(
                    f"{file}, shard {frame.shard}, sequence",
                    frame.sequence,
                    f"{before + 1}: frames are missing",
                )
            sequences[stream] = frame.sequence
            if not known.issuperset(frame.instrument_token):
                known |= _require_known(file, directory, frame)
            rows += len(frame.instrument_token) or 1
            yield frame


def _require_known(file: Path, directory: InstrumentDirectory, frame: Frame) -> set[int]:
    """The tokens of a frame, all of which are of known instruments.

    Raises:
        InvalidInput: an instrument isn't known.
    """
    tokens = set(frame.instrument_token)
    for token in sorted(tokens):
        if directory.by_token(token) is None:
            raise InvalidInput(
                f"{file}, instrument_token", token, f"the token of a known instrument; {MAKE_KNOWN}"
            )
    return tokens


def _frames(table: Any) -> Iterator[Frame]:
    arrow = pyarrow()

    def wholes(name: str) -> list[Any]:
        """A column as integers; an empty cell is None."""
        cells: list[Any] = table.column(name).cast(arrow.int64()).to_pylist()
        return cells

    runs = table.column("feed_run").to_pylist()
    shards, numbers, market_times = wholes("shard"), wholes("sequence"), wholes("market_time")
    tokens, times, volumes, starts = (wholes(n) for n in ("instrument_token", "ts", "volume", "bar_start"))
    prices = _paise(table.column("last_price").combine_chunks())
    bars = [_paise(table.column(name).combine_chunks()) for name in _OF_BARS if name in table.column_names]
    identities = list(zip(runs, shards, numbers, strict=True))
    ends = [at for at, (one, other) in enumerate(pairwise(identities), 1) if one != other]
    for begin, end in pairwise([0, *ends, len(identities)]):
        empty = tokens[begin] is None
        part = slice(begin, begin if empty else end)
        # A price is more than 0, so 0 stands for an empty cell.
        open_, high, low = (
            [tuple(column[part]) for column in bars] if bars and bars[0][begin] else ((), (), ())
        )
        run, shard, sequence = identities[begin]
        yield Frame(
            feed_run=run,
            shard=shard,
            sequence=sequence,
            market_time_ns=market_times[begin],
            price_scale=PRICE_SCALE,
            instrument_token=tuple(tokens[part]),
            last_price=tuple(prices[part]),
            exchange_time=tuple(times[part]),
            bar_start=() if empty or starts[begin] is None else tuple(starts[part]),
            volume=() if empty or volumes[begin] is None else tuple(volumes[part]),
            open=open_,
            high=high,
            low=low,
            simulated=True,
        )


def _paise(column: Any) -> list[int]:
    zero = pyarrow().scalar(0, column.type)
    made: list[int] = whole_decimals(column.fill_null(zero)).tolist()
    return made
