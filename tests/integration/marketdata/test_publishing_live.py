"""Messages of a live feed on their way to the price cache and the log, on a real Redis."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from redis.asyncio import Redis

from alphapanda.contract.topics import TopicMap
from alphapanda.contract.wire import frame_from
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import SECOND_NS, Frame
from alphapanda.eventlog.decode import from_record
from alphapanda.eventlog.port import EventLog, Start
from alphapanda.eventlog.sqlite.log import SqliteEventLog
from alphapanda.instruments.core import shipped_instruments, shipped_reference_prices
from alphapanda.marketdata.feeds.feed import FeedContext
from alphapanda.marketdata.feeds.inbox import Received
from alphapanda.marketdata.feeds.raw_recording import RawRecorder, RawRun
from alphapanda.marketdata.feeds.registry import open_feed
from alphapanda.marketdata.publisher import MarketDataPublisher
from alphapanda.resilience.backoff import Backoff
from alphapanda.storage.price_cache import PriceCache

TOPICS = TopicMap(["paper"])
TICKS = TOPICS.topic("tick_frame")
DAY = date(2026, 12, 1)
DIRECTORY = shipped_instruments(DAY)
INFY, NIFTY = 408065, 256265
TEN = int(datetime(2026, 12, 1, 4, 30, tzinfo=UTC).timestamp())


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[EventLog]:
    opened = SqliteEventLog(tmp_path / "events.sqlite")
    await opened.start()
    await opened.ensure(TOPICS.specs())
    yield opened
    await opened.stop()


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator[PriceCache]:
    redis = Redis.from_url(redis_url)
    yield PriceCache(redis, 10.0, lambda: datetime.now(UTC))
    await redis.aclose()


async def recorded(folder: Path, seconds: int) -> Path:
    """Messages of so many seconds: INFY in full, an index, and a heartbeat."""
    recorder = RawRecorder(folder)
    await recorder.start(RawRun("kite", "kite:20261201T043000Z", owns_time=False, market_time_ns=0))
    for second in range(seconds):
        at = TEN + second
        price = 150_000 + 10 * second
        stock = [INFY, price, 1, price, 10 + second, 0, 0, price, price, price, 150_000, at, 0, 0, 0, at]
        index = [NIFTY, *[2_500_000] * 5, 0, at]
        body = struct.pack(">HH16I", 2, 184, *stock) + bytes(120) + struct.pack(">H8I", 32, *index)
        wall = at * SECOND_NS
        recorder.add(
            [Received(0, wall, body), Received(0, wall + 1, b"\x00"), Received(1, wall + 2, b"\x00\x09\x00")]
        )
    await recorder.stop()
    return folder / "kite-20261201T043000Z.raw.gz"


class Killed(BaseException):
    """The process dies."""


async def publish(
    log: EventLog, cache: PriceCache, file: Path, die_after: int | None = None
) -> MarketDataPublisher:
    """Publishes a recording; dies after so many barriers."""
    waited = 0

    async def barrier() -> None:
        nonlocal waited
        waited += 1
        if waited == die_after:
            raise Killed

    async def before(market_time: datetime) -> bool:
        assert (await cache.view([INFY])).market_time == market_time
        return False

    context = FeedContext(7, 250, DIRECTORY, load_nse_calendar(), DAY, shipped_reference_prices())
    publisher = MarketDataPublisher(
        feed=open_feed(f"raw:{file}", context),
        directory=DIRECTORY,
        log=log,
        topic_map=TOPICS,
        cache=cache,
        wall_clock=lambda: datetime.now(UTC),
        before_frame=before,
        barrier=barrier,
        backoff=Backoff(0.01, 0.05),
    )
    await publisher.start()
    await publisher.run()
    return publisher


async def frames(log: EventLog) -> list[Frame]:
    """All frames on the log, in the order of their numbers in each shard."""
    reader = log.topic_reader([TICKS], Start.EARLIEST)
    await reader.start()
    records = []
    while got := await reader.fetch(1000, 0.05):
        records += got
    await reader.stop()
    found = [frame_from(from_record(record, TOPICS).tick_frame) for record in records]
    return sorted(found, key=lambda frame: (frame.shard, frame.sequence))


async def test_messages_become_prices_and_frames(log: EventLog, cache: PriceCache, tmp_path: Path) -> None:
    """Prices and the clock come first; every shard has a frame a second; the account says what was dropped."""
    publisher = await publish(log, cache, await recorded(tmp_path, 5))
    made = await frames(log)
    ticked = [frame for frame in made if INFY in frame.instrument_token]
    assert [frame.last_price[0] for frame in ticked] == [150_000 + 10 * second for second in range(5)]
    assert [frame.volume[0] for frame in ticked] == [10, 11, 12, 13, 14]
    assert {frame.shard for frame in made} == set(range(len(TOPICS.partitions(TICKS))))
    reading = await cache.read([INFY, NIFTY])
    assert reading.prices[INFY].last.price == Decimal("1500.40")
    assert (reading.prices[INFY].volume, reading.prices[NIFTY].volume) == (14, None)
    assert publisher.ticks == 10
    assert publisher.finished.is_set()
    assert publisher.live() is None  # messages of the past are no live feed
    assert publisher.speed is None


async def test_a_killed_replay_of_messages_leaves_nothing_out_and_repeats_nothing(
    log: EventLog, cache: PriceCache, tmp_path: Path
) -> None:
    """The next start makes the same frames, and publishes those that the log doesn't have."""
    file = await recorded(tmp_path, 6)
    with pytest.raises(Killed):
        await publish(log, cache, file, die_after=5)
    before = await frames(log)
    await publish(log, cache, file)
    after = await frames(log)
    assert 0 < len(before) < len(after)
    assert len({frame.frame_id for frame in after}) == len(after)
    assert sum(frame.instrument_token.count(INFY) for frame in map(_lists, after)) == 6


async def test_messages_from_before_the_markets_clock_are_refused(
    log: EventLog, cache: PriceCache, tmp_path: Path
) -> None:
    """A data directory's market time doesn't go back, whatever the feed."""
    await publish(log, cache, await recorded(tmp_path, 3))
    older = tmp_path / "older"
    recorder = RawRecorder(older)
    await recorder.start(RawRun("kite", "kite:20261130T043000Z", owns_time=False, market_time_ns=0))
    recorder.add([Received(0, (TEN - 86_400) * SECOND_NS, b"\x00")])
    await recorder.stop()
    with pytest.raises(InvalidInput, match="before this data directory's market clock"):
        await publish(log, cache, older / "kite-20261130T043000Z.raw.gz")
    await asyncio.sleep(0)


def _lists(frame: Frame) -> Frame:
    return frame._replace(instrument_token=list(frame.instrument_token))
