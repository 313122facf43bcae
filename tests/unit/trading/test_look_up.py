"""Orders that a broker has to be asked about again, whatever happens to the asking."""

from __future__ import annotations

import asyncio

from redis.exceptions import ConnectionError as RedisConnectionError

from alphapanda.trading.inquiry import LookUps

INTERVAL = 0.001


async def test_a_bug_or_a_store_that_is_away_ends_no_look_ups() -> None:
    """The order is asked for again by itself: nobody else would end it before the next start."""
    attempts, asked = 0, asyncio.Event()
    failures = [KeyError("a report nobody expected"), RedisConnectionError("Redis is away")]

    async def drive(order_id: str) -> None:
        nonlocal attempts
        attempts += 1
        if failures:
            raise failures.pop()
        look_ups.forget(order_id)
        asked.set()

    look_ups = LookUps(drive, lambda: 0.0, INTERVAL)
    look_ups.follow("order")
    async with asyncio.timeout(20):
        await asked.wait()
    assert attempts == 3
    await look_ups.stop()


async def test_an_order_is_asked_for_until_it_is_forgotten() -> None:
    """What is away is asked again; once the order has ended nobody asks."""
    attempts = 0
    ended = asyncio.Event()

    async def drive(order_id: str) -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise ConnectionRefusedError
        look_ups.forget(order_id)
        ended.set()

    look_ups = LookUps(drive, lambda: 0.0, INTERVAL)
    look_ups.follow("order")
    async with asyncio.timeout(20):
        await ended.wait()
    await asyncio.sleep(10 * INTERVAL)
    assert attempts == 3
    await look_ups.stop()
