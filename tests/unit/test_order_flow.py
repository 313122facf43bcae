"""When the orders of a benchmark are all there, or no more of them are to come."""

from __future__ import annotations

import asyncio
import time

from tests.bench.order_flow import settled


async def test_it_waits_for_all_as_long_as_some_come() -> None:
    """Orders that fill one after the other are waited for, however long all of them take together."""
    loop = asyncio.get_running_loop()
    waiting: list[asyncio.Future[float]] = [loop.create_future() for _ in range(5)]
    for number, one in enumerate(waiting):
        loop.call_later(0.2 * number, one.set_result, 0.0)

    assert await settled(waiting, 0.6)


async def test_it_gives_up_on_those_that_do_not_come() -> None:
    """Where nothing fills for a while, the rest is given up, long before the longest wait."""
    loop = asyncio.get_running_loop()
    waiting: list[asyncio.Future[float]] = [loop.create_future() for _ in range(2)]
    waiting[0].set_result(0.0)
    began = time.monotonic()

    assert not await settled(waiting, 0.3)
    assert time.monotonic() - began < 10
