"""Publishes a feed's ticks to the price cache and the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from time import perf_counter
from typing import Final, TypeVar

import structlog
from redis.exceptions import RedisError

from alphapanda.contract.topics import TopicMap, shard_of
from alphapanda.contract.wire import frame_event, frame_from
from alphapanda.domain.frame import Frame, instant, nanoseconds
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.pace import MAX
from alphapanda.eventlog.decode import from_record, to_record
from alphapanda.eventlog.port import EventLog, Record
from alphapanda.marketdata.core.data_account import DataAccount, counted
from alphapanda.marketdata.core.framing import FrameBuilder
from alphapanda.marketdata.core.live.framer import LiveFramer
from alphapanda.marketdata.core.sanitiser import Sanitiser
from alphapanda.marketdata.core.ticks import PRICE_SCALE, TickBatch
from alphapanda.marketdata.core.wild_prints import DEFAULT_PERCENT
from alphapanda.marketdata.feeds.feed import Feed, FeedRun, LastFrames, LiveRun, RecordedRun
from alphapanda.marketdata.live_view import LiveView, missing_packets
from alphapanda.resilience.attempts import until_it_works
from alphapanda.resilience.backoff import Backoff
from alphapanda.resilience.failures import in_one_line, is_transient
from alphapanda.storage.price_cache import PriceCache
from alphapanda.telemetry.frame_span import frame_context, record_frame
from alphapanda.telemetry.tracing import OFF, Tracer, header_context

logger: Final = structlog.get_logger(__name__)

SOURCE: Final = "marketdata"
_PAYLOAD: Final = "tick_frame"
T = TypeVar("T")


async def last_frames(log: EventLog, topic_map: TopicMap) -> LastFrames | None:
    """Reads the last frames on the log; None if it has none.

    Raises:
        Unreadable: the newest record of a partition isn't a frame.
    """
    partitions = topic_map.partitions(topic_map.topic(_PAYLOAD))
    newest = [record for partition in partitions if (record := await log.last(partition)) is not None]
    frames = [frame_from(from_record(record, topic_map).tick_frame) for record in newest]
    if not frames:
        return None
    end = max(frames, key=lambda frame: frame.market_time_ns)
    sequences = dict.fromkeys(range(len(partitions)), 0)
    sequences |= {frame.shard: frame.sequence for frame in frames if frame.feed_run == end.feed_run}
    return LastFrames(end.feed_run, end.market_time_ns, sequences)


async def _nothing_held() -> bool:
    return False


class MarketDataPublisher:
    """Publishes a feed's ticks, sanitised and framed, first to the price cache and then to the log.

    In lockstep it publishes one batch at a time (a recording: one frame); after timers and after each batch it waits until
    everything that they caused has been processed. While Redis, the log or, in lockstep, the database is unavailable, the
    feed waits for it.

    Args:
        feed: the source of ticks.
        directory: the known instruments.
        log: the log, to which frames are published.
        topic_map: the deployment's topics.
        cache: the price cache, to which prices and the clock are written.
        wall_clock: returns the current wall time, aware.
        before_frame: runs the timers that are due; called once for each new market time, after its prices were written and
            before its frame is published. Returns whether a timer fired, so that lockstep waits for its effects.
        barrier: returns when everything published has been handled; used in lockstep only.
        settle_held: lets the paper exchange settle the orders that wait for a price, after a frame's prices were written and
            before all else. Returns whether it did; then it is called again, in lockstep once that had its effects.
        backoff: time between attempts while something is unavailable.
        end_held: lets the paper exchange cancel an order that still waits once the feed has ended. Returns whether it did; then
            it is called again, in lockstep once that had its effects.
        on_published: called with frames after the log has acknowledged them.
        wild_print_percent: distance from the last price from which on a price waits for a second one; 0: never.
        account: counts the feed's ticks by what became of them; None: an own one.
        on_latency: called with the seconds that a frame took to price cache and log; of a live feed since its market time.
        tracer: records the publishing of a share of the frames.

    Attributes:
        account: the counts.
        finished: set when the feed has ended and nothing is published any more.
        last_error: why the feed waits, in one line; empty if it doesn't wait.
    """

    def __init__(
        self,
        *,
        feed: Feed,
        directory: InstrumentDirectory,
        log: EventLog,
        topic_map: TopicMap,
        cache: PriceCache,
        wall_clock: Callable[[], datetime],
        before_frame: Callable[[datetime], Awaitable[bool]],
        barrier: Callable[[], Awaitable[None]],
        backoff: Backoff,
        on_published: Callable[[Sequence[Frame]], None] = lambda _: None,
        settle_held: Callable[[], Awaitable[bool]] = _nothing_held,
        end_held: Callable[[], Awaitable[bool]] = _nothing_held,
        account: DataAccount | None = None,
        on_latency: Callable[[float], None] = lambda _: None,
        wild_print_percent: float = DEFAULT_PERCENT,
        tracer: Tracer = OFF,
    ) -> None:
        self.account: Final = account or DataAccount(directory)
        self.finished: Final = asyncio.Event()
        self.last_error = ""
        self._feed = feed
        self._log = log
        self._topic_map = topic_map
        self._cache = cache
        self._wall_clock = wall_clock
        self._before_frame = before_frame
        self._barrier = barrier
        self._backoff = backoff
        self._on_published = on_published
        self._on_latency = on_latency
        self._settle_held = settle_held
        self._end_held = end_held
        self._tracer = tracer
        self._shards = len(topic_map.partitions(topic_map.topic(_PAYLOAD)))
        self._directory = directory
        self._wild_print_percent = wild_print_percent
        self._framer: LiveFramer | None = None
        self._sanitiser = Sanitiser(
            directory, PRICE_SCALE, self.account, wild_print_percent, doubts_firsts=not feed.simulated
        )
        self._last: LastFrames | None = None
        self._runs: AsyncIterator[FeedRun | RecordedRun | LiveRun] | None = None
        self._run: FeedRun | RecordedRun | LiveRun | None = None
        self._market_time_ns = 0

    @property
    def feed_name(self) -> str:
        """The feed's registered name."""
        return self._feed.name

    @property
    def feed_run(self) -> str:
        """Name of the current run; empty before the start."""
        return self._run.feed_run if self._run else ""

    @property
    def ticks(self) -> int:
        """Ticks that passed the sanitiser since the process started."""
        return self.account.passed

    @property
    def speed(self) -> float | None:
        """Market seconds per wall second that the feed is asked for; None where it goes as fast as it can, or is live."""
        return None if self._feed.pacer.speed == MAX or not self._feed.simulated else self._feed.pacer.speed

    @property
    def speed_reached(self) -> float | None:
        """Market seconds per wall second over the last ten seconds; None before."""
        return self._feed.pacer.reached

    @property
    def feed_problem(self) -> str:
        """Why the feed doesn't bring what it should, in one line; empty where it does."""
        return (self._framer.problem if self._framer else "") or self._feed.problem or self._missing()

    def live(self) -> LiveView | None:
        """How the live feed is; None where the feed isn't live, or hasn't begun."""
        status = self._feed.live()
        if status is None or self._framer is None:
            return None
        return LiveView(status, self.feed_problem, self._framer.seen, self._directory)

    def _missing(self) -> str:
        """What to tell of instruments of which nothing comes; empty where there are none."""
        if self._framer is None or not self._framer.open_now or (status := self._feed.live()) is None:
            return ""
        view = LiveView(status, "", self._framer.seen, self._directory)
        return missing_packets(view.without_packets(nanoseconds(self._wall_clock())))

    def dropped(self) -> Mapping[str, int]:
        """Ticks dropped since the process started, by reason."""
        return self._sanitiser.counts()

    async def start(self) -> None:
        """Opens the feed where the last frames ended.

        Raises:
            InvalidInput: the feed's input can't be used, or begins before the market's clock (MarketClockWouldGoBack).
        """
        self._last = await last_frames(self._log, self._topic_map) or await self._last_clock()
        self._market_time_ns = self._last.market_time_ns if self._last else 0
        self._runs = self._feed.runs(self._last)
        self._run = await anext(self._runs, None)
        if isinstance(self._run, FeedRun) and not self._feed.simulated:
            known = await self._cache.read([one.instrument_token for one in self._directory])
            closes = {token: int(cached.last.price * PRICE_SCALE) for token, cached in known.prices.items()}
            self._sanitiser.expect_near(closes)

    async def run(self) -> None:
        """Publishes until the feed ends or the task is cancelled. Call it after `start`.

        Raises:
            InvalidInput: a row of a recording can't be read.
        """
        if self._feed.lockstep:
            await self._until_it_works(self._barrier)
        while self._runs is not None and self._run is not None:
            await self._publish_run(self._run)
            self._run = await anext(self._runs, None)
        while await self._until_it_works(self._end_held):
            if self._feed.lockstep:
                await self._until_it_works(self._barrier)
        logger.info(
            "feed.ended",
            feed=self._feed.name,
            ticks=self.ticks,
            dropped=self.dropped(),
            unused=counted(self.account.unused),
            noted=counted(self.account.noted),
        )
        self.finished.set()

    async def restore_prices(self) -> None:
        """Writes the last prices and the clock to a price cache that has lost them."""
        await self._cache.restore()

    async def _last_clock(self) -> LastFrames | None:
        """The last frames according to the price cache's clock, if retention has deleted the log's frames."""
        clock = (await self._cache.read(())).clock
        return LastFrames(clock.feed_run, clock.market_time_ns) if clock else None

    async def _publish_run(self, run: FeedRun | RecordedRun | LiveRun) -> None:
        if isinstance(run, LiveRun):
            await self._publish_live(run)
            return
        before = self._last if self._last and self._last.feed_run == run.feed_run else None
        if isinstance(run, RecordedRun):
            logger.info("feed.run_started", feed=self._feed.name, feed_run=run.feed_run)
            async for frame in run.frames:
                self.account.passed_frame(frame)
                if before is None or not before.holds(frame):
                    await self._publish([frame])
            return
        logger.info("feed.run_started", feed=self._feed.name, feed_run=run.feed_run, after=run.frames_before)
        for reason, rows in run.noted.items():
            self.account.note(reason, rows)
        self._sanitiser.expect(run.denied_firsts)
        builder = FrameBuilder(
            run.feed_run, self._shards, shard_of, run.price_scale, simulated=self._feed.simulated
        )
        if run.frames_before:
            builder.continue_after(dict.fromkeys(range(self._shards), run.frames_before), 0)
        async for batch in run.batches:
            frames = self._frames(builder, batch)
            await self._publish([frame for frame in frames if before is None or not before.holds(frame)])

    async def _publish_live(self, run: LiveRun) -> None:
        logger.info("feed.run_started", feed=self._feed.name, feed_run=run.feed_run)
        self._framer = framer = LiveFramer(
            run.feed_run,
            self._directory,
            run.calendar,
            self._shards,
            shard_of,
            self.account,
            self._wild_print_percent,
            simulated=self._feed.simulated,
            owns_time=run.owns_time,
            market_time_ns=run.market_time_ns,
        )
        before = self._last if self._last and self._last.feed_run == run.feed_run else None
        async for messages in run.messages:
            frames = [frame for message in messages for frame in framer.frames(message)]
            await self._publish([frame for frame in frames if before is None or not before.holds(frame)])

    def _frames(self, builder: FrameBuilder, batch: TickBatch) -> list[Frame]:
        kept = self._sanitiser.clean(batch.ticks)
        frames = builder.frames(batch.market_time_ns, kept) if kept else []
        if self._feed.heartbeats or not batch.ticks:
            frames += builder.heartbeats(batch.market_time_ns, frames)
        return frames

    async def _publish(self, frames: Sequence[Frame]) -> None:
        if not frames:
            return
        one_by_one = self._feed.lockstep and self._feed.frame_by_frame
        for step in [[frame] for frame in frames] if one_by_one else [frames]:
            came = perf_counter()
            late = self._late(step[-1])
            await self._until_it_works(partial(self._cache.write, step))
            cached = perf_counter()
            while await self._until_it_works(self._settle_held):
                if self._feed.lockstep:
                    await self._until_it_works(self._barrier)
            await self._run_timers(step[-1])
            now, timers_ran = self._wall_clock(), perf_counter()
            records = [self._to_record(frame, now) for frame in step]
            await self._until_it_works(partial(self._to_log, step, records))
            self._on_latency(late + cached - came + perf_counter() - timers_ran)
            if self._feed.lockstep:
                await self._until_it_works(self._barrier)

    def _late(self, frame: Frame) -> float:
        """How many seconds after its market time a live feed's frame came; a simulated feed owns its time."""
        if self._feed.simulated:
            return 0.0
        return max((self._wall_clock() - instant(frame.market_time_ns)).total_seconds(), 0.0)

    def _to_record(self, frame: Frame, now: datetime) -> Record:
        event = frame_event(frame, SOURCE, now)
        sampled = self._tracer.samples_frame(event.event_id)
        return to_record(event, self._topic_map, frame_context(event.event_id).traceparent if sampled else "")

    def _record_sampled(self, frames: Sequence[Frame], records: Sequence[Record], began_ns: int) -> None:
        for frame, record in zip(frames, records, strict=True):
            if began_ns and header_context(record.headers) is not None:
                ticks, shard = len(frame.instrument_token), record.partition
                record_frame(self._tracer, record.topic, shard, frame.frame_id, ticks, began_ns, 0)

    async def _run_timers(self, frame: Frame) -> None:
        if frame.market_time_ns <= self._market_time_ns:
            return
        self._market_time_ns = frame.market_time_ns
        fired = await self._until_it_works(partial(self._before_frame, instant(frame.market_time_ns)))
        if fired and self._feed.lockstep:
            await self._until_it_works(self._barrier)

    async def _to_log(self, frames: Sequence[Frame], records: Sequence[Record]) -> None:
        """Publishes and reports frames; a cancellation waits for the publishing, because the log may have them already."""
        began_ns = self._tracer.began()
        publishing = asyncio.ensure_future(self._log.publish(records))
        try:
            await asyncio.shield(publishing)
        except asyncio.CancelledError:
            await asyncio.wait([publishing])
            raise
        finally:
            if not publishing.done():
                publishing.cancel()
            elif not publishing.cancelled() and publishing.exception() is None:
                self._on_published(frames)
                self._record_sampled(frames, records, began_ns)

    async def _until_it_works(self, call: Callable[[], Awaitable[T]]) -> T:
        """Makes a call until it succeeds, with waits while the cache, the log or the database is unavailable."""

        async def wait(away: Exception, failures: int) -> None:
            seconds = self._backoff.seconds(failures)
            self.last_error = f"the feed waits: {in_one_line(away)}"
            if failures & (failures - 1) == 0:  # the 1st, 2nd, 4th, 8th …
                logger.warning(
                    "feed.waiting", error=in_one_line(away), failures=failures, wait_seconds=seconds
                )
            await asyncio.sleep(seconds)

        result = await until_it_works(call, wait, _is_waited_for)
        self.last_error = ""
        return result


def _is_waited_for(error: BaseException) -> bool:
    """Whether the feed waits after this error: transient ones, and any of Redis (disk full, a failover)."""
    return isinstance(error, RedisError) or is_transient(error)
