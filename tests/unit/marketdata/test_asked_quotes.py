"""Which instruments somebody watches or has asked for: a live feed streams them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import date
from types import SimpleNamespace
from typing import Any

from alphapanda.instruments.core import shipped_instruments
from alphapanda.marketdata.watching import MOST_ASKED, QuoteWatches

DIRECTORY = shipped_instruments(date(2026, 12, 1))
INFY, SBIN = (DIRECTORY.require_symbol(name, "symbol") for name in ("NSE:INFY", "NSE:SBIN"))


class Clock:
    """Seconds that a test moves."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def _read(_: object) -> Any:
    prices: Mapping[int, Any] = {}
    return SimpleNamespace(clock=None, prices=prices)


def watches(clock: Clock) -> QuoteWatches:
    """Watches that follow nothing."""

    async def nothing() -> None:
        """Starts and stops at once."""

    cache: Any = SimpleNamespace(read=_read)
    follower: Any = SimpleNamespace(start=nothing, stop=nothing)
    return QuoteWatches(cache, DIRECTORY, lambda _: follower, clock)


async def test_what_is_watched_is_wanted_until_the_last_watch_ends() -> None:
    """Two watches on one instrument are one; a watch on everything asks for nothing in particular."""
    asked = watches(Clock())
    await asked.start()
    first, second, everything = asked.watch([INFY, SBIN], 0), asked.watch([INFY], 0), asked.watch([], 0)
    for each in (first, second, everything):
        await anext(each)
    assert sorted(asked.tokens()) == sorted([INFY.instrument_token, SBIN.instrument_token])
    await first.aclose()
    assert list(asked.tokens()) == [INFY.instrument_token]
    await second.aclose()
    await everything.aclose()
    assert not list(asked.tokens())
    await asked.stop()
    await asyncio.sleep(0)


def test_what_was_asked_for_is_wanted_for_five_minutes() -> None:
    """The latest first; asking again begins anew; very many are bounded."""
    clock = Clock()
    asked = watches(clock)
    asked.ask([1, 2])
    clock.seconds = 200
    asked.ask([1])
    assert list(asked.tokens()) == [1, 2]
    clock.seconds = 301
    assert list(asked.tokens()) == [1]
    clock.seconds = 501
    assert not list(asked.tokens())
    asked.ask(range(MOST_ASKED + 10))
    assert len(list(asked.tokens())) == MOST_ASKED
