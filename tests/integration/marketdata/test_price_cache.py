from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from redis.asyncio import Redis

from alphapanda.domain.frame import Frame, instant, nanoseconds
from alphapanda.replay.prices import LastPrices
from alphapanda.storage.price_cache import PriceCache

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
INFY, SBIN = 408065, 779521


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def cache(redis_url, clock) -> AsyncIterator[PriceCache]:
    redis = Redis.from_url(redis_url)
    yield PriceCache(redis, 10.0, clock)
    await redis.aclose()


def frame(seconds: int, token: int, price: int, *, simulated: bool = True) -> Frame:
    at = nanoseconds(NOW + timedelta(seconds=seconds))
    return Frame("run", 0, seconds + 1, at, 100, (token,), (price,), (at,), (), (7,), simulated=simulated)


async def test_one_reading_has_prices_clock_and_the_frame_that_moved_it(cache):
    """Prices are exact rupees; an instrument without a price is absent."""
    written = frame(1, INFY, 152_105)
    await cache.write([written])
    view = await cache.view([INFY, SBIN])
    assert view.market_time == instant(written.market_time_ns)
    assert view.frame_id == written.frame_id
    assert view.feed_run == "run"
    assert set(view.prices) == {INFY}
    assert view.prices[INFY].price == Decimal("1521.05")
    assert (await cache.read([INFY])).prices[INFY].volume == 7


async def test_nothing_is_replaced_by_what_is_older(cache):
    """A late writer changes neither the price nor the clock."""
    await cache.write([frame(5, INFY, 200)])
    await cache.write([frame(2, INFY, 100)])
    view = await cache.view([INFY])
    assert view.prices[INFY].price == Decimal(2)
    assert view.market_time == NOW + timedelta(seconds=5)


async def test_prices_that_redis_lost_are_written_again(cache, redis_url):
    """After a restart of Redis the next frame, or whoever notices first, brings back all prices, not only its own."""
    await cache.write([frame(1, INFY, 100)])
    await cache.write([frame(2, SBIN, 200)])
    async with Redis.from_url(redis_url) as redis:
        await redis.flushdb()
        await cache.restore()
        view = await cache.view([INFY, SBIN])
        assert (set(view.prices), view.market_time) == ({INFY, SBIN}, NOW + timedelta(seconds=2))
        await redis.flushdb()
    await cache.write([frame(3, SBIN, 300)])
    view = await cache.view([INFY, SBIN])
    assert {token: last.price for token, last in view.prices.items()} == {INFY: Decimal(1), SBIN: Decimal(3)}


@pytest.mark.parametrize(("simulated", "known"), [(True, True), (False, False)])
async def test_a_silent_real_time_feed_makes_market_time_unknown(cache, clock, simulated, known):
    """A simulated feed owns its market time; a real one is believed only while it speaks."""
    await cache.write([frame(1, INFY, 100, simulated=simulated)])
    assert (await cache.view([])).market_time is not None
    clock.now += timedelta(seconds=11)
    assert ((await cache.view([])).market_time is not None) is known


async def test_a_wall_clock_set_back_makes_market_time_unknown(cache, clock):
    """An hour back, a feed gone silent would look fresh for an hour; it is believed again when it speaks again."""
    await cache.write([frame(1, INFY, 100, simulated=False)])
    clock.now -= timedelta(hours=1)
    assert (await cache.view([])).market_time is None
    await cache.write([frame(2, INFY, 100, simulated=False)])
    assert (await cache.view([])).market_time is not None


async def test_an_empty_cache_knows_nothing(cache):
    """No clock, no price."""
    view = await cache.view([INFY])
    assert (view.market_time, view.feed_run, view.frame_id, dict(view.prices)) == (None, "", "", {})


async def test_a_days_first_price_is_what_a_replay_knows_and_outlives_a_restart(redis_url, clock):
    """Two days, with a writer that is replaced in between: reading and replay have the same first prices."""
    redis = Redis.from_url(redis_url)
    before, later = (PriceCache(redis, 10.0, clock, firsts=True) for _ in range(2))
    replay = LastPrices(100, next_open=False, firsts=True)
    day = 86_400
    frames = [
        frame(1, INFY, 100),
        frame(2, INFY, 110),
        frame(3, INFY, 120),
        frame(day, INFY, 90),
        frame(day + 1, INFY, 80),
    ]
    firsts = []
    for number, one in enumerate(frames):
        await (before if number < 2 else later).write([one])
        replay.quote(one)
        known = await later.view([INFY])
        assert known.prices == replay.view([INFY], one.market_time, "run").prices
        firsts.append(known.prices[INFY].first)
    assert firsts == [1, 1, 1, Decimal("0.9"), Decimal("0.9")]
    await redis.aclose()
