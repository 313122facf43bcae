"""Orders that a broker has to be asked about again, whatever happens to the asking."""

from __future__ import annotations

import asyncio

from alphapanda.trading.inquiry import LookUps

INTERVAL = 0.001


async def test_an_order_whose_look_up_a_bug_ended_can_be_followed_anew() -> None:
    """Whoever meets the order next has it asked for again: it isn't taken for one that is being followed."""
    attempts, asked = 0, asyncio.Event()

    async def drive(order_id: str) -> None:
        nonlocal attempts
        attempts += 1
        asked.set()
        if attempts == 1:
            raise KeyError("a report nobody expected")
        look_ups.forget(order_id)

    look_ups = LookUps(drive, lambda: 0.0, INTERVAL)
    async with asyncio.timeout(20):
        look_ups.follow("order")
        await asked.wait()
        while attempts == 1:
            look_ups.follow("order")
            await asyncio.sleep(INTERVAL)
    assert attempts == 2
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
