"""The market follows a feed of ours: a simulated day or a recording."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final

from tests.kite_exchange.clock import moment
from tests.kite_exchange.exchange import Exchange

from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.frame import Frame
from alphapanda.instruments.core import shipped_instruments, shipped_reference_prices
from alphapanda.marketdata.core.ticks import PRICE_SCALE, Tick
from alphapanda.marketdata.feeds.feed import Feed, FeedContext, FeedRun, RecordedRun
from alphapanda.marketdata.feeds.registry import open_feed

_FRAME_INTERVAL_MS: Final = 500

Traded = tuple[int, int, int | None]
"""Token, price in units of the ticker, volume of the day."""


def feed_of(wanted: str, exchange: Exchange, *, seed: int = 7, speed: float | None = None) -> Feed:
    """Opens "sim" or "replay:FILE" over the shipped instruments, which the exchange lists under the same tokens.

    Raises:
        InvalidInput: the feed can't be used.
    """
    today = exchange.clock.day()
    prices = shipped_reference_prices()
    context = FeedContext(
        seed=seed,
        frame_interval_ms=_FRAME_INTERVAL_MS,
        directory=shipped_instruments(today),
        calendar=load_nse_calendar(),
        today=today,
        reference_prices=prices,
        speed=speed,
    )
    exchange.market.opens(_closes(exchange, prices))
    return open_feed(wanted, context)


async def follow(feed: Feed, exchange: Exchange, *, clock_too: bool = False) -> None:
    """Lets the exchange's market follow a feed until it ends. Trades happen at the exchange's time.

    Args:
        feed: the feed.
        exchange: whose prices move.
        clock_too: whether the exchange's clock is set to the feed's market time, sessions and limits with it.
    """
    days = _Days(exchange.clock.day())
    async for run in feed.runs(None):
        async for time_ns, ticks in _steps(run):
            if clock_too:
                exchange.clock.set(time_ns)
            now = exchange.clock.ns()
            if moment(now).date() != days.listed:
                days = _Days(moment(now).date())
                exchange.list_day(days.listed)
            exchange.market.trade(days.summed(ticks, moment(time_ns).date()), now, followed=True)


@dataclass(slots=True)
class _Days:
    """Adds the volumes of a feed's days up, of which several may pass in one of the exchange's.

    Attributes:
        listed: the exchange's day.
    """

    listed: date
    _fed: date | None = None
    _before: dict[int, int] = field(default_factory=dict)
    _last: dict[int, int] = field(default_factory=dict)

    def summed(self, ticks: list[Traded], fed: date) -> list[Traded]:
        """The ticks of a feed's day with volumes of the exchange's day."""
        if self._fed not in {None, fed}:
            self._before |= self._last
        self._fed = fed
        told = []
        for token, price, volume in ticks:
            total = None if volume is None else volume + self._before.get(token, 0)
            if total is not None:
                self._last[token] = total
            told.append((token, price, total))
        return told


async def _steps(run: FeedRun | RecordedRun) -> AsyncIterator[tuple[int, list[Traded]]]:
    if isinstance(run, FeedRun):
        async for batch in run.batches:
            yield batch.market_time_ns, [_trade(tick, run.price_scale) for tick in batch.ticks]
    else:
        async for frame in run.frames:
            yield frame.market_time_ns, _trades(frame)


def _trade(tick: Tick, scale: int) -> Traded:
    return tick.instrument_token, tick.price * PRICE_SCALE // scale, tick.volume


def _trades(frame: Frame) -> list[Traded]:
    volumes = frame.volume or [None] * len(frame.instrument_token)
    return [
        (token, price * PRICE_SCALE // frame.price_scale, volume)
        for token, price, volume in zip(frame.instrument_token, frame.last_price, volumes, strict=True)
    ]


def _closes(exchange: Exchange, prices: dict[str, Decimal]) -> list[tuple[int, int]]:
    listing = exchange.market.listing
    return [
        (listing.by_key[f"NSE:{symbol}"].instrument_token, int(price * PRICE_SCALE))
        for symbol, price in prices.items()
        if f"NSE:{symbol}" in listing.by_key
    ]


class Follower:
    """A feed that the market follows in the background, from start to stop."""

    def __init__(self, feed: Feed, exchange: Exchange, *, clock_too: bool = False) -> None:
        self._feed = feed
        self._exchange = exchange
        self._clock_too = clock_too
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to follow."""
        self._task = asyncio.create_task(follow(self._feed, self._exchange, clock_too=self._clock_too))

    async def stop(self) -> None:
        """Stops following; raises what ended it before."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
