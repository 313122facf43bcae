"""WatchQuotes over a real server, log and price cache: a snapshot, then the latest of whatever moved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from functools import partial
from itertools import count
from uuid import uuid4

import grpc
import pytest
import structlog
from redis.asyncio import Redis
from tests.values import replace

from alphapanda.consuming.follower import TopicFollower
from alphapanda.consuming.options import ConsumerOptions
from alphapanda.contract.topics import TopicMap, shard_of
from alphapanda.contract.wire import frame_event
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.eventlog.decode import to_record
from alphapanda.eventlog.kafka.log import KafkaEventLog
from alphapanda.eventlog.kafka.options import KafkaOptions
from alphapanda.eventlog.port import EventLog, Start
from alphapanda.eventlog.sqlite.log import SqliteEventLog
from alphapanda.instruments.core import shipped_instruments
from alphapanda.marketdata.api import MarketDataServicer
from alphapanda.marketdata.watching import QuoteWatches
from alphapanda.mesh.channel import open_channel
from alphapanda.mesh.server import MeshServer
from alphapanda.storage.price_cache import PriceCache
from panda.marketdata.v1 import marketdata_pb2 as api
from panda.marketdata.v1.marketdata_pb2_grpc import (
    MarketDataServiceStub,
    add_MarketDataServiceServicer_to_server,
)

TOPICS = TopicMap(["paper"])
TICKS = TOPICS.topic("tick_frame")
SHIPPED = shipped_instruments(date(2026, 11, 23))
MADE_UP = [
    replace(
        SHIPPED.require_symbol("NSE:INFY", "instrument"),
        instrument_id=f"NSE:S{number:03}",
        tradingsymbol=f"S{number:03}",
        instrument_token=1_000_000 + number,
    )
    for number in range(250)
]
DIRECTORY = InstrumentDirectory([*SHIPPED, *MADE_UP])
OPEN = datetime(2026, 11, 23, 3, 45, tzinfo=UTC)
INFY, SBIN, INDEX = 408065, 779521, 256265
SERVICE = "panda.marketdata.v1.MarketDataService"


def wall_clock() -> datetime:
    return datetime.now(UTC)


class Market:
    """A server with the service on it, and a feed that a test moves by hand."""

    def __init__(self, log: EventLog, cache: PriceCache) -> None:
        self.log = log
        self.cache = cache
        self.watches = QuoteWatches(
            cache,
            DIRECTORY,
            lambda on_event: TopicFollower(
                name="marketdata.quotes",
                service="marketdata",
                log=log,
                topic_map=TOPICS,
                payload="tick_frame",
                on_event=on_event,
                start=Start.LATEST,
                policy=ConsumerOptions(),
            ),
        )
        servicer = MarketDataServicer(cache, DIRECTORY, load_nse_calendar(), self, self.watches)
        add = partial(add_MarketDataServiceServicer_to_server, servicer)
        self.server = MeshServer("127.0.0.1", 0, [add], structlog.get_logger())
        self.second = count(1)
        self.sequence = count(1)
        self.feed_name, self.ticks = "hand", 0
        self.target = ""

    def dropped(self) -> dict[str, int]:
        return {}

    async def tick(self, prices: dict[int, int], *, at: int | None = None, volume: int | None = 7) -> None:
        """Paise by token, a frame for each shard; a second of market time later, or at a second of one's own."""
        second = next(self.second) if at is None else at
        time = nanoseconds(OPEN) + second * 1_000_000_000
        by_shard: dict[int, list[int]] = {}
        for token in prices:
            by_shard.setdefault(shard_of(token), []).append(token)
        for shard, tokens in by_shard.items():
            frame = Frame(
                "run",
                shard,
                next(self.sequence),
                time,
                100,
                tokens,
                [prices[token] for token in tokens],
                [time] * len(tokens),
                (),
                () if volume is None else [volume] * len(tokens),
            )
            await self.cache.write([frame])
            await self.log.publish([to_record(frame_event(frame, "marketdata", wall_clock()), TOPICS)])


@asynccontextmanager
async def opened(log: EventLog, redis_url: str) -> AsyncIterator[Market]:
    redis = Redis.from_url(redis_url)
    await log.start()
    await log.ensure([spec for spec in TOPICS.specs() if spec.name == TICKS])
    market = Market(log, PriceCache(redis, 10.0, wall_clock))
    await market.watches.start()
    market.target = f"127.0.0.1:{await market.server.start()}"
    yield market
    await market.watches.stop()
    await market.server.stop(1)
    await log.stop()
    await redis.aclose()


@pytest.fixture
async def market(tmp_path, redis_url) -> AsyncIterator[Market]:
    async with opened(SqliteEventLog(tmp_path / "events.sqlite"), redis_url) as market:
        yield market


@pytest.fixture
async def mesh_market(kafka, redis_url) -> AsyncIterator[Market]:
    settings = KafkaOptions(bootstrap_servers=kafka, group_prefix=f"test-{uuid4().hex}")
    async with opened(KafkaEventLog(settings, [TICKS]), redis_url) as market:
        yield market


@pytest.fixture
async def stub(market: Market) -> AsyncIterator[MarketDataServiceStub]:
    async with open_channel(market.target, [SERVICE]) as channel:
        yield MarketDataServiceStub(channel)


async def read(call) -> api.WatchQuotesResponse:
    return await asyncio.wait_for(call.read(), 20)


def told(messages: Sequence[api.WatchQuotesResponse]) -> dict[str, str]:
    return {quote.symbol: quote.last_price.value for message in messages for quote in message.quotes}


async def read_until(call, wanted: dict[str, str]) -> list[api.WatchQuotesResponse]:
    messages = []
    while not wanted.items() <= told(messages).items():
        messages.append(await read(call))
    return messages


async def until_unwatched(market: Market) -> None:
    async with asyncio.timeout(20):
        while market.watches.watchers:  # noqa: ASYNC110 - gRPC tells nobody that a call has ended
            await asyncio.sleep(0.01)


async def test_a_snapshot_comes_first_and_then_what_moves(market, stub):
    """The snapshot has the cached price and names who has none; a quote says all that GetQuotes says."""
    await market.tick({INFY: 152_105})
    call = stub.WatchQuotes(api.WatchQuotesRequest(symbols=["NSE:INFY", "NSE:SBIN"]))
    first = await read(call)
    assert first.snapshot
    assert list(first.without_price) == ["NSE:SBIN"]
    cached = await stub.GetQuotes(api.GetQuotesRequest(symbols=["NSE:INFY"]))
    assert list(first.quotes) == list(cached.quotes)
    assert first.market_time == cached.market_time
    await market.tick({SBIN: 80_000, INFY: 152_110}, volume=None)
    moved = await read_until(call, {"NSE:SBIN": "800", "NSE:INFY": "1521.1"})
    assert not any(message.snapshot for message in moved)
    asked = api.GetQuotesRequest(symbols=["NSE:INFY"])
    assert [quote for m in moved for quote in m.quotes if quote.symbol == "NSE:INFY"] == list(
        (await stub.GetQuotes(asked)).quotes
    )
    call.cancel()


async def test_instruments_are_asked_for_by_symbol_or_by_id_and_others_are_not_told(market, stub):
    """Symbols and ids add up; neither means all; an unknown one is NOT_FOUND and named."""
    both = api.WatchQuotesRequest(symbols=["NSE:INFY"], instrument_ids=["NSE:INFY", "NSE:SBIN"])
    call, everything = stub.WatchQuotes(both), stub.WatchQuotes(api.WatchQuotesRequest())
    assert sorted((await read(call)).without_price) == ["NSE:INFY", "NSE:SBIN"]
    assert not (await read(everything)).without_price
    await market.tick({INFY: 100, SBIN: 200, INDEX: 300})
    wanted = {"NSE:INFY": "1", "NSE:SBIN": "2"}
    assert told(await read_until(call, wanted)) == wanted
    assert set(told(await read_until(everything, {"NSE:NIFTY 50": "3"}))) >= {"NSE:NIFTY 50"}
    for unknown in ({"symbols": ["NSE:INFI"]}, {"instrument_ids": ["NSE:INFI"]}):
        with pytest.raises(grpc.aio.AioRpcError, match="INFI") as refused:
            await stub.WatchQuotes(api.WatchQuotesRequest(**unknown)).read()
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    call.cancel()
    everything.cancel()


async def test_a_slow_reader_gets_the_latest_and_nothing_is_kept_for_it(market, stub):
    """Of hundreds of prices between two messages it sees the last; prices never go back in time."""
    call = stub.WatchQuotes(api.WatchQuotesRequest(symbols=["NSE:INFY"], min_interval_ms=500))
    await read(call)
    for price in range(1, 301):
        await market.tick({INFY: price * 5})
    messages = await read_until(call, {"NSE:INFY": "15"})
    assert len(messages) < 100
    times = [message.quotes[0].traded_at.ToNanoseconds() for message in messages]
    assert times == sorted(times)
    await market.tick({INFY: 77_700}, at=1)  # late: older than what was told
    await market.tick({INFY: 88_800})
    assert told(await read_until(call, {"NSE:INFY": "888"})) == {"NSE:INFY": "888"}
    call.cancel()


async def test_many_instruments_come_in_batches_of_a_hundred_at_most(market, stub):
    """A snapshot of more than a hundred is several messages, each marked; changes are batched the same way."""
    tokens = [one.instrument_token for one in MADE_UP]
    await market.tick(dict.fromkeys(tokens, 500))
    calls = [
        stub.WatchQuotes(api.WatchQuotesRequest()),
        stub.WatchQuotes(api.WatchQuotesRequest(symbols=[one.symbol for one in MADE_UP])),
    ]
    for call in calls:
        messages = [await read(call) for _ in range(3)]
        assert all(message.snapshot for message in messages)
        assert [len(message.quotes) for message in messages] == [100, 100, 50]
        assert len(told(messages)) == 250
    await market.tick(dict.fromkeys(tokens, 600))
    for call in calls:
        messages = await read_until(call, {one.symbol: "6" for one in MADE_UP})
        assert max(len(message.quotes) for message in messages) <= 100
        assert not any(message.snapshot for message in messages)
        call.cancel()


async def test_frames_are_followed_only_while_somebody_watches(market, stub):
    """Who leaves is forgotten; who comes later begins with what was traded meanwhile."""
    call = stub.WatchQuotes(api.WatchQuotesRequest(symbols=["NSE:INFY"]))
    await read(call)
    await market.tick({INFY: 500})
    await read_until(call, {"NSE:INFY": "5"})
    call.cancel()
    await until_unwatched(market)
    await market.tick({INFY: 900})
    again = stub.WatchQuotes(api.WatchQuotesRequest(symbols=["NSE:INFY"]))
    first = await read(again)
    assert first.snapshot
    assert told([first]) == {"NSE:INFY": "9"}
    again.cancel()


async def test_quotes_are_read_from_kafka_as_well(mesh_market):
    """In the mesh: all partitions of the frames, without a group, from the first watch on and again after the last."""
    async with open_channel(mesh_market.target, [SERVICE]) as channel:
        for price in (100_000, 200_000):
            call = MarketDataServiceStub(channel).WatchQuotes(
                api.WatchQuotesRequest(symbols=["NSE:INFY", "NSE:SBIN", "NSE:TCS"])
            )
            assert (await read(call)).snapshot
            tokens = [DIRECTORY.require_symbol(f"NSE:{name}", "") for name in ("INFY", "SBIN", "TCS")]
            await mesh_market.tick({one.instrument_token: price for one in tokens})
            await read_until(call, {one.symbol: str(price // 100) for one in tokens})
            call.cancel()
            await until_unwatched(mesh_market)


async def test_a_rest_begins_with_a_message(market, stub):
    """Frames of other instruments, and other watches that begin, don't put off the first price."""
    call = stub.WatchQuotes(api.WatchQuotesRequest(symbols=["NSE:INFY"], min_interval_ms=60_000))
    everything = stub.WatchQuotes(api.WatchQuotesRequest(min_interval_ms=60_000))
    await read(call)
    await read(everything)
    other = stub.WatchQuotes(api.WatchQuotesRequest(symbols=["NSE:SBIN"]))
    await read(other)
    await market.tick({SBIN: 500})
    await read_until(other, {"NSE:SBIN": "5"})
    await read_until(everything, {"NSE:SBIN": "5"})
    await market.tick({INFY: 500})
    await read_until(call, {"NSE:INFY": "5"})
    for one in (call, everything, other):
        one.cancel()


async def test_the_last_message_before_a_stop_says_so(market, stub):
    """Every watch is told to begin again elsewhere, then ends; a rest between two rounds doesn't hold it up."""
    calls = [
        stub.WatchQuotes(api.WatchQuotesRequest(symbols=["NSE:INFY"], min_interval_ms=wait))
        for wait in (0, 60_000)
    ]
    for call in calls:
        await read(call)
    await market.tick({INFY: 500})
    for call in calls:
        await read_until(call, {"NSE:INFY": "5"})
    await market.watches.stop()
    for call in calls:
        assert (await read(call)).draining
        assert await call.read() is grpc.aio.EOF
    assert await stub.WatchQuotes(api.WatchQuotesRequest()).read() == api.WatchQuotesResponse(draining=True)
