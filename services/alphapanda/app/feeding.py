"""Builds the market data room: a feed, its publisher, and the task that runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import structlog

from alphapanda.app import clocks
from alphapanda.app.clocks import wall_clock
from alphapanda.app.instruments import known_instruments
from alphapanda.app.kite_accounts import kite_accounts
from alphapanda.app.probes import latency, ticks
from alphapanda.app.process import Phase, Room
from alphapanda.app.reading import reading_of
from alphapanda.app.resources import ProcessResources
from alphapanda.app.rooms.reading import follower
from alphapanda.app.zerodha import require_extra
from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.fill_rule import FillRule
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.pace import REAL
from alphapanda.eventlog.port import Start
from alphapanda.instruments.core import shipped_reference_prices
from alphapanda.marketdata.api import MarketDataServicer
from alphapanda.marketdata.core.data_account import DataAccount, DataNotUsed
from alphapanda.marketdata.core.slowest import Slowest
from alphapanda.marketdata.feeds.feed import Feed, FeedContext
from alphapanda.marketdata.feeds.recording import FrameRecorder
from alphapanda.marketdata.feeds.recording_folder import FolderRecorder
from alphapanda.marketdata.feeds.registry import KITE, open_feed
from alphapanda.marketdata.feeds.replay import ReplayFeed
from alphapanda.marketdata.history import HistorySource
from alphapanda.marketdata.publisher import MarketDataPublisher
from alphapanda.marketdata.watching import QuoteWatches
from alphapanda.resilience.backoff import Backoff
from alphapanda.resilience.failures import in_one_line
from alphapanda.settings.model import Settings
from alphapanda.telemetry.figures import Point
from alphapanda.telemetry.gauges import MARKET_DATA_LATENCY
from alphapanda.trading.held_orders import HeldOrders
from panda.marketdata.v1.marketdata_pb2_grpc import add_MarketDataServiceServicer_to_server

if TYPE_CHECKING:
    from alphapanda.marketdata.feeds.kite import KiteSource

_CANCEL_AGAIN_SECONDS: Final = 0.5
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FeedWanted:
    """A request for a feed.

    Attributes:
        feed: "sim", "replay:FILE" or "kite".
        speed: market seconds per wall second; None: the feed's default.
        instrument: "NSE:INFY", for recordings of bars that don't name their instrument.
    """

    feed: str = "sim"
    speed: float | None = None
    instrument: str | None = None


class Feeding:
    """Runs a feed and publishes its frames.

    Args:
        feed: source of the ticks.
        publisher: publishes frames; started by the caller.
        ready: awaited before the first frame.
        problem: returns why the feed's data is no basis for a result, once the feed has ended; None: it is one.
        allow_drops: whether that is a warning only.

    Attributes:
        name: name in the service's status.
        task: ends when the feed ends; None before the start.
        hardly_used: what of the data was not used, in one line, where that was allowed; else empty.
    """

    name = "feed"

    def __init__(
        self,
        feed: Feed,
        publisher: MarketDataPublisher,
        ready: Callable[[], Awaitable[None]],
        problem: Callable[[], str | None] = lambda: None,
        *,
        allow_drops: bool = False,
    ) -> None:
        self.feed = feed
        self._problem = problem
        self._allow_drops = allow_drops
        self.hardly_used = ""
        self.publisher = publisher
        self._ready = ready
        self._begun = False
        self._ended_by = ""
        self.task: asyncio.Task[None] | None = None

    @property
    def feeds_now(self) -> bool:
        """Whether frames are expected now: the feed has begun, hasn't ended, and isn't waiting for its pace."""
        return self._begun and not self.publisher.finished.is_set() and not self.feed.pacer.resting

    @property
    def last_error(self) -> str:
        """What the publisher waits for, or the error that ended the feed, in one line; empty where there is none."""
        return self._ended_by or self.publisher.last_error

    @property
    def degradation(self) -> str:
        """Why the feed doesn't bring all that it should, in one line; empty where it does."""
        return self.publisher.feed_problem

    @property
    def serving(self) -> bool:
        """Whether price cache and log accept its frames, and no error has ended the feed."""
        return not self.last_error

    @property
    def simulated(self) -> bool:
        """Whether the feed owns its market time."""
        return self.feed.simulated

    async def start(self) -> None:
        """Starts the feed."""
        self.task = asyncio.create_task(self._run(), name="feed")
        self.task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Stops the feed."""
        while self.task is not None and not self.task.done():  # the Redis client may swallow a cancellation
            self.task.cancel()
            await asyncio.wait([self.task], timeout=_CANCEL_AGAIN_SECONDS)
        await self.feed.stop()

    async def _run(self) -> None:
        await self._ready()
        self._begun = True
        await self.publisher.run()
        if (problem := self._problem()) is not None:
            if not self._allow_drops:
                raise DataNotUsed(problem)
            self.hardly_used = problem
            _log.warning("feed.hardly_used", reason=problem)

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
    """Checks a request before anything is started, against the instruments that are known.

    Raises:
        InvalidInput: the feed can't be used.
    """
    if wanted.feed == KITE and kite_accounts(settings):
        require_extra(settings)
        if wanted.speed not in {None, REAL}:
            raise InvalidInput("--speed", wanted.speed, "left out: the live market has its own")
        return
    today = clocks.today()
    _open(settings, calendar, known_instruments(settings, today), wanted).check()


def open_named_feed(resources: ProcessResources, wanted: FeedWanted) -> Feed:
    """Opens the requested feed.

    Raises:
        InvalidInput: the feed can't be opened.
    """
    kite = None
    if wanted.feed == KITE and resources.kite is not None:
        from alphapanda.app.kite_feed import kite_source  # noqa: PLC0415 - only where it is the feed

        kite = kite_source(resources)
    return _open(resources.settings, resources.calendar, resources.directory, wanted, kite)


def _open(
    settings: Settings,
    calendar: TradingCalendar,
    directory: InstrumentDirectory,
    wanted: FeedWanted,
    kite: KiteSource | None = None,
) -> Feed:
    market = settings.marketdata
    context = FeedContext(
        seed=market.seed,
        frame_interval_ms=market.frame_interval_ms,
        directory=directory,
        calendar=calendar,
        today=clocks.today(),
        speed=wanted.speed,
        instrument=wanted.instrument,
        reference_prices=shipped_reference_prices(),
        reading=reading_of(settings.replay),
        shows_opens=settings.paper_trading.fill is FillRule.NEXT_OPEN,
        kite=kite,
    )
    return open_feed(wanted.feed, context)


def marketdata_room(
    resources: ProcessResources,
    feed: Feed,
    *,
    before_frame: Callable[[datetime], Awaitable[bool]],
    barrier: Callable[[], Awaitable[None]],
    ready: Callable[[], Awaitable[None]],
    held: HeldOrders | None = None,
    recorder: FrameRecorder | FolderRecorder | None = None,
    watched: Callable[[], Mapping[str, Iterable[int]]] | None = None,
    allow_drops: bool = False,
) -> tuple[Room, Feeding]:
    """Builds market data's room.

    Args:
        resources: shared by the services of this process.
        feed: source of the ticks.
        before_frame: runs timers that are due at a new market time (lockstep).
        barrier: waits until all records are handled (lockstep).
        ready: awaited before the first frame.
        held: lets the paper exchange settle the orders that wait for a price; None: it holds none.
        recorder: records every published frame.
        watched: returns the instrument tokens of each running strategy; None: strategies run elsewhere.
        allow_drops: whether a recording of which almost nothing was used is only a warning.
    """
    again = resources.settings.retry
    recorded = feed.name == ReplayFeed.name
    for_probe, for_metrics = Slowest(), Slowest()

    def note_latency(seconds: float) -> None:
        for_probe.note(seconds)
        for_metrics.note(seconds)

    async def gauges() -> Sequence[Point]:
        seconds = for_metrics.take()
        return [] if seconds is None else [Point(MARKET_DATA_LATENCY, seconds)]

    account = DataAccount(resources.directory, resources.calendar if recorded else None)
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
        on_latency=note_latency,
        wild_print_percent=resources.settings.marketdata.wild_print_percent,
        account=account,
        tracer=resources.tracer("marketdata"),
        **({} if held is None else {"settle_held": held.step, "end_held": held.end}),
    )

    def problem() -> str | None:
        return account.problem(watched() if watched else None) if recorded else None

    feeding = Feeding(feed, publisher, ready, problem, allow_drops=allow_drops)
    watches = QuoteWatches(
        resources.prices,
        resources.directory,
        lambda on_event: follower(
            resources, "marketdata", "marketdata.quotes", "tick_frame", on_event, Start.LATEST
        ),
    )
    history: HistorySource | None = None
    if resources.kite is not None:
        from alphapanda.app.kite_market import kite_history  # noqa: PLC0415 - only where Zerodha is used

        history = kite_history(resources.kite.rest)
    servicer = MarketDataServicer(
        resources.prices,
        resources.directory,
        resources.calendar,
        publisher,
        watches,
        history,
        live=publisher.live,
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
        degradable=[feeding],
        probes={
            "ticks": ticks(resources, feeding),
            "latency": latency(for_probe, resources.settings.health_checks.market_data_max_latency_seconds),
        },
        gauges=[gauges],
    )
    if feed.name == KITE:
        from alphapanda.app.kite_feed import with_followed  # noqa: PLC0415 - only where it is the feed

        with_followed(room, resources, feed, watches)
    return room, feeding
