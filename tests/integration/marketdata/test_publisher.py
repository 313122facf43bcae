from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis
from sqlalchemy.exc import DBAPIError

from alphapanda.app.feeding import Feeding
from alphapanda.contract.topics import TopicMap
from alphapanda.contract.wire import frame_from
from alphapanda.domain import ids
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.eventlog.decode import from_record
from alphapanda.eventlog.port import EventLog, LogUnavailable, Start, StoredRecord
from alphapanda.eventlog.sqlite.log import SqliteEventLog
from alphapanda.instruments.core import shipped_instruments, shipped_reference_prices
from alphapanda.marketdata.feeds.feed import Feed, FeedContext, MarketClockWouldGoBack
from alphapanda.marketdata.feeds.registry import open_feed
from alphapanda.marketdata.publisher import MarketDataPublisher
from alphapanda.resilience.backoff import Backoff
from alphapanda.storage.price_cache import PriceCache
from alphapanda.telemetry import spans
from alphapanda.telemetry.tracing import Kind, Span, Tracer, header_context

TOPICS = TopicMap(["paper"])
TICKS = TOPICS.topic("tick_frame")
DIRECTORY = shipped_instruments(date(2026, 11, 23))


@pytest.fixture
async def log(tmp_path) -> AsyncIterator[EventLog]:
    opened = SqliteEventLog(tmp_path / "events.sqlite")
    await opened.start()
    await opened.ensure(TOPICS.specs())
    yield opened
    await opened.stop()


@pytest.fixture
async def cache(redis_url) -> AsyncIterator[PriceCache]:
    redis = Redis.from_url(redis_url)
    yield PriceCache(redis, 10.0, lambda: datetime.now(UTC))
    await redis.aclose()


def recording(folder: Path, name: str, first_minute: int, closes: Sequence[str]) -> Path:
    rows = [
        f"2026-11-23T09:{first_minute + n:02}:00+05:30,{token},{close},{n + 1}"
        for n, close in enumerate(closes)
        for token in (408065, 779521)
    ]
    file = folder / name
    file.write_text("\n".join(["ts,instrument_token,last_price,volume", *rows]) + "\n")
    return file


class Killed(BaseException):
    """The process dies."""


class Driver:
    """Publishes recordings one after the other, as processes that follow each other would."""

    def __init__(self, log: EventLog, cache: PriceCache) -> None:
        self.log = log
        self.cache = cache
        self.seen: list[str] = []
        self.die_at: int | None = None
        self.away: list[Exception] = []

    def feed(self, file: Path) -> Feed:
        context = FeedContext(
            7,
            250,
            DIRECTORY,
            load_nse_calendar(),
            date(2026, 11, 23),
            reference_prices=shipped_reference_prices(),
        )
        return open_feed(f"replay:{file}", context)

    def publisher(self, feed: Feed, **more: Any) -> MarketDataPublisher:
        return MarketDataPublisher(
            feed=feed,
            directory=DIRECTORY,
            log=self.log,
            topic_map=TOPICS,
            cache=self.cache,
            wall_clock=lambda: datetime.now(UTC),
            before_frame=self._before,
            barrier=self._barrier,
            backoff=Backoff(0.01, 0.05),
            **more,
        )

    async def publish(self, file: Path) -> MarketDataPublisher:
        publisher = self.publisher(self.feed(file))
        await publisher.start()
        await publisher.run()
        return publisher

    async def _before(self, market_time: datetime) -> bool:
        known = (await self.cache.view([408065])).market_time
        assert known == market_time, "the clock is written before the timers look at it"
        if self.away:
            raise self.away.pop()
        self.seen.append("timers")
        return False

    async def _barrier(self) -> None:
        self.seen.append("barrier")
        if self.die_at is not None and len(self.seen) >= self.die_at:
            raise Killed
        if self.away:
            raise self.away.pop()

    async def frames(self) -> list[Frame]:
        return [frame_from(from_record(record, TOPICS).tick_frame) for record in await self.records()]

    async def records(self) -> list[StoredRecord]:
        reader = self.log.topic_reader([TICKS], Start.EARLIEST)
        await reader.start()
        records = []
        while got := await reader.fetch(1000, 0.05):
            records += got
        await reader.stop()
        return records


@pytest.fixture
def driver(log, cache) -> Driver:
    return Driver(log, cache)


async def test_prices_and_clock_come_before_the_frame_and_each_frame_is_waited_for(driver, tmp_path):
    """In lockstep: timers at each new market time, a barrier after each frame."""
    await driver.publish(recording(tmp_path, "a.csv", 15, ["1500", "1500.05", "1499.95"]))
    frames = await driver.frames()
    assert sum(len(frame.instrument_token) for frame in frames) == 6
    assert driver.seen.count("timers") == 3
    assert driver.seen.count("barrier") == 1 + len(frames)
    assert [frame.market_time_ns for frame in frames] == sorted(frame.market_time_ns for frame in frames)
    assert all(frame.simulated for frame in frames)


@pytest.mark.parametrize("ratio", [0.0, 1.0])
async def test_a_share_of_the_frames_is_traced(driver, tmp_path, ratio) -> None:
    """A sampled frame's record carries the context of its recorded span, whose trace is the frame's id; another's carries none."""
    recorded: list[Span] = []
    tracer = Tracer("marketdata", recorded.append, "sqlite", market_data_ratio=ratio)
    publisher = driver.publisher(driver.feed(recording(tmp_path, "a.csv", 15, ["1500"])), tracer=tracer)
    await publisher.start()
    await publisher.run()
    contexts = [header_context(record.headers) for record in await driver.records()]
    assert [context for context in contexts if context] == [span.context for span in recorded]
    assert bool(recorded) == bool(ratio)
    for span in recorded:
        assert (span.name, span.kind, span.parent) == ("publish market.ticks", Kind.PRODUCER, None)
        assert span.context.trace_id == ids.trace_id(str(span.attributes[spans.FRAME_ID]))


@pytest.mark.parametrize("simulated", [True, False])
async def test_what_a_frame_takes_to_be_published_is_told(driver, tmp_path, *, simulated) -> None:
    """Once a frame; of a feed that owns its time it is the time of price cache and log, of a live one since its market time."""
    told: list[float] = []
    feed = driver.feed(recording(tmp_path, "open.csv", 15, ["1500.00", "1501.00"]))
    feed.simulated = simulated
    publisher = driver.publisher(feed, on_latency=told.append)
    await publisher.start()
    await publisher.run()
    assert len(told) == len(await driver.frames())
    assert all((0 < seconds < 60) is simulated for seconds in told)


async def test_a_recording_goes_on_after_its_last_logged_frame(driver, tmp_path):
    """A process that dies in the middle leaves out nothing and repeats nothing when it is started again."""
    file = recording(tmp_path, "a.csv", 15, ["1500", "1501", "1502", "1503"])
    driver.die_at = 5
    with pytest.raises(Killed):
        await driver.publish(file)
    before = await driver.frames()
    driver.die_at = None
    await driver.publish(file)
    after = await driver.frames()
    assert 0 < len(before) < len(after)
    assert len({frame.frame_id for frame in after}) == len(after)
    assert sum(len(frame.instrument_token) for frame in after) == 8


async def test_a_database_that_blinks_ends_no_feed(driver, tmp_path):
    """In lockstep timers and barriers ask the database: the feed waits for it, as it waits for Redis and the log."""
    frozen = asyncpg.exceptions.IdleInTransactionSessionTimeoutError("it was frozen")
    killed = DBAPIError("SELECT", {}, ConnectionResetError(), connection_invalidated=True)
    driver.away = [killed, frozen] * 3
    await driver.publish(recording(tmp_path, "a.csv", 15, ["1500", "1500.05", "1499.95"]))
    assert not driver.away
    assert driver.seen.count("timers") == 3
    assert sum(len(frame.instrument_token) for frame in await driver.frames()) == 6


async def test_a_recording_before_the_market_clock_is_refused(driver, tmp_path):
    """The market's clock never goes back; the error names what to do."""
    await driver.publish(recording(tmp_path, "later.csv", 40, ["1500"]))
    with pytest.raises(MarketClockWouldGoBack) as refused:
        await driver.publish(recording(tmp_path, "earlier.csv", 15, ["1500"]))
    assert "--data-dir" in str(refused.value)
    assert "--fresh" in str(refused.value)


async def test_what_is_not_believed_is_dropped_and_counted(driver, tmp_path):
    """Wild, not positive, unknown: none of it reaches the log or the cache; what is off the grid is rounded to it."""
    file = tmp_path / "bad.csv"
    at = "2026-11-23T09:15:0{}+05:30"
    file.write_text(
        "ts,instrument_token,last_price\n"
        f"{at.format(0)},408065,1500.01\n{at.format(1)},408065,15000\n{at.format(2)},408065,0\n{at.format(3)},5,10\n"
    )
    publisher = await driver.publish(file)
    assert publisher.ticks == 1
    assert publisher.dropped() == {"wild": 1, "not_positive": 1, "unknown_instrument": 1}
    assert publisher.account.noted == {"rounded": 1}
    (frame,) = await driver.frames()
    assert frame.last_price == [150_000]
    assert frame.market_time_ns == nanoseconds(datetime(2026, 11, 23, 3, 45, tzinfo=UTC))


async def test_a_recordings_first_price_that_the_next_ones_deny_is_not_believed(driver, tmp_path):
    """Of both instruments, as in a replay of it."""
    publisher = await driver.publish(recording(tmp_path, "wild.csv", 15, ["15000", "1500", "1501"]))
    assert publisher.dropped() == {"wild": 2}
    believed = [price for frame in await driver.frames() for price in frame.last_price]
    assert publisher.ticks == len(believed) == 4
    assert max(believed) < 1_500_000


async def test_a_feed_that_an_error_ended_is_not_serving_and_says_why(driver, tmp_path, monkeypatch):
    """A row that can't be read ends the feed; whoever serves it says so at once, not once its frames are missed."""
    feed = driver.feed(recording(tmp_path, "a.csv", 15, ["1500", "1500.05"]))

    async def ends(batches):
        yield next(batches)
        raise InvalidInput("row 2, column last_price", "no price", "rupees")

    monkeypatch.setattr(feed, "_paced", ends)
    feeding = Feeding(feed, driver.publisher(feed), no_wait)
    await feeding.publisher.start()
    assert feeding.serving
    await feeding.start()
    await asyncio.wait([feeding.task], timeout=10)
    assert not feeding.serving
    assert "no price" in feeding.last_error
    await feeding.stop()


async def no_wait() -> None:
    """Nothing is waited for before the first frame."""


async def test_the_market_waits_for_a_log_that_is_away(driver, tmp_path, monkeypatch):
    """It says why while it waits, and what failed is written once when the log is there again."""
    publish, told, publisher = driver.log.publish, [], None

    async def away_at_first(records):
        if len(told) < 3:
            told.append(publisher.last_error)
            raise LogUnavailable("away")
        return await publish(records)

    monkeypatch.setattr(driver.log, "publish", away_at_first)
    publisher = driver.publisher(driver.feed(recording(tmp_path, "a.csv", 15, ["1500.00"])))
    await publisher.start()
    await publisher.run()
    assert told[0] == ""
    assert all("away" in why for why in told[1:])
    assert publisher.last_error == ""
    assert sum(len(frame.instrument_token) for frame in await driver.frames()) == 2
