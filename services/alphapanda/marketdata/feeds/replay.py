"""Replays recorded ticks, bars or frames from files, at a pace or as fast as possible."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain, groupby
from operator import attrgetter
from pathlib import Path
from typing import ClassVar

import structlog
from typing_extensions import override

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import Frame
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.pace import MAX
from alphapanda.marketdata.core.framing import FrameBuilder
from alphapanda.marketdata.core.recorded.options import IST, NO_OPTIONS, ReadingOptions
from alphapanda.marketdata.core.sanitiser import Sanitiser
from alphapanda.marketdata.core.session_opens import with_session_opens
from alphapanda.marketdata.core.ticks import PRICE_SCALE, TickBatch, batches_by_time
from alphapanda.marketdata.feeds.extent import Extent
from alphapanda.marketdata.feeds.feed import (
    Feed,
    FeedContext,
    FeedRun,
    LastFrames,
    MarketClockWouldGoBack,
    RecordedRun,
)
from alphapanda.marketdata.feeds.files.opening import unreadable
from alphapanda.marketdata.feeds.files.recording import NamedFile, Recording, read_recording
from alphapanda.marketdata.feeds.pace import Pacer
from alphapanda.marketdata.feeds.parquet import is_recording
from alphapanda.marketdata.feeds.recording import recorded_frames, recorded_runs

_CHUNK = 1 << 20
_SYMBOL_AND_FILE = re.compile(r"([A-Z]+:[^=/]+)=(.+)")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RecordingWanted:
    """The files of a recording, and how to read them.

    Attributes:
        files: at least one, of any form that `feeds.files` reads; `NSE:INFY=FILE` names the instrument of a file.
        instrument: such as "NSE:INFY", for files that don't name theirs.
        directory: the known instruments.
        calendar: trading days and sessions.
        options: what the user says about the files.
        shows_opens: whether frames without ticks show the opens of the sessions that have bars, so that orders can fill there.
    """

    files: Sequence[Path]
    instrument: str | None
    directory: InstrumentDirectory
    calendar: TradingCalendar
    options: ReadingOptions = NO_OPTIONS
    shows_opens: bool = False

    def batches(self, recording: Recording, extent: Extent) -> Iterator[TickBatch]:
        """The batches of a recording that was read; `extent` counts the bytes that were read."""
        batches = batches_by_time(recording.ticks(extent))
        return with_session_opens(batches, self.directory, self.calendar) if self.shows_opens else batches

    def read(self) -> Recording:
        """Reads all files, and checks every row.

        Raises:
            InvalidInput: a file or a row can't be read, rows disagree about a bar, or rows have no instrument.
            UnknownName: there is no such instrument.
        """
        named = []
        for symbol, file in map(_named, self.files):
            wanted = symbol or self.instrument
            named.append(
                NamedFile(file, self.directory.require_symbol(wanted, "instrument") if wanted else None)
            )
        return read_recording(named, self.directory, self.calendar, self.options)


def replay_run(wanted: RecordingWanted, seed: int) -> str:
    """The name of a replay's run; the same for the same file contents, instruments, options and seed.

    Raises:
        InvalidInput: a file can't be read.
    """
    digest = sha256(f"{wanted.instrument or ''}\x1f{seed}{wanted.options.text}".encode())
    for symbol, file in map(_named, wanted.files):
        one = sha256((symbol or "").encode())
        try:
            with file.open("rb") as content:
                while chunk := content.read(_CHUNK):
                    one.update(chunk)
        except OSError as error:
            raise unreadable(file, error) from None
        digest.update(one.digest())
    return f"replay:{digest.hexdigest()[:16]}"


def replay_frames(
    wanted: RecordingWanted,
    *,
    seed: int,
    shards: int,
    shard_of: Callable[[int], int],
    sanitiser: Sanitiser,
    extent: Extent,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[Frame]:
    """Makes the frames of a recording, the same ones that `up --feed replay:…` publishes.

    Args:
        wanted: the recording.
        seed: part of the run's name.
        shards: number of shards.
        shard_of: returns an instrument token's shard.
        sanitiser: made for the directory and PRICE_SCALE; counts the ticks that passed and those that were dropped.
        extent: counts the bytes of the files and those that were read.
        tell: called with each line about what was recognised, before the first frame.

    Raises:
        InvalidInput: raised as by `RecordingWanted.read` and `recording_of`.
    """
    recorded = recording_of(wanted.files, wanted.options)
    if recorded is not None:
        for frame in _within(recorded_frames(recorded, wanted.directory, extent), wanted.options):
            sanitiser.account.passed_frame(frame)
            yield frame
        return
    recording = wanted.read()
    for line in recording.lines(wanted.directory):
        tell(line)
        sanitiser.account.recognised.append(line)
    sanitiser.account.lengths_ns |= recording.lengths_ns
    for reason, rows in recording.counts().items():
        sanitiser.account.note(reason, rows)
    sanitiser.expect(recording.denied_firsts)
    run = replay_run(wanted, seed)
    builder = FrameBuilder(run, shards, shard_of, PRICE_SCALE, simulated=ReplayFeed.simulated)
    for market_time_ns, held in wanted.batches(recording, extent):
        if not held:
            yield from builder.heartbeats(market_time_ns)
        elif kept := sanitiser.clean(held):
            yield from builder.frames(market_time_ns, kept)


def recording_of(files: Sequence[Path], options: ReadingOptions = NO_OPTIONS) -> Path | None:
    """The recording of frames among these files; None if there is none.

    Raises:
        InvalidInput: there is one, and other files besides it, or options that say how to read data files.
    """
    found = [file for _, file in map(_named, files) if is_recording(file)]
    if found and len(files) > 1:
        raise InvalidInput("file", found[0], "a recording of frames alone: its order is part of it")
    if found and replace(options, first_day=None, last_day=None) != NO_OPTIONS:
        raise InvalidInput(
            "file",
            found[0],
            "a file of bars or ticks: options on how to read it mean nothing to recorded frames",
        )
    return found[0] if found else None


class ReplayFeed(Feed):
    """Replays recorded ticks or bars in lockstep, so that it ends with the same books at any pace on any machine.

    Args:
        wanted: the recording.
        seed: part of the run's name.
        pacer: keeps the pace; it skips nights and days without trading.
    """

    name: ClassVar[str] = "replay"
    simulated: ClassVar[bool] = True
    heartbeats: ClassVar[bool] = False
    frame_by_frame: ClassVar[bool] = True

    def __init__(self, wanted: RecordingWanted, seed: int, pacer: Pacer) -> None:
        self._wanted = wanted
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
        self._read()

    @override
    async def stop(self) -> None:
        """Does nothing: it has started nothing."""

    @override
    async def runs(self, last: LastFrames | None) -> AsyncIterator[FeedRun]:
        """Yields one run, from the start of the recording; the publisher skips frames that are on the log already.

        Raises:
            InvalidInput: the recording can't be read, or begins before the market's clock.
        """
        recording = await asyncio.to_thread(self._read)
        run = await asyncio.to_thread(replay_run, self._wanted, self._seed)
        clock_ns = 0 if last is None else last.market_time_ns
        if last is not None and last.feed_run != run and recording.begins_ns < clock_ns:
            raise MarketClockWouldGoBack(self._names, recording.begins_ns, clock_ns)
        for line in recording.lines(self._wanted.directory):
            _log.info("recording.recognised", told=line)
        self._pacer.begin_at(max(recording.begins_ns, clock_ns))
        batches = self._paced(self._wanted.batches(recording, Extent()))
        yield FeedRun(run, batches, noted=recording.counts(), denied_firsts=recording.denied_firsts)

    def _read(self) -> Recording:
        recording = self._wanted.read()
        if not recording.rows:
            raise InvalidInput("feed", self._names, "a recording with at least one row")
        return recording

    async def _paced(self, batches: Iterator[TickBatch]) -> AsyncIterator[TickBatch]:
        for batch in batches:
            await self._pacer.reach(batch.market_time_ns)
            yield batch

    @property
    def _names(self) -> str:
        return ", ".join(map(str, self._wanted.files))


class RecordedFeed(Feed):
    """Replays recorded frames as they were published, in lockstep.

    Args:
        file: the recording.
        directory: the known instruments.
        pacer: keeps the pace.
        options: what the user says about the files; only its days are looked at.
    """

    name: ClassVar[str] = ReplayFeed.name
    simulated: ClassVar[bool] = True
    heartbeats: ClassVar[bool] = True
    frame_by_frame: ClassVar[bool] = True

    def __init__(
        self, file: Path, directory: InstrumentDirectory, pacer: Pacer, options: ReadingOptions = NO_OPTIONS
    ) -> None:
        self._options = options
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
    async def stop(self) -> None:
        """Does nothing: it has started nothing."""

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
        frames = _within(recorded_frames(self._file, self._directory, Extent()), self._options)
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
    recording = recording_of(files, context.reading)
    if recording is not None:
        return RecordedFeed(recording, context.directory, pacer, context.reading)
    wanted = RecordingWanted(
        files,
        context.instrument,
        context.directory,
        context.calendar,
        context.reading,
        context.shows_opens,
    )
    return ReplayFeed(wanted, context.seed, pacer)


def named_symbols(files: Sequence[Path]) -> tuple[str, ...]:
    """The symbols that `NSE:INFY=FILE` names, each once."""
    return tuple(dict.fromkeys(symbol for symbol, _ in map(_named, files) if symbol is not None))


def _named(file: Path) -> tuple[str | None, Path]:
    """Splits `SYMBOL=FILE` or `FILE` into symbol (None if there is none) and path."""
    found = _SYMBOL_AND_FILE.fullmatch(str(file))
    return (found[1], Path(found[2]).expanduser()) if found else (None, file.expanduser())


def _within(frames: Iterator[Frame], options: ReadingOptions) -> Iterator[Frame]:
    """The frames of the days that are wanted."""
    first, last = options.first_day, options.last_day
    if first is None and last is None:
        yield from frames
        return
    for frame in frames:
        day = frame.market_time.astimezone(IST).date()
        if (first is None or first <= day) and (last is None or day <= last):
            yield frame
