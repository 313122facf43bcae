"""The live feed of Zerodha: Kite's WebSocket, by the account's session."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import structlog
from typing_extensions import override

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import instant
from alphapanda.domain.pace import MAX, REAL
from alphapanda.kite.decoder import MalformedMessage
from alphapanda.kite.subscriptions import Mode
from alphapanda.kite.ticker import Receiver
from alphapanda.kite.tickers import TickerPool
from alphapanda.marketdata.core.live.columns import LiveMessage
from alphapanda.marketdata.feeds.feed import Feed, FeedContext, LastFrames, LiveRun, MarketClockWouldGoBack
from alphapanda.marketdata.feeds.inbox import Inbox, Received
from alphapanda.marketdata.feeds.kite_messages import live_message
from alphapanda.marketdata.feeds.kite_streamed import StreamedInstruments
from alphapanda.marketdata.feeds.live_status import FeedConnection, FeedGaps, LiveStatus
from alphapanda.marketdata.feeds.pace import Pacer
from alphapanda.marketdata.feeds.raw_recording import RawRecorder, RawRecording, RawRun
from alphapanda.resilience.rounds import Rounds

FOLLOWED_SECONDS: Final = 0.5
"""Wall time after which a change of what is wanted reaches the ticker."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KiteSource:
    """What the feed is made of.

    Attributes:
        pool: makes the connections, given who takes what they receive.
        streamed: knows what is to be streamed now.
        wall_ns: wall time, nanoseconds since the epoch.
        simulated: whether a simulated exchange stands in Kite's place, which owns its market time.
        recorder: records the messages; None: nobody wants them.
        on_order_update: takes an order update, as a hint that the order is to be read.
    """

    pool: Callable[[Receiver], TickerPool]
    streamed: StreamedInstruments
    wall_ns: Callable[[], int]
    simulated: bool = False
    recorder: RawRecorder | None = None
    on_order_update: Callable[[Mapping[str, Any]], None] = lambda _: None


class MessageReader:
    """Reads messages; bytes that are none are counted and told of."""

    def __init__(self) -> None:
        self._malformed = 0

    def read(self, received: Received) -> LiveMessage | None:
        """A message as ticks; None for bytes that are no message."""
        try:
            return live_message(received.payload, received.wall_ns)
        except MalformedMessage as error:
            self._malformed += 1
            if self._malformed & (self._malformed - 1) == 0:  # the 1st, 2nd, 4th, 8th …
                _log.warning(
                    "feed.message_malformed",
                    connection=received.connection,
                    error=str(error),
                    messages=self._malformed,
                )
            return None


class KiteFeed(Feed, Receiver):
    """Streams from Kite what strategies, positions and watchers need. It waits for a session where there is none.

    Args:
        context: with `kite`.

    Attributes:
        streamed: knows what is to be streamed now.
    """

    name: ClassVar[str] = "kite"
    simulated: ClassVar[bool] = False
    heartbeats: ClassVar[bool] = False
    frame_by_frame: ClassVar[bool] = False

    def __init__(self, context: FeedContext) -> None:
        if context.kite is None:
            raise InvalidInput("feed", self.name, "a feed with an app at Kite")
        self._source = context.kite
        self.streamed: Final = context.kite.streamed
        self._calendar: TradingCalendar = context.calendar
        self._pool = self._source.pool(self)
        self._inbox = Inbox()
        self._pacer = Pacer(REAL)
        self._reader = MessageReader()
        self._gaps = FeedGaps()
        self._wanted: Mapping[int, Mode] = {}
        self._modes: Mapping[int, str] = {}
        self._connection_of: Mapping[int, int] = {}
        self._since_ns: Mapping[int, int] = {}
        self._following = Rounds("subscriptions", self._follow, FOLLOWED_SECONDS, _log, at_once=True)

    @property
    @override
    def lockstep(self) -> bool:
        return False

    @property
    @override
    def pacer(self) -> Pacer:
        return self._pacer

    @property
    @override
    def problem(self) -> str:
        return self._pool.problem or self._following.last_error

    @override
    def check(self) -> None:
        """Does nothing: whether somebody is signed in shows when it runs, and may change."""

    @override
    async def runs(self, last: LastFrames | None) -> AsyncIterator[LiveRun]:
        """Yields one run, which ends with the process.

        Raises:
            InvalidInput: the market's clock is ahead of the wall clock, as after a simulation of later days.
        """
        now = self._source.wall_ns()
        if last is not None and last.market_time_ns > now and not self.simulated:
            raise InvalidInput(
                "feed",
                self.name,
                f"this data directory's market clock is at {instant(last.market_time_ns).isoformat()}, ahead of now"
                f" ({instant(now).isoformat()}); name another folder with --data-dir, or start over with --fresh",
            )
        market_time_ns = 0 if last is None else last.market_time_ns
        run = RawRun(
            self.name, f"{self.name}:{instant(now):%Y%m%dT%H%M%S.%fZ}", self.simulated, market_time_ns
        )
        if self._source.recorder is not None:
            await self._source.recorder.start(run)
        await self._pool.start()
        await self._following.start()
        yield LiveRun(run.feed_run, self._messages(), self._calendar, self.simulated, market_time_ns)

    @override
    async def stop(self) -> None:
        await self._following.stop()
        await self._pool.stop()
        if self._source.recorder is not None:
            await self._source.recorder.stop()

    @override
    def message(self, connection: int, wall_ns: int, payload: bytes) -> None:
        gap = self._gaps.came(connection, wall_ns)
        if gap is not None:
            duration_ms = round((gap.ended_ns - gap.began_ns) / 1e6, 1)
            _log.warning(
                "feed.gap_ended", connection=connection, duration_ms=duration_ms, instruments=gap.instruments
            )
        self._inbox.add(Received(connection, wall_ns, payload))

    @override
    def text(self, connection: int, wall_ns: int, message: dict[str, Any]) -> None:
        if message.get("type") == "order" and isinstance(message.get("data"), dict):
            self._source.on_order_update(message["data"])

    @override
    def disconnected(self, connection: int, wall_ns: int) -> None:
        last = self._pool.statuses[connection].last_message_ns
        self._gaps.lost(connection, last or wall_ns, len(self._pool.streamed[connection]))

    @override
    def live(self) -> LiveStatus:
        streamed = self._pool.streamed
        connections = [
            FeedConnection(
                number,
                one.state.value,
                one.failures,
                one.connections,
                one.last_message_ns,
                one.last_error,
                len(streamed[number]),
            )
            for number, one in enumerate(self._pool.statuses)
        ]
        return LiveStatus(
            connections,
            self._gaps.latest(),
            self._modes,
            self._connection_of,
            self._since_ns,
            self._inbox.lost,
        )

    async def _follow(self) -> None:
        wanted = self.streamed.modes()
        if wanted == self._wanted:
            return
        self._wanted = wanted
        self._pool.want(wanted)
        now, since, streamed = self._source.wall_ns(), self._since_ns, self._pool.streamed
        self._since_ns = {token: since.get(token, now) for modes in streamed for token in modes}
        self._modes = {token: mode.value for modes in streamed for token, mode in modes.items()}
        self._connection_of = {token: number for number, modes in enumerate(streamed) for token in modes}

    async def _messages(self) -> AsyncIterator[Sequence[LiveMessage]]:
        while True:
            received = await self._inbox.take()
            if self._source.recorder is not None:
                self._source.recorder.add(received)
            yield [message for one in received if (message := self._reader.read(one)) is not None]


class SimulatedKiteFeed(KiteFeed):
    """The same feed of a simulated exchange, such as a stub of Kite's: its timestamps are market time at any hour."""

    simulated: ClassVar[bool] = True


class RawFeed(Feed):
    """Replays recorded messages of Kite's, as they came or as fast as possible, to the frames that they made.

    Args:
        argument: the file.
        context: what a feed may need.

    Raises:
        InvalidInput: the file can't be read.
    """

    name: ClassVar[str] = "raw"
    simulated: ClassVar[bool] = True
    heartbeats: ClassVar[bool] = False
    frame_by_frame: ClassVar[bool] = True

    def __init__(self, argument: str, context: FeedContext) -> None:
        self._recording = RawRecording.of(argument, KiteFeed.name)
        self._file = argument
        self._calendar = context.calendar
        self._pacer = Pacer(MAX if context.speed is None else context.speed)

    @property
    @override
    def lockstep(self) -> bool:
        return True

    @property
    @override
    def pacer(self) -> Pacer:
        return self._pacer

    @override
    def check(self) -> None:
        """Does nothing: the file was opened already."""

    @override
    async def stop(self) -> None:
        """Does nothing: it has started nothing."""

    @override
    async def runs(self, last: LastFrames | None) -> AsyncIterator[LiveRun]:
        """Yields the recorded run under its own name, so that all ids are the same.

        Raises:
            InvalidInput: it begins before the market's clock.
        """
        run = self._recording.run
        first = next(self._recording.messages(), None)
        begins_ns = run.market_time_ns if first is None else max(run.market_time_ns, first.wall_ns)
        if last is not None and last.feed_run != run.feed_run and begins_ns < last.market_time_ns:
            raise MarketClockWouldGoBack(self._file, begins_ns, last.market_time_ns)
        self._pacer.begin_at(begins_ns)
        yield LiveRun(run.feed_run, self._messages(), self._calendar, run.owns_time, run.market_time_ns)

    async def _messages(self) -> AsyncIterator[Sequence[LiveMessage]]:
        reader = MessageReader()
        for received in self._recording.messages():
            await self._pacer.reach(received.wall_ns)
            if (message := reader.read(received)) is not None:
                yield [message]
