"""A recording comes back as the very frames that were published, or says what is wrong with it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from redis.asyncio import Redis

from alphapanda.contract.topics import TopicMap, shard_of
from alphapanda.contract.wire import frame_event
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.pace import MAX
from alphapanda.eventlog.port import Start
from alphapanda.eventlog.sqlite.log import SqliteEventLog
from alphapanda.instruments.core import shipped_instruments, shipped_reference_prices
from alphapanda.marketdata.core.sanitiser import Sanitiser
from alphapanda.marketdata.feeds import recording
from alphapanda.marketdata.feeds.extent import Extent
from alphapanda.marketdata.feeds.feed import FeedContext, MarketClockWouldGoBack
from alphapanda.marketdata.feeds.recording import FrameRecorder, check_recording, recorded_frames
from alphapanda.marketdata.feeds.registry import open_feed
from alphapanda.marketdata.feeds.replay import RecordingWanted, replay_frames
from alphapanda.marketdata.publisher import MarketDataPublisher
from alphapanda.resilience.backoff import Backoff
from alphapanda.storage.price_cache import PriceCache

TOPICS = TopicMap(["paper"])
DAY = date(2026, 11, 23)
DIRECTORY = shipped_instruments(DAY)
PRICES = shipped_reference_prices()
INFY, SBIN = 408065, 779521
OPEN_NS = nanoseconds(datetime(2026, 11, 23, 3, 45, tzinfo=UTC))
WALL = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)
SECOND_NS = 10**9


class Killed(BaseException):
    """The process dies."""


def encoded(frames: Sequence[Frame]) -> list[bytes]:
    """The bytes of each as they stand on the log."""
    return [frame_event(frame, "marketdata", WALL).SerializeToString(deterministic=True) for frame in frames]


def frame(sequence: int, tokens: Sequence[int] = (), *, run: str = "run", shard: int = 0, **more) -> Frame:
    at = OPEN_NS + sequence * SECOND_NS + 7
    prices = [150_005 + sequence * 5] * len(tokens)
    return Frame(run, shard, sequence, at, 100, tuple(tokens), prices, [at - 3] * len(tokens), **more)


async def record(file: Path, frames: Sequence[Frame]) -> Path:
    recorder = FrameRecorder(file)
    await recorder.start()
    recorder.add(frames)
    await recorder.stop()
    return file


class Market:
    """A log of its own and an empty price cache, and publishers on them, one after the other."""

    def __init__(self, log: SqliteEventLog, redis: Redis) -> None:
        self.log = log
        self.redis = redis
        self.published = 0
        self.die_after: int | None = None

    async def feed(self, wanted: str, recorder: FrameRecorder | None = None) -> MarketDataPublisher:
        if not await self.records():
            await self.redis.flushdb()
        context = FeedContext(
            7, 1_000, DIRECTORY, load_nse_calendar(), DAY, speed=MAX, reference_prices=PRICES
        )
        publisher = MarketDataPublisher(
            feed=open_feed(wanted, context),
            directory=DIRECTORY,
            log=self.log,
            topic_map=TOPICS,
            cache=PriceCache(self.redis, 10.0, lambda: WALL),
            wall_clock=lambda: WALL,
            before_frame=self._before,
            barrier=self._barrier,
            backoff=Backoff(0.01, 0.05),
            on_published=recorder.add if recorder else lambda _: None,
        )
        await publisher.start()
        with suppress(Killed):
            await publisher.run()
        return publisher

    async def _before(self, _: datetime) -> bool:
        return False

    async def _barrier(self) -> None:
        self.published += 1
        if self.die_after is not None and self.published > self.die_after:
            raise Killed

    async def records(self) -> list[tuple[int, bytes]]:
        """Partition and bytes of every frame on the log."""
        reader = self.log.topic_reader([TOPICS.topic("tick_frame")], Start.EARLIEST)
        await reader.start()
        found = []
        while got := await reader.fetch(1000, 0.05):
            found += [(record.partition, record.value) for record in got]
        await reader.stop()
        return sorted(found)


@pytest.fixture
async def markets(tmp_path, redis_url) -> AsyncIterator[list[Market]]:
    """Two that know nothing of each other."""
    redis = Redis.from_url(redis_url)
    logs = [SqliteEventLog(tmp_path / f"{number}.sqlite") for number in range(2)]
    for log in logs:
        await log.start()
        await log.ensure(TOPICS.specs())
    yield [Market(log, redis) for log in logs]
    for log in logs:
        await log.stop()
    await redis.aclose()


async def test_what_the_log_has_is_recorded_whoever_ends_the_feed(markets, tmp_path, monkeypatch):
    """A feed that is ended while the log takes a frame waits for the log; the recording has that frame, too."""
    live, _ = markets
    publish, reached, go_on = live.log.publish, asyncio.Event(), asyncio.Event()

    async def slowly(records):
        offsets = await publish(records)
        reached.set()
        await go_on.wait()
        return offsets

    monkeypatch.setattr(live.log, "publish", slowly)
    recorder = FrameRecorder(tmp_path / "day.parquet")
    await recorder.start()
    feeding = asyncio.create_task(live.feed("sim", recorder))
    await reached.wait()
    feeding.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await feeding
    await recorder.stop()
    assert recorder.frames == len(await live.records()) == len(TOPICS.partitions(TOPICS.topic("tick_frame")))


async def test_rows_under_way_to_the_disk_are_in_the_recording(tmp_path, monkeypatch):
    """A recording that is ended while rows are being written has them, and those after them, once."""
    write, reached, go_on = FrameRecorder._write, threading.Event(), threading.Event()

    def slowly(self, rows):
        reached.set()
        assert go_on.wait(10)
        write(self, rows)

    monkeypatch.setattr(FrameRecorder, "_write", slowly)
    monkeypatch.setattr(recording, "_FLUSH_SECONDS", 0.01)
    recorder = FrameRecorder(tmp_path / "day.parquet")
    await recorder.start()
    frames = [frame(1, (INFY,)), frame(2, (SBIN,))]
    recorder.add(frames[:1])
    assert await asyncio.to_thread(reached.wait, 10)
    recorder.add(frames[1:])
    stopping = asyncio.create_task(recorder.stop())
    await asyncio.sleep(0.01)
    go_on.set()
    await stopping
    extent = Extent()
    assert encoded(recorded_frames(tmp_path / "day.parquet", DIRECTORY, extent)) == encoded(frames)


async def test_a_feed_comes_back_byte_for_byte(markets, tmp_path):
    """Simulated frames of all shards with their heartbeats: the records of a replay on another log are the same."""
    live, other = markets
    live.die_after = 100  # batches, of four shards each
    recorder = FrameRecorder(tmp_path / "day.parquet")
    await recorder.start()
    await live.feed("sim", recorder)
    await recorder.stop()
    published = await live.records()
    assert len(published) == recorder.frames == 400
    replayed = await other.feed(f"replay:{tmp_path / 'day.parquet'}")
    assert await other.records() == published
    assert replayed.ticks > 100
    sanitiser = Sanitiser(DIRECTORY, 100)
    frames = replay_frames(
        RecordingWanted([tmp_path / "day.parquet"], None, DIRECTORY, load_nse_calendar()),
        seed=7,
        shards=len(TOPICS.partitions(TOPICS.topic("tick_frame"))),
        shard_of=shard_of,
        sanitiser=sanitiser,
        extent=(extent := Extent()),
    )
    assert sorted(encoded(list(frames))) == sorted(value for _, value in published)
    assert sanitiser.passed == replayed.ticks
    assert extent.read == extent.total == (tmp_path / "day.parquet").stat().st_size


async def test_every_shape_of_frame_comes_back_in_order(tmp_path):
    """With volumes and without, bars' closes, heartbeats, one tick and many, several runs and shards."""
    frames = [
        frame(1, [INFY], volume=(7,)),
        frame(1, shard=3),
        frame(2, [INFY, SBIN]),
        frame(3, [SBIN], bar_start=(OPEN_NS,), volume=(2**40,)),
        frame(2, [INFY, SBIN], shard=3, volume=(1, 0)),
        frame(4),
        frame(5, [INFY, SBIN], bar_start=(OPEN_NS,) * 2, open=(5, 6), high=(2**40, 9), low=(1, 2)),
        frame(1, [INFY], run="later"),
    ]
    file = await record(tmp_path / "day.parquet", frames)
    assert encoded(list(recorded_frames(file, DIRECTORY, Extent()))) == encoded(frames)


async def test_a_recording_of_an_earlier_version_has_bars_without_their_opens(tmp_path):
    """It has no columns for them; so has one that it left unfinished, which is completed as it is."""
    closes = frame(1, [SBIN], bar_start=(OPEN_NS,), volume=(7,))
    bar = frame(1, [SBIN], bar_start=(OPEN_NS,), volume=(7,), open=(5,), high=(6,), low=(4,))
    file = await record(tmp_path / "day.parquet", [bar])
    table = parquet.read_table(file).drop_columns(["open", "high", "low"])
    with pa.ipc.new_stream(tmp_path / "cut.parquet.part", table.schema) as stream:
        stream.write_table(table)
    assert recording._to_parquet(tmp_path / "cut.parquet.part", tmp_path / "cut.parquet") == 1
    parquet.write_table(table, file)
    for one in (file, tmp_path / "cut.parquet"):
        assert encoded(recorded_frames(one, DIRECTORY, Extent())) == encoded([closes])


async def test_a_recording_is_a_table_that_others_can_read(tmp_path):
    """A row a tick: prices are rupees, times are instants, a heartbeat is a row without an instrument."""
    file = await record(tmp_path / "day.parquet", [frame(1, [INFY, SBIN]), frame(2)])
    table = parquet.read_table(file)
    assert (
        table.column("last_price").to_pylist()[:2]
        == [pa.scalar("1500.10").cast(pa.decimal128(18, 2)).as_py()] * 2
    )
    assert table.column("instrument_token").to_pylist() == [INFY, SBIN, None]
    assert table.column("market_time").to_pylist()[0].tzinfo is not None
    assert table.column("sequence").to_pylist() == [1, 1, 2]


async def test_frames_stay_whole_over_row_groups(tmp_path, monkeypatch):
    """However many rows a group has."""
    monkeypatch.setattr(recording, "_GROUP_ROWS", 3)
    recorder = FrameRecorder(tmp_path / "day.parquet")
    await recorder.start()
    frames = [frame(n, [INFY, SBIN]) for n in range(1, 12)]
    for one in frames:
        recorder.add([one])
        await recorder._flush()
    await recorder.stop()
    assert parquet.ParquetFile(tmp_path / "day.parquet").num_row_groups > 3
    assert encoded(list(recorded_frames(tmp_path / "day.parquet", DIRECTORY, Extent()))) == encoded(frames)


async def test_a_recording_goes_on_after_its_last_logged_frame(markets, tmp_path):
    """A process that dies in the middle of a replay leaves out nothing and repeats nothing."""
    market, other = markets
    frames = [
        *(frame(n, [INFY], run="sim:a") for n in range(1, 6)),
        *(frame(n, [INFY], run="sim:b") for n in range(6, 12)),
    ]
    file = await record(tmp_path / "day.parquet", frames)
    market.die_after = 8
    await market.feed(f"replay:{file}")
    assert 5 < len(await market.records()) < len(frames)
    market.die_after = None
    await market.feed(f"replay:{file}")
    assert sorted(value for _, value in await market.records()) == sorted(encoded(frames))
    later = await record(tmp_path / "later.parquet", [frame(50, [INFY], run="sim:c")])
    await other.feed(f"replay:{later}")
    with pytest.raises(MarketClockWouldGoBack, match="--fresh"):
        await other.feed(f"replay:{file}")


async def test_what_a_crash_leaves_is_saved_under_a_name_that_says_so(tmp_path):
    """The file itself is there only when it is whole; of one cut short the frames up to the cut come back."""
    file = tmp_path / "day.parquet"
    dead = FrameRecorder(file)
    await dead.start()
    frames = [frame(n, [INFY, SBIN]) for n in range(1, 30)]
    for one in frames:
        dead.add([one])
        await dead._flush()
    dead._task.cancel()
    part = tmp_path / "day.parquet.part"
    part.write_bytes(part.read_bytes()[:-700])
    assert not file.exists()
    with pytest.raises(InvalidInput, match=r"ends in \.parquet"):
        check_recording(part)
    await record(file, [frame(1, [INFY])])
    saved = list(recorded_frames(tmp_path / "day.cut-short.parquet", DIRECTORY, Extent()))
    assert 0 < len(saved) < len(frames)
    assert encoded(saved) == encoded(frames[: len(saved)])
    assert len(list(recorded_frames(file, DIRECTORY, Extent()))) == 1
    assert sorted(left.name for left in tmp_path.iterdir()) == ["day.cut-short.parquet", "day.parquet"]


async def test_a_disk_that_is_full_ends_the_recording_and_not_the_feed(tmp_path, monkeypatch):
    """It is told, no more is kept in memory, and no file passes for whole."""
    recorder = FrameRecorder(tmp_path / "day.parquet")
    await recorder.start()
    recorder.add([frame(1, [INFY])])
    monkeypatch.setattr(
        recorder, "_write", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    await recorder._flush()
    assert "No space left" in recorder.failure
    recorder.add([frame(2, [INFY])])
    assert not recorder._rows
    await recorder.stop()
    assert not (tmp_path / "day.parquet").exists()


async def test_a_recording_with_a_gap_says_which_frames_are_missing(tmp_path):
    """A replay doesn't pass over what isn't there."""
    file = await record(tmp_path / "day.parquet", [frame(1, [INFY]), frame(2, [INFY]), frame(4, [INFY])])
    frames = recorded_frames(file, DIRECTORY, Extent())
    assert len(list(islice(frames, 2))) == 2
    with pytest.raises(InvalidInput, match=r"shard 0, sequence: '4' is not allowed; 3: frames are missing"):
        next(frames)


async def test_a_recording_is_replayed_alone_and_of_known_instruments(tmp_path):
    """Beside other files it has no order; an instrument that nobody knows is named."""
    file = await record(tmp_path / "day.parquet", [frame(1, [5])])
    context = FeedContext(7, 250, DIRECTORY, load_nse_calendar(), DAY, reference_prices=PRICES)
    with pytest.raises(InvalidInput, match="a recording of frames alone"):
        open_feed(f"replay:{file},{file}", context)
    with pytest.raises(InvalidInput, match="instrument_token: '5' is not allowed"):
        open_feed(f"replay:{file}", context).check()
    empty = await record(tmp_path / "empty.parquet", [])
    with pytest.raises(InvalidInput, match="a recording with at least one frame"):
        open_feed(f"replay:{empty}", context).check()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("day.csv", "ends in .parquet"),
        ("no/day.parquet", "a folder that exists"),
        ("there.parquet", "isn't there yet"),
    ],
)
def test_a_recording_is_made_where_nothing_is(tmp_path, name, says):
    """Nothing is overwritten, and the folder has to be there."""
    (tmp_path / "there.parquet").touch()
    with pytest.raises(InvalidInput, match=rf"^--record: .*{says}"):
        check_recording(tmp_path / name)


async def test_frames_are_on_disk_within_a_second_or_so(tmp_path, monkeypatch):
    """A crash costs no more than that."""
    monkeypatch.setattr(recording, "_FLUSH_SECONDS", 0.01)
    recorder = FrameRecorder(tmp_path / "day.parquet")
    await recorder.start()
    part = tmp_path / "day.parquet.part"
    before = part.stat().st_size
    recorder.add([frame(1, [INFY])])
    async with asyncio.timeout(20):
        while part.stat().st_size == before:  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.01)
    await recorder.stop()
