"""The market data room: a feed, its publisher, and the task that runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

from alphapanda.app.ground import IST, Ground, wall_clock
from alphapanda.app.process import Phase, Room
from alphapanda.app.rooms import follower
from alphapanda.eventlog.port import Start
from alphapanda.marketdata.api import MarketDataServicer
from alphapanda.marketdata.feeds.feed import Feed, FeedContext
from alphapanda.marketdata.feeds.registry import open_feed
from alphapanda.marketdata.publisher import MarketDataPublisher
from alphapanda.marketdata.watching import QuoteWatches
from panda.marketdata.v1.marketdata_pb2_grpc import add_MarketDataServiceServicer_to_server

_CANCEL_AGAIN_SECONDS: Final = 0.5


class Feeding:
    """Feeds while the process lives.

    Args:
        feed: where ticks come from.
        publisher: started by whoever started the process.
        ready: awaited before the first frame.

    Attributes:
        task: ends when the feed does; None before the start.
    """

    def __init__(
        self, feed: Feed, publisher: MarketDataPublisher, ready: Callable[[], Awaitable[None]]
    ) -> None:
        self.feed = feed
        self.publisher = publisher
        self._ready = ready
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to feed."""
        self.task = asyncio.create_task(self._run(), name="feed")

    async def stop(self) -> None:
        """Feeds no more."""
        while self.task is not None and not self.task.done():  # the Redis client may swallow a cancellation
            self.task.cancel()
            await asyncio.wait([self.task], timeout=_CANCEL_AGAIN_SECONDS)

    async def _run(self) -> None:
        await self._ready()
        await self.publisher.run()


def open_named_feed(ground: Ground, wanted: str, speed: float, instrument: str | None) -> Feed:
    """The feed of `--feed`.

    Raises:
        InvalidInput: it can't be opened.
    """
    market = ground.settings.marketdata
    context = FeedContext(
        seed=market.seed,
        frame_interval_ms=market.frame_interval_ms,
        directory=ground.directory,
        calendar=ground.calendar,
        today=wall_clock().astimezone(IST).date(),
        speed=speed,
        instrument=instrument,
    )
    return open_feed(wanted, context)


def marketdata_room(
    ground: Ground,
    feed: Feed,
    *,
    before_frame: Callable[[datetime], Awaitable[bool]],
    barrier: Callable[[], Awaitable[None]],
    ready: Callable[[], Awaitable[None]],
) -> tuple[Room, Feeding]:
    """Market data.

    Args:
        ground: what it stands on.
        feed: where ticks come from.
        before_frame: timers that are due by a new market time (lockstep).
        barrier: passes when nothing is in work (lockstep).
        ready: awaited before the first frame.
    """
    publisher = MarketDataPublisher(
        feed=feed,
        directory=ground.directory,
        log=ground.log,
        topic_map=ground.topic_map,
        cache=ground.prices,
        wall_clock=wall_clock,
        before_frame=before_frame,
        barrier=barrier,
    )
    feeding = Feeding(feed, publisher, ready)
    watches = QuoteWatches(
        ground.prices,
        ground.directory,
        lambda on_event: follower(
            ground, "marketdata", "marketdata.quotes", "tick_frame", on_event, Start.LATEST
        ),
    )
    servicer = MarketDataServicer(ground.prices, ground.directory, ground.calendar, publisher, watches)
    room = Room(
        service="marketdata",
        full_name="panda.marketdata.v1.MarketDataService",
        registration=lambda server: add_MarketDataServiceServicer_to_server(servicer, server),
        parts=[(Phase.WAKE, watches), (Phase.FEED, feeding)],
        counters=lambda: {
            "ticks": publisher.ticks,
            "dropped": sum(publisher.dropped().values()),
            "quote_watches": watches.watchers,
        },
    )
    return room, feeding
