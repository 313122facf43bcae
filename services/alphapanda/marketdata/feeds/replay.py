"""Replays recorded ticks, bars or frames from files, at a pace or as fast as possible."""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from hashlib import sha256
from itertools import chain, groupby
from operator import attrgetter
from pathlib import Path
from typing import ClassVar
from zlib import error as ZlibError  # noqa: N812 - an exception, whatever zlib calls it

from typing_extensions import override

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import Frame
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.pace import MAX
from alphapanda.marketdata.core.csv_replay import merge_ticks, read_ticks
from alphapanda.marketdata.core.framing import FrameBuilder
from alphapanda.marketdata.core.sanitiser import Sanitiser
from alphapanda.marketdata.core.ticks import PRICE_SCALE, Tick, TickBatch, batches_by_time
from alphapanda.marketdata.feeds.extent import Extent
from alphapanda.marketdata.feeds.feed import (
    Feed,
    FeedContext,
    FeedRun,
    LastFrames,
    MarketClockWouldGoBack,
    RecordedRun,
)
from alphapanda.marketdata.feeds.pace import Pacer
from alphapanda.marketdata.feeds.parquet import SUFFIX, is_recording, parquet_ticks
from alphapanda.marketdata.feeds.recording import recorded_frames, recorded_runs

_CHUNK = 1 << 20
LATEST_NS = 2**63 - 1
_SYMBOL_AND_FILE = re.compile(r"([A-Z]+:[^=/]+)=(.+)")
_ALLOWED = "a readable file of ticks or bars: CSV, .gz or plain, or Parquet"


def replay_run(files: Sequence[Path], instrument: str | None, seed: int) -> str:
    """The name of a replay's run; the same for the same file contents, instruments and seed.

    Raises:
        InvalidInput: a file can't be read.
    """
    digest = sha256(f"{instrument or ''}\x1f{seed}".encode())
    for symbol, file in map(_named, files):
        one = sha256((symbol or "").encode())
        try:
            with file.open("rb") as content:
                while chunk := content.read(_CHUNK):
                    one.update(chunk)
        except OSError as error:
            raise _unreadable(file, error) from None
        digest.update(one.digest())
    return f"replay:{digest.hexdigest()[:16]}"


def recorded_ticks(
    files: Sequence[Path], directory: InstrumentDirectory, instrument: str | None, extent: Extent
) -> Iterator[Tick]:
    """Reads the ticks of all files, merged by time.

    Args:
        files: at least one, each CSV (plain or .gz) or Parquet; `NSE:INFY=FILE` names the instrument of a file's bars.
        directory: the instruments, to look up symbols.
        instrument: such as "NSE:INFY", for files with bars that don't name theirs.
        extent: counts the bytes of the files and those that were read.

    Raises:
        InvalidInput: a file or a row can't be read (raised after the ticks before it), or bars have no instrument.
        UnknownName: there is no such instrument.
    """
    sources = []
    for symbol, file in map(_named, files):
        wanted = symbol or instrument
        token = directory.require_symbol(wanted, "instrument").instrument_token if wanted else None
        if file.suffix == SUFFIX:
            sources.append(parquet_ticks(file, token, directory, extent))
        else:
            sources.append(read_ticks(str(file), _lines(file, extent), token, directory))
    return merge_ticks(sources)


def replay_frames(
    files: Sequence[Path],
    *,
    directory: InstrumentDirectory,
    instrument: str | None,
    seed: int,
    shards: int,
    shard_of: Callable[[int], int],
    sanitiser: Sanitiser,
    extent: Extent,
    begin_ns: int = 0,
    end_ns: int = LATEST_NS,
) -> Iterator[Frame]:
    """Makes the frames of a recording, the same ones that `up --feed replay:…` publishes.

    Args:
        files: the recording.
        directory: the known instruments.
        instrument: such as "NSE:INFY", for files with bars that don't name theirs.
        seed: part of the run's name.
        shards: number of shards.
        shard_of: returns an instrument token's shard.
        sanitiser: made for `directory` and PRICE_SCALE; counts the ticks that passed and those that were dropped.
        extent: counts the bytes of the files and those that were read.
        begin_ns: market time from which on ticks are replayed, inclusive; earlier ones are left out.
        end_ns: market time at which the replay ends, exclusive.

    Raises:
        InvalidInput: raised as by `recorded_ticks` and `recording_of`.
    """
    recording = recording_of(files)
    if recording is not None:
        for frame in recorded_frames(recording, directory, extent):
            if frame.market_time_ns >= end_ns:
                return
            if frame.market_time_ns < begin_ns:
                continue
            sanitiser.account.passed_frame(frame)
            yield frame
        return
    ticks = recorded_ticks(files, directory, instrument, extent)
    run = replay_run(files, instrument, seed)
    builder = FrameBuilder(run, shards, shard_of, PRICE_SCALE, simulated=ReplayFeed.simulated)
    for market_time_ns, held in batches_by_time(ticks):
        if market_time_ns >= end_ns:
            return
        if market_time_ns < begin_ns:
            continue
        if kept := sanitiser.clean(held):
            yield from builder.frames(market_time_ns, kept)


def recording_of(files: Sequence[Path]) -> Path | None:
    """The recording of frames among these files; None if there is none.

    Raises:
        InvalidInput: there is one, and other files besides it.
    """
    found = [file for _, file in map(_named, files) if is_recording(file)]
    if found and len(files) > 1:
        raise InvalidInput("file", found[0], "a recording of frames alone: its order is part of it")
    return found[0] if found else None


class ReplayFeed(Feed):
    """Replays recorded ticks or bars in lockstep, so that it ends with the same books at any pace on any machine.

    Args:
        files: the recording.
        directory: the known instruments.
        instrument: such as "NSE:INFY", for files with bars that don't name theirs.
        seed: part of the run's name.
        pacer: keeps the pace; it skips nights and days without trading.
    """

    name: ClassVar[str] = "replay"
    simulated: ClassVar[bool] = True
    heartbeats: ClassVar[bool] = False
    frame_by_frame: ClassVar[bool] = True

    def __init__(
        self,
        files: Sequence[Path],
        directory: InstrumentDirectory,
        instrument: str | None,
        seed: int,
        pacer: Pacer,
    ) -> None:
        self._files = files
        self._directory = directory
        self._instrument = instrument
        self._seed = seed
        self._pacer = pacer

    @property
    @override
    def lockstep(self) -> bool:
        return True

    @property
    @override
    def pacer(self) -> Pacer:
        return self._pacer

    @override
    def check(self) -> None:
        self._batches()

    @override
    async def runs(self, last: LastFrames | None) -> AsyncIterator[FeedRun]:
        """Yields one run, from the start of the recording; the publisher skips frames that are on the log already.

        Raises:
            InvalidInput: the recording can't be read, or begins before the market's clock.
        """
        begins_ns, batches = self._batches()
        run = replay_run(self._files, self._instrument, self._seed)
        clock_ns = 0 if last is None else last.market_time_ns
        if last is not None and last.feed_run != run and begins_ns < clock_ns:
            raise MarketClockWouldGoBack(self._names, begins_ns, clock_ns)
        self._pacer.begin_at(max(begins_ns, clock_ns))
        yield FeedRun(run, self._paced(batches))

    def _batches(self) -> tuple[int, Iterator[TickBatch]]:
        """The market time of the first batch, and an iterator over all batches."""
        batches = batches_by_time(recorded_ticks(self._files, self._directory, self._instrument, Extent()))
        first = next(batches, None)
        if first is None:
            raise InvalidInput("feed", self._names, "a recording with at least one row")
        return first.market_time_ns, chain([first], batches)

    async def _paced(self, batches: Iterator[TickBatch]) -> AsyncIterator[TickBatch]:
        for batch in batches:
            await self._pacer.reach(batch.market_time_ns)
            yield batch

    @property
    def _names(self) -> str:
        return ", ".join(map(str, self._files))


class RecordedFeed(Feed):
    """Replays recorded frames as they were published, in lockstep.

    Args:
        file: the recording.
        directory: the known instruments.
        pacer: keeps the pace.
    """

    name: ClassVar[str] = ReplayFeed.name
    simulated: ClassVar[bool] = True
    heartbeats: ClassVar[bool] = True
    frame_by_frame: ClassVar[bool] = True

    def __init__(self, file: Path, directory: InstrumentDirectory, pacer: Pacer) -> None:
        self._file = file
        self._directory = directory
        self._pacer = pacer

    @property
    @override
    def lockstep(self) -> bool:
        return True

    @property
    @override
    def pacer(self) -> Pacer:
        return self._pacer

    @override
    def check(self) -> None:
        self._begin()

    @override
    async def runs(self, last: LastFrames | None) -> AsyncIterator[RecordedRun]:
        """Yields the recorded runs under their own names, so that all ids are the same.

        Raises:
            InvalidInput: the recording can't be read, or begins before the market's clock.
        """
        begins_ns, frames = self._begin()
        names = recorded_runs(self._file)
        clock_ns = 0 if last is None else last.market_time_ns
        continues_at = names.index(last.feed_run) if last is not None and last.feed_run in names else None
        if continues_at is None and begins_ns < clock_ns:
            raise MarketClockWouldGoBack(str(self._file), begins_ns, clock_ns)
        finished = set(names[: continues_at or 0])
        self._pacer.begin_at(max(begins_ns, clock_ns))
        for run, of_run in groupby(frames, key=attrgetter("feed_run")):
            if run not in finished:
                yield RecordedRun(run, self._paced(of_run))

    def _begin(self) -> tuple[int, Iterator[Frame]]:
        frames = recorded_frames(self._file, self._directory, Extent())
        first = next(frames, None)
        if first is None:
            raise InvalidInput("feed", self._file, "a recording with at least one frame")
        return first.market_time_ns, chain([first], frames)

    async def _paced(self, frames: Iterator[Frame]) -> AsyncIterator[Frame]:
        for frame in frames:
            await self._pacer.reach(frame.market_time_ns)
            yield frame


def open_replay(argument: str, context: FeedContext) -> ReplayFeed | RecordedFeed:
    """Opens `replay:FILE[,FILE…]`; `NSE:INFY=FILE` names the instrument of a file's bars.

    Raises:
        InvalidInput: no file is named, or a Parquet file can't be read.
    """
    files = [Path(name) for name in argument.split(",") if name]
    if not files:
        raise InvalidInput("feed", "replay:", "replay:FILE with ticks, bars or recorded frames")
    pacer = Pacer(MAX if context.speed is None else context.speed)
    recording = recording_of(files)
    if recording is not None:
        return RecordedFeed(recording, context.directory, pacer)
    return ReplayFeed(files, context.directory, context.instrument, context.seed, pacer)


def _named(file: Path) -> tuple[str | None, Path]:
    """Splits `SYMBOL=FILE` or `FILE` into symbol (None if there is none) and path."""
    found = _SYMBOL_AND_FILE.fullmatch(str(file))
    return (found[1], Path(found[2]).expanduser()) if found else (None, file.expanduser())


def _lines(file: Path, extent: Extent) -> Iterator[str]:
    """Reads the lines of a file.

    Raises:
        InvalidInput: the file can't be read; raised at the first line, or at the one that can't be read.
    """
    try:
        with file.open("rb") as content:
            size = max(file.stat().st_size, 1)
            extent.begin(file, lambda: 1.0 if content.closed else content.tell() / size)
            with (
                gzip.open(content) if file.suffix == ".gz" else content as unpacked,
                io.TextIOWrapper(unpacked, encoding="utf-8", newline="") as lines,
            ):
                yield from lines
    except (OSError, EOFError, ZlibError, UnicodeDecodeError) as error:
        raise _unreadable(file, error) from None


def _unreadable(file: Path, error: Exception) -> InvalidInput:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return InvalidInput("file", file, f"{_ALLOWED} ({why})")
