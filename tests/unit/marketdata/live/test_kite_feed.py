"""The live feed of Kite: from what a WebSocket server sends to frames."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from alphapanda.contract.topics import shard_of
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import SECOND_NS, Frame
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.kite.options import ReconnectionOptions
from alphapanda.kite.session import KiteSession, SessionFollower
from alphapanda.kite.ticker import TickerConnection
from alphapanda.kite.tickers import TickerPool
from alphapanda.marketdata.core.data_account import DataAccount
from alphapanda.marketdata.core.live.framer import LiveFramer
from alphapanda.marketdata.feeds.feed import FeedContext, LastFrames, LiveRun
from alphapanda.marketdata.feeds.inbox import Inbox, Received
from alphapanda.marketdata.feeds.kite import KiteFeed, KiteSource
from alphapanda.marketdata.feeds.kite_messages import live_message
from alphapanda.marketdata.feeds.kite_streamed import StreamedInstruments
from alphapanda.marketdata.feeds.registry import open_feed

server = pytest.importorskip("websockets.asyncio.server")

INFY, RELIANCE, NIFTY = 408065, 738561, 256265
TEN = int(datetime(2026, 12, 1, 4, 30, tzinfo=UTC).timestamp())
"""10:00 in India."""
CALENDAR = load_nse_calendar()


def known(token: int, symbol: str, segment: str = "NSE") -> Instrument:
    """An instrument of NSE."""
    return Instrument(
        f"NSE:{symbol}", token, "NSE", symbol, "", segment, "EQ", Decimal("0.05"), 1, 0, "NSE_EQ"
    )


DIRECTORY = InstrumentDirectory(
    [known(INFY, "INFY"), known(RELIANCE, "RELIANCE"), known(NIFTY, "NIFTY 50", "INDICES")]
)


def full(token: int, price: int, second: int, volume: int, close: int = 150_000) -> bytes:
    """A full packet of a stock."""
    words = [token, price, 1, price, volume, 0, 0, price, price, price, close, second, 0, 0, 0, second]
    return struct.pack(">16I", *words) + bytes(120)


def quote(token: int, price: int, volume: int, close: int = 150_000) -> bytes:
    """A quote packet of a stock."""
    return struct.pack(">11I", token, price, 1, price, volume, 0, 0, price, price, price, close)


def index(token: int, value: int, second: int) -> bytes:
    """A full packet of an index."""
    return struct.pack(">8I", token, value, value, value, value, value, 0, second)


def message_of(*packets: bytes) -> bytes:
    """A message as the server makes it."""
    return struct.pack(">H", len(packets)) + b"".join(struct.pack(">H", len(each)) + each for each in packets)


@dataclass
class Source:
    """A server that sends what a test puts into it, and what the feed is made of.

    Attributes:
        sent: messages that the next connection sends.
        orders: order updates that came.
        now: wall time, seconds since the epoch.
    """

    sent: asyncio.Queue[bytes | str] = field(default_factory=asyncio.Queue)
    orders: list[Mapping[str, Any]] = field(default_factory=list)
    now: float = TEN
    root: str = ""

    async def serve(self, connection: Any) -> None:
        """Sends what it is given, after the first subscription."""
        await connection.recv()

        async def send() -> None:
            while True:
                await connection.send(await self.sent.get())

        sending = asyncio.create_task(send())
        await connection.wait_closed()
        sending.cancel()

    def wall_ns(self) -> int:
        """Wall time."""
        return int(self.now * SECOND_NS)

    def pool(self, receiver: Any) -> TickerPool:
        """One connection with a session."""
        sessions = SessionFollower("main", lambda: datetime.fromtimestamp(TEN, UTC))
        until = datetime.fromtimestamp(TEN, UTC) + timedelta(hours=20)
        sessions.put(KiteSession("main", 1, "s1", "key", "made-up", until, "AB1234"))

        def connection(number: int) -> TickerConnection:
            return TickerConnection(
                number, self.root, sessions, ReconnectionOptions(), receiver, wall_ns=self.wall_ns
            )

        return TickerPool(connection, 1)

    def context(self) -> FeedContext:
        """A context with this source."""
        streamed = StreamedInstruments(InstrumentDirectory([known(INFY, "INFY")]))
        streamed.strategy("one", ["NSE:INFY"])
        streamed.watched = lambda: [RELIANCE]
        source = KiteSource(self.pool, streamed, self.wall_ns, on_order_update=self.orders.append)
        return FeedContext(7, 250, DIRECTORY, CALENDAR, date(2026, 12, 1), {}, kite=source)


@asynccontextmanager
async def streaming(source: Source) -> AsyncIterator[tuple[KiteFeed, LiveRun, DataAccount, LiveFramer]]:
    """The feed's run against the source."""
    async with server.serve(source.serve, "127.0.0.1", 0) as listening:
        source.root = f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        feed = cast("KiteFeed", open_feed("kite", source.context()))
        feed.check()
        runs = feed.runs(None)
        run = await anext(runs)
        account = DataAccount()
        framer = LiveFramer(run.feed_run, DIRECTORY, run.calendar, 4, shard_of, account)
        try:
            yield feed, run, account, framer
        finally:
            await feed.stop()


async def frames_of(run: LiveRun, framer: LiveFramer, messages: int) -> list[Frame]:
    """The frames of the next messages."""
    made: list[Frame] = []
    async with asyncio.timeout(5):
        async for some in run.messages:
            for one in some:
                made += framer.frames(one)
                messages -= 1
            if messages <= 0:
                break
    return made


async def test_what_the_exchange_sends_becomes_frames() -> None:
    """Stocks with volumes and an index without; each shard has a frame a second; order updates and garbage don't disturb."""
    source = Source()
    async with streaming(source) as (feed, run, account, framer):
        await source.sent.put('{"type": "order", "data": {"order_id": "1"}}')
        await source.sent.put(b"\x00\x02\x00")
        packets = (
            full(INFY, 150_010, TEN, 10),
            quote(RELIANCE, 280_010, 7, 280_000),
            index(NIFTY, 2_500_000, TEN),
        )
        await source.sent.put(message_of(*packets))
        await source.sent.put(b"\x00")
        with capture_logs() as logs:
            frames = await frames_of(run, framer, 2)
        assert not feed.problem
    ticked = [frame for frame in frames if frame.instrument_token]
    assert {frame.shard for frame in frames} == {0, 1, 2, 3}
    assert [(f.instrument_token, f.last_price, f.exchange_time, f.volume) for f in map(_lists, ticked)] == [
        ([INFY, RELIANCE], [150_010, 280_010], [TEN * SECOND_NS] * 2, [10, 7]),
        ([NIFTY], [2_500_000], [TEN * SECOND_NS], []),
    ]
    assert all(frame.market_time_ns == TEN * SECOND_NS and not frame.simulated for frame in frames)
    assert run.feed_run == "kite:20261201T043000.000000Z"
    assert account.passed == 3
    assert source.orders == [{"order_id": "1"}]
    assert [line["event"] for line in logs].count("feed.message_malformed") == 1


async def test_a_message_of_many_packets_makes_the_same_ticks() -> None:
    """Columns and the way for few packets give the same frames; a second message of the same says nothing new."""
    tokens = [256 * number + 1 for number in range(1, 41)]
    directory = InstrumentDirectory([known(token, f"S{token}") for token in tokens])
    many, few = (LiveFramer("run", directory, CALENDAR, 4, shard_of, DataAccount()) for _ in range(2))
    packets = [full(token, 150_000 + 5 * at, TEN, 10 + at) for at, token in enumerate(tokens)]
    wall = TEN * SECOND_NS
    together = [_lists(frame) for frame in many.frames(live_message(message_of(*packets), wall))]
    singly = [_lists(frame) for one in packets for frame in few.frames(live_message(message_of(one), wall))]
    joined = [token for frame in singly for token in frame.instrument_token]
    assert [token for frame in together for token in frame.instrument_token] == joined == tokens
    assert not [f for f in many.frames(live_message(message_of(*packets), wall)) if f.instrument_token]


async def test_without_ticks_market_time_goes_on_each_second() -> None:
    """Heartbeats are frames for every shard, once a second of market time however many come."""
    framer = LiveFramer("run", DIRECTORY, CALENDAR, 4, shard_of, DataAccount())
    made = [
        len(framer.frames(live_message(b"\x00", int((TEN + second) * SECOND_NS))))
        for second in (0, 0.4, 0.8, 1.2, 1.3, 2.3)
    ]
    assert made == [4, 0, 0, 4, 0, 4]


async def test_no_frame_is_made_while_the_clocks_are_apart() -> None:
    """A machine whose clock is an hour slow publishes nothing, and says what to do."""
    framer = LiveFramer("run", DIRECTORY, CALENDAR, 4, shard_of, DataAccount())
    for second in range(12):
        message = message_of(full(INFY, 150_000, TEN + 3600 + second, second))
        frames = framer.frames(live_message(message, (TEN + second) * SECOND_NS))
    assert not frames
    assert "timestamps are 3600 s ahead of this machine's clock" in framer.problem


async def test_a_market_clock_that_is_ahead_is_refused() -> None:
    """After a simulation of later days the live market can't go on from there."""
    feed = open_feed("kite", Source().context())
    with pytest.raises(InvalidInput, match=r"ahead of now .* --data-dir"):
        await anext(feed.runs(LastFrames("sim:7", (TEN + 86_400) * SECOND_NS)))


def test_the_feed_needs_zerodha() -> None:
    """Who has no app is told which settings make one known; an argument is refused."""
    context = FeedContext(7, 250, DIRECTORY, CALENDAR, date(2026, 12, 1), {})
    with pytest.raises(InvalidInput, match=r"zerodha\.api_key"):
        open_feed("kite", context)
    with pytest.raises(InvalidInput, match="without an argument"):
        open_feed("kite:x", context)


async def test_an_inbox_gives_the_oldest_up_and_counts_them() -> None:
    """Where the log or Redis is away for long, the newest prices are the ones to keep."""
    inbox = Inbox(most=3)
    for number in range(5):
        inbox.add(Received(0, number, b"\x00"))
    assert [one.wall_ns for one in await inbox.take()] == [2, 3, 4]
    assert inbox.lost == 2
    assert not len(inbox)


def _lists(frame: Frame) -> Frame:
    """The frame with lists for columns."""
    columns = {
        name: list(getattr(frame, name))
        for name in ("instrument_token", "last_price", "exchange_time", "volume")
    }
    return frame._replace(**columns)
