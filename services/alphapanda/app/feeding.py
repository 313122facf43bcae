"""The market data room: a feed, its publisher, and the task that runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from alphapanda.app.process import Phase, Room
from alphapanda.app.questions import ticks
from alphapanda.app.resources import IST, ProcessResources, wall_clock
from alphapanda.app.rooms.reading import follower
from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.eventlog.port import Start
from alphapanda.instruments.core import shipped_instruments, shipped_reference_prices
from alphapanda.marketdata.api import MarketDataServicer
from alphapanda.marketdata.feeds.feed import Feed, FeedContext
from alphapanda.marketdata.feeds.recording import FrameRecorder
from alphapanda.marketdata.feeds.recording_folder import FolderRecorder
from alphapanda.marketdata.feeds.registry import open_feed
from alphapanda.marketdata.publisher import MarketDataPublisher
from alphapanda.marketdata.watching import QuoteWatches
from alphapanda.resilience.backoff import Backoff
from alphapanda.resilience.failures import in_one_line
from alphapanda.settings.model import Settings
from panda.marketdata.v1.marketdata_pb2_grpc import add_MarketDataServiceServicer_to_server

_CANCEL_AGAIN_SECONDS: Final = 0.5
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FeedWanted:
    """The feed that somebody asks for.

    Attributes:
        feed: "sim" or "replay:FILE".
        speed: market seconds in a wall second; None leaves it to the feed.
        instrument: "NSE:INFY", for recordings of bars that don't name theirs.
    """

    feed: str = "sim"
    speed: float | None = None
    instrument: str | None = None


class Feeding:
    """Feeds while the process lives.

    Args:
        feed: where ticks come from.
        publisher: started by whoever started the process.
        ready: awaited before the first frame.

    Attributes:
        name: in the service's status.
        task: ends when the feed does; None before the start.
    """

    name = "feed"

    def __init__(
        self, feed: Feed, publisher: MarketDataPublisher, ready: Callable[[], Awaitable[None]]
    ) -> None:
        self.feed = feed
        self.publisher = publisher
        self._ready = ready
        self._begun = False
        self._ended_by = ""
        self.task: asyncio.Task[None] | None = None

    @property
    def feeds_now(self) -> bool:
        """Whether frames are to be expected: it has begun and not ended, and doesn't wait for its pace."""
        return self._begun and not self.publisher.finished.is_set() and not self.feed.resting

    @property
    def last_error(self) -> str:
        """What the market waits for, or what ended the feed before its end; one line, empty where nothing did."""
        return self._ended_by or self.publisher.last_error

    @property
    def serving(self) -> bool:
        """Whether the price cache and the log take what it brings, and no error has ended it."""
        return not self.last_error

    @property
    def simulated(self) -> bool:
        """Whether the feed owns its market time."""
        return self.feed.simulated

    async def start(self) -> None:
        """Begins to feed."""
        self.task = asyncio.create_task(self._run(), name="feed")
        self.task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Feeds no more."""
        while self.task is not None and not self.task.done():  # the Redis client may swallow a cancellation
            self.task.cancel()
            await asyncio.wait([self.task], timeout=_CANCEL_AGAIN_SECONDS)

    async def _run(self) -> None:
        await self._ready()
        self._begun = True
        await self.publisher.run()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._ended_by = in_one_line(error)
            _log.error(
                "feed.failed",
                alarm=True,
                error=self._ended_by,
                exc_info=None if isinstance(error, InvalidInput) else error,
            )


def check_feed(settings: Settings, calendar: TradingCalendar, wanted: FeedWanted) -> None:
    """Looks at what was asked for before anything is started, with the instruments that this package ships.

    Raises:
        InvalidInput: it can't be used.
    """
    today = wall_clock().astimezone(IST).date()
    _open(settings, calendar, shipped_instruments(today), wanted).check()


def open_named_feed(resources: ProcessResources, wanted: FeedWanted) -> Feed:
    """The feed that was asked for.

    Raises:
        InvalidInput: it can't be opened.
    """
    return _open(resources.settings, resources.calendar, resources.directory, wanted)


def _open(
    settings: Settings, calendar: TradingCalendar, directory: InstrumentDirectory, wanted: FeedWanted
) -> Feed:
    market = settings.marketdata
    context = FeedContext(
        seed=market.seed,
        frame_interval_ms=market.frame_interval_ms,
        directory=directory,
        calendar=calendar,
        today=wall_clock().astimezone(IST).date(),
        speed=wanted.speed,
        instrument=wanted.instrument,
        reference_prices=shipped_reference_prices(),
    )
    return open_feed(wanted.feed, context)


def marketdata_room(
    resources: ProcessResources,
    feed: Feed,
    *,
    before_frame: Callable[[datetime], Awaitable[bool]],
    barrier: Callable[[], Awaitable[None]],
    ready: Callable[[], Awaitable[None]],
    recorder: FrameRecorder | FolderRecorder | None = None,
) -> tuple[Room, Feeding]:
    """Market data.

    Args:
        resources: shared by the services of this process.
        feed: where ticks come from.
        before_frame: timers that are due by a new market time (lockstep).
        barrier: passes when nothing is in work (lockstep).
        ready: awaited before the first frame.
        recorder: is given every frame that is published.
    """
    again = resources.settings.reconnection
    publisher = MarketDataPublisher(
        feed=feed,
        directory=resources.directory,
        log=resources.log,
        topic_map=resources.topic_map,
        cache=resources.prices,
        wall_clock=wall_clock,
        before_frame=before_frame,
        barrier=barrier,
        backoff=Backoff(again.initial_seconds, again.max_seconds),
        on_published=recorder.add if recorder else lambda _: None,
    )
    feeding = Feeding(feed, publisher, ready)
    watches = QuoteWatches(
        resources.prices,
        resources.directory,
        lambda on_event: follower(
            resources, "marketdata", "marketdata.quotes", "tick_frame", on_event, Start.LATEST
        ),
    )
    servicer = MarketDataServicer(
        resources.prices, resources.directory, resources.calendar, publisher, watches
    )
    room = Room(
        service="marketdata",
        full_name="panda.marketdata.v1.MarketDataService",
        registration=lambda server: add_MarketDataServiceServicer_to_server(servicer, server),
        parts=[
            (Phase.WAKE, watches),
            *([(Phase.FEED, recorder)] if recorder else []),
            (Phase.FEED, feeding),
        ],
        counters=lambda: {
            "ticks": publisher.ticks,
            "dropped": sum(publisher.dropped().values()),
            "quote_watches": watches.watchers,
        },
        checks=[feeding],
        questions={"ticks": ticks(resources, feeding)},
    )
    return room, feeding
