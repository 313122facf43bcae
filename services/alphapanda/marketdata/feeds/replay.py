"""Recorded ticks and bars from files, at a pace or as fast as the system takes them."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import ClassVar
from zlib import error as ZlibError  # noqa: N812 - an exception, whatever zlib calls it

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import SECOND_NS, Frame
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.marketdata.core.csv_replay import merge_ticks, read_ticks
from alphapanda.marketdata.core.framing import FrameBuilder
from alphapanda.marketdata.core.sanitiser import Sanitiser
from alphapanda.marketdata.core.ticks import PRICE_SCALE, Tick, TickBatch, batches_by_time
from alphapanda.marketdata.feeds.feed import FeedContext, FeedRun, LastFrames, MarketClockWouldGoBack
from alphapanda.marketdata.feeds.pace import MAX, Pacer

_CHUNK = 1 << 20
_IST_NS = 19_800 * SECOND_NS
_DAY_NS = 86_400 * SECOND_NS
_ALLOWED = "a readable CSV file of ticks or bars, .gz or plain"


def replay_run(files: Sequence[Path], instrument: str | None, seed: int) -> str:
    """The name of a replay: the same for the same contents, instrument and seed.

    Raises:
        InvalidInput: a file can't be read.
    """
    digest = sha256(f"{instrument or ''}\x1f{seed}".encode())
    for file in files:
        one = sha256()
        try:
            with file.open("rb") as content:
                while chunk := content.read(_CHUNK):
                    one.update(chunk)
        except OSError as error:
            raise _unreadable(file, error) from None
        digest.update(one.digest())
    return f"replay:{digest.hexdigest()[:16]}"


def recorded_ticks(
    files: Sequence[Path], directory: InstrumentDirectory, instrument: str | None
) -> Iterator[Tick]:
    """The ticks of all files by time.

    Args:
        files: at least one.
        directory: where a typed instrument is looked up.
        instrument: "NSE:INFY", of files with bars.

    Raises:
        InvalidInput: a file or a row can't be read, or bars have no instrument. A row's, when it is its turn.
        UnknownName: no such instrument.
    """
    token = directory.require_symbol(instrument, "instrument").instrument_token if instrument else None
    return merge_ticks([read_ticks(str(file), _lines(file), token) for file in files])


def replay_frames(
    files: Sequence[Path],
    *,
    directory: InstrumentDirectory,
    instrument: str | None,
    seed: int,
    shards: int,
    shard_of: Callable[[int], int],
    sanitiser: Sanitiser,
) -> Iterator[Frame]:
    """The frames of a recording, the very ones that `up --feed replay:…` publishes, one tick an instrument.

    Args:
        files: the recording.
        directory: the known instruments.
        instrument: "NSE:INFY", of files with bars.
        seed: of what is made up.
        shards: how many there are.
        shard_of: an instrument token's shard.
        sanitiser: made for `directory` and PRICE_SCALE; counts what passed and what was dropped.

    Raises:
        InvalidInput: as `recorded_ticks`.
    """
    ticks = recorded_ticks(files, directory, instrument)
    run = replay_run(files, instrument, seed)
    builder = FrameBuilder(run, shards, shard_of, PRICE_SCALE, simulated=ReplayFeed.simulated)
    for market_time_ns, held in batches_by_time(ticks):
        if kept := sanitiser.clean(held):
            yield from builder.frames(market_time_ns, kept)


class ReplayFeed:
    """A recording. It moves in lockstep, so it ends with the same books at any pace and however fast the machine is.

    Args:
        files: the recording.
        directory: the known instruments.
        instrument: "NSE:INFY", of files with bars.
        seed: of what is made up.
        pacer: the pace; nights and days without trading are passed over.
    """

    name: ClassVar[str] = "replay"
    simulated: ClassVar[bool] = True
    heartbeats: ClassVar[bool] = False

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

    @classmethod
    def open(cls, argument: str, context: FeedContext) -> ReplayFeed:
        """`replay:FILE`, or several with a comma between them.

        Raises:
            InvalidInput: no file is named.
        """
        files = [Path(name).expanduser() for name in argument.split(",") if name]
        if not files:
            raise InvalidInput("feed", "replay:", "replay:FILE with a CSV file of ticks or bars")
        pacer = Pacer(MAX if context.speed is None else context.speed)
        return cls(files, context.directory, context.instrument, context.seed, pacer)

    @property
    def lockstep(self) -> bool:
        """Always."""
        return True

    def check(self) -> None:
        """Reads the recording's begin.

        Raises:
            InvalidInput: it can't be read, or is empty.
        """
        self._batches()

    async def runs(self, last: LastFrames | None) -> AsyncIterator[FeedRun]:
        """One run, from the recording's begin; whoever publishes leaves out what the log has already.

        Raises:
            InvalidInput: the recording can't be read, or begins before the market's clock.
        """
        begins_ns, batches = self._batches()
        run = replay_run(self._files, self._instrument, self._seed)
        clock_ns = 0 if last is None else last.market_time_ns
        if last is not None and last.feed_run != run and begins_ns < clock_ns:
            raise MarketClockWouldGoBack(self._names, begins_ns, clock_ns)
        yield FeedRun(run, self._paced(batches, max(begins_ns, clock_ns)))

    def _batches(self) -> tuple[int, Iterator[TickBatch]]:
        """Market time of the first batch, and all of them."""
        batches = batches_by_time(recorded_ticks(self._files, self._directory, self._instrument))
        first = next(batches, None)
        if first is None:
            raise InvalidInput("feed", self._names, "a recording with at least one row")
        return first.market_time_ns, chain([first], batches)

    async def _paced(self, batches: Iterator[TickBatch], since_ns: int) -> AsyncIterator[TickBatch]:
        """Nothing is waited for up to `since_ns`: that was fed before."""
        await self._pacer.step(0)
        for batch in batches:
            if batch.market_time_ns > since_ns:
                gap_ns = batch.market_time_ns - since_ns
                same_day = _ist_day(batch.market_time_ns) == _ist_day(since_ns)
                since_ns = batch.market_time_ns
                await self._pacer.step(gap_ns / SECOND_NS if same_day else 0)
            yield batch

    @property
    def _names(self) -> str:
        return ", ".join(map(str, self._files))


def _ist_day(market_time_ns: int) -> int:
    return (market_time_ns + _IST_NS) // _DAY_NS


def _lines(file: Path) -> Iterator[str]:
    """The file's lines.

    Raises:
        InvalidInput: it can't be read; when the first line, or the one that can't be, is asked for.
    """
    opener = gzip.open if file.suffix == ".gz" else open
    try:
        with opener(file, "rt", encoding="utf-8", newline="") as lines:
            yield from lines
    except (OSError, EOFError, ZlibError, UnicodeDecodeError) as error:
        raise _unreadable(file, error) from None


def _unreadable(file: Path, error: Exception) -> InvalidInput:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return InvalidInput("file", file, f"{_ALLOWED} ({why})")
