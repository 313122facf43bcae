"""Our live feed on the stub exchange: what its market does becomes frames, whatever its ticker does."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from kiteconnect import KiteTicker
from structlog.testing import capture_logs
from tests.integration.kite_exchange.conftest import TUESDAY_TEN, fixed_exchange
from tests.kite_exchange.exchange import APP, Exchange
from tests.kite_exchange.server import Server
from tests.unit.kite.test_decoder import require_as_pykiteconnect_reads

from alphapanda.contract.topics import shard_of
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import SECOND_NS, Frame
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.instruments.core import shipped_instruments
from alphapanda.kite.decoder import MalformedMessage, decode
from alphapanda.kite.options import ReconnectionOptions
from alphapanda.kite.session import KiteSession, SessionFollower
from alphapanda.kite.subscriptions import Mode
from alphapanda.kite.ticker import TickerConnection, TickerState
from alphapanda.kite.tickers import TickerPool
from alphapanda.marketdata.core.data_account import DataAccount
from alphapanda.marketdata.core.live.framer import LiveFramer
from alphapanda.marketdata.feeds.feed import FeedContext, LiveRun
from alphapanda.marketdata.feeds.kite import KiteFeed, KiteSource
from alphapanda.marketdata.feeds.kite_streamed import StreamedInstruments
from alphapanda.marketdata.feeds.live_status import FeedGaps
from alphapanda.marketdata.feeds.raw_recording import RawRecorder, RawRecording
from alphapanda.marketdata.feeds.registry import open_feed
from alphapanda.marketdata.live_view import LiveView, missing_packets

INFY, NIFTY = 408065, 256265
QUICK = ReconnectionOptions(base_delay_seconds=0.02, max_delay_seconds=0.1)
DAY = date(2026, 12, 1)


@dataclass
class Rig:
    """A stub exchange, and our session at it."""

    server: Server
    sessions: SessionFollower
    logins: int = 0

    @property
    def exchange(self) -> Exchange:
        """The exchange behind it."""
        return self.server.exchange

    def log_in(self) -> None:
        """Somebody signs in."""
        self.logins += 1
        request_token = self.exchange.sessions.login(APP.api_key)
        checksum = sha256(f"{APP.api_key}{request_token}{APP.api_secret}".encode()).hexdigest()
        _, token = self.exchange.sessions.begin(APP.api_key, request_token, checksum)
        until = datetime.fromtimestamp(TUESDAY_TEN / SECOND_NS, UTC) + timedelta(hours=20)
        self.sessions.put(KiteSession("main", self.logins, f"s{self.logins}", APP.api_key, token, until))

    def connection(self, number: int, receiver: Any, silent: float = 5.0) -> TickerConnection:
        """A connection of ours."""
        return TickerConnection(
            number,
            self.server.ws_root,
            self.sessions,
            QUICK,
            receiver,
            wall_ns=self.exchange.clock.ns,
            silent_seconds=silent,
        )


@asynccontextmanager
async def rigged(rows: int = 400) -> AsyncIterator[Rig]:
    """A stub with a clock that stands at ten, and a session."""
    exchange = fixed_exchange(rows)
    exchange.wanders = False
    sessions = SessionFollower("main", lambda: datetime.fromtimestamp(TUESDAY_TEN / SECOND_NS, UTC))
    async with Server(exchange) as server:
        rig = Rig(server, sessions)
        rig.log_in()
        yield rig


@dataclass
class Feed:
    """Our feed, and the frames that it made."""

    feed: KiteFeed
    run: LiveRun
    framer: LiveFramer
    account: DataAccount
    directory: InstrumentDirectory
    frames: list[Frame] = field(default_factory=list)

    async def until(self, holds: Callable[[], object]) -> None:
        """Takes messages until something holds."""
        async with asyncio.timeout(10):
            while not holds():
                for message in await anext(self.run.messages):
                    self.frames += self.framer.frames(message)

    def ticks(self, token: int) -> list[tuple[int, int, int]]:
        """The ticks of an instrument: time, price, volume."""
        return [
            (frame.exchange_time[at], frame.last_price[at], frame.volume[at])
            for frame in self.frames
            for at, one in enumerate(frame.instrument_token)
            if one == token and frame.volume
        ]


@asynccontextmanager
async def feeding(rig: Rig, silent: float = 5.0, recorder: RawRecorder | None = None) -> AsyncIterator[Feed]:
    """Our feed on the stub, with a strategy on INFY."""
    directory, calendar = shipped_instruments(DAY), load_nse_calendar()
    streamed = StreamedInstruments(directory)
    streamed.strategy("one", ["NSE:INFY"])
    source = KiteSource(
        lambda receiver: TickerPool(lambda number: rig.connection(number, receiver, silent)),
        streamed,
        rig.exchange.clock.ns,
        recorder=recorder,
    )
    feed = cast("KiteFeed", open_feed("kite", FeedContext(7, 250, directory, calendar, DAY, {}, kite=source)))
    run = cast("LiveRun", await anext(feed.runs(None)))
    account = DataAccount()
    try:
        framer = LiveFramer(run.feed_run, directory, calendar, 4, shard_of, account)
        yield Feed(feed, run, framer, account, directory)
    finally:
        await feed.stop()


def trade(rig: Rig, rise: int, volume: int) -> tuple[int, int, int]:
    """INFY trades above its close, a second later; returns the tick that there should be."""
    quote = rig.exchange.market.quote(INFY)
    assert quote is not None
    price = quote.close + rise
    rig.exchange.clock.advance(1)
    now = rig.exchange.clock.ns()
    rig.exchange.market.trade([(INFY, price, volume)], now)
    return now, price, volume


async def test_every_trade_of_the_market_is_a_tick_whatever_the_ticker_does() -> None:
    """Repeated, overtaking, empty and broken messages, a cut connection: no tick is made up, none comes twice, none out of order."""
    async with rigged() as rig, feeding(rig) as ours:
        habits = rig.exchange.ticker.habits
        expected: list[tuple[int, int, int]] = []
        await ours.until(lambda: INFY in rig.exchange.ticker.subscribed())
        with capture_logs() as logs:
            for number, habit in enumerate(["", "repeat", "garbage", "out_of_order", "zero", ""]):
                if habit:
                    setattr(habits, habit, True)
                for step in range(4):
                    tick = trade(rig, 10 * (number + step), 1000 + 100 * number + step)
                    if habit != "zero":
                        expected.append(tick)
                    if habit not in {"out_of_order", "zero"}:
                        await ours.until(lambda tick=tick: ours.ticks(INFY)[-1:] == [tick])
                    else:
                        await asyncio.sleep(0.05)
                if habit:
                    setattr(habits, habit, False)
                if not number:
                    assert rig.exchange.ticker.cut()
                    await ours.until(lambda: rig.exchange.ticker.connected == 2)
        ticks = ours.ticks(INFY)
    assert set(ticks) <= set(expected)
    assert all(one[0] <= other[0] and one[2] < other[2] for one, other in pairwise(ticks))
    assert len(ticks) >= len(expected) - 4  # of those that overtook each other the older one is late
    dropped = {str(reason) for reason, count in ours.account.dropped.items() if count}
    assert dropped <= {"duplicate", "late", "not_positive", "not_traded_yet", "earlier_day"}
    assert {"duplicate", "not_positive"} <= dropped
    assert "feed.message_malformed" in {line["event"] for line in logs}


async def test_a_login_elsewhere_stops_the_feed_and_ours_heals_it() -> None:
    """The dead token is tried once; the next sign-in streams everything again, without a restart."""
    async with rigged() as rig, feeding(rig) as ours:
        await ours.until(lambda: rig.exchange.ticker.connections)
        rig.exchange.sessions.end(APP.api_key)
        rig.exchange.ticker.cut_sessionless()
        async with asyncio.timeout(5):
            while "kite login" not in ours.feed.problem:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert rig.exchange.ticker.refused == 1
        rig.log_in()
        await ours.until(lambda: INFY in rig.exchange.ticker.subscribed())
        tick = trade(rig, 100, 5000)
        await ours.until(lambda: tick in ours.ticks(INFY))
        assert not ours.feed.problem


async def test_a_silent_server_is_left_and_prices_go_on_with_the_next_connection() -> None:
    """Neither quotes nor heartbeats come, and the socket stays open: the watchdog sees it."""
    async with rigged() as rig, feeding(rig, silent=1.5) as ours:
        rig.exchange.ticker.habits.silent = True
        async with asyncio.timeout(5):
            while rig.exchange.ticker.connected < 2:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
        rig.exchange.ticker.habits.silent = False
        tick = trade(rig, 100, 7000)
        await ours.until(lambda: tick in ours.ticks(INFY))


async def test_recorded_messages_make_the_same_frames_again(tmp_path: Path) -> None:
    """Columns, times, numbers and names of the frames, figures as pykiteconnect reads them; a file that was cut has those before the cut."""
    async with rigged() as rig, feeding(rig, recorder=RawRecorder(tmp_path)) as ours:
        await ours.until(lambda: INFY in rig.exchange.ticker.subscribed())
        rig.exchange.ticker.habits.garbage = True
        for number in range(20):
            tick = trade(rig, 10 * (number % 5), 1000 + number)
            await ours.until(lambda tick=tick: ours.ticks(INFY)[-1:] == [tick])
    file = tmp_path / f"{ours.run.feed_run.replace(':', '-')}.raw.gz"
    whole = [one.payload for one in RawRecording(file).messages() if len(one.payload) > 1]
    read = 0
    for payload in whole:
        with suppress(MalformedMessage):
            read += sum(map(len, (group.token for group in decode(payload).groups)))
            require_as_pykiteconnect_reads(payload)
    assert read >= 20
    again = await replayed(file)
    assert [frame._replace(simulated=False) for frame in again][: len(ours.frames)] == ours.frames
    assert all(frame.simulated for frame in again)
    parser = KiteTicker.__new__(KiteTicker)
    for one in RawRecording(file).messages():
        with suppress(MalformedMessage):
            ours_read = {
                int(token): int(price)
                for group in decode(one.payload).groups
                for token, price in zip(group.token, group.last_price, strict=True)
            }
            theirs = {
                tick["instrument_token"]: tick["last_price"] for tick in parser._parse_binary(one.payload)
            }
            assert {token: price / 100 for token, price in ours_read.items()} == theirs
    file.write_bytes(file.read_bytes()[:-200])
    with capture_logs() as logs:
        assert 0 < len(await replayed(file)) <= len(again)
    assert "recording.ended_early" in {line["event"] for line in logs}


async def replayed(file: Path) -> list[Frame]:
    """The frames of a raw recording."""
    directory, calendar = shipped_instruments(DAY), load_nse_calendar()
    feed = open_feed(f"raw:{file}", FeedContext(7, 250, directory, calendar, DAY, {}))
    feed.check()
    frames: list[Frame] = []
    async for run in feed.runs(None):
        assert isinstance(run, LiveRun)
        framer = LiveFramer(
            run.feed_run,
            directory,
            run.calendar,
            4,
            shard_of,
            DataAccount(),
            simulated=True,
            owns_time=run.owns_time,
        )
        async for messages in run.messages:
            frames += [frame for message in messages for frame in framer.frames(message)]
    return frames


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(b"{}\n"), gzip.compress(b'{"form": "another 2"}\n')],
    ids=["empty", "not packed", "without a form", "of another form"],
)
def test_a_file_that_is_no_raw_recording_is_refused(content: bytes, tmp_path: Path) -> None:
    """Before anything is started."""
    file = tmp_path / "a.raw.gz"
    file.write_bytes(content)
    context = FeedContext(7, 250, shipped_instruments(DAY), load_nse_calendar(), DAY, {})
    with pytest.raises(InvalidInput, match="raw recording"):
        open_feed(f"raw:{file}", context)
    for wanted in ("raw:", f"raw:{tmp_path}/none"):
        with pytest.raises(InvalidInput):
            open_feed(wanted, context)


async def test_a_gap_is_told_with_its_times_and_so_is_what_never_comes() -> None:
    """Of the feed, and of each instrument; one that the exchange doesn't list gets no packet."""
    async with rigged() as rig, feeding(rig) as ours:
        await ours.until(lambda: ours.ticks(INFY) or rig.exchange.ticker.subscribed())
        tick = trade(rig, 10, 1000)
        await ours.until(lambda: ours.ticks(INFY)[-1:] == [tick])
        del rig.exchange.market.listing.by_token[NIFTY]
        assert rig.exchange.ticker.cut()
        rig.exchange.clock.advance(5)
        await ours.until(lambda: rig.exchange.ticker.connected == 2)
        tick = trade(rig, 20, 2000)
        await ours.until(lambda: ours.ticks(INFY)[-1:] == [tick])
        rig.exchange.clock.advance(60)
        status = ours.feed.live()
        view = LiveView(
            status,
            ours.feed.problem,
            lambda token: ours.framer.seen(token) * (token != NIFTY),
            ours.directory,
        )
        told = view.message(rig.exchange.clock.ns())
        infy = view.stream(INFY)
    assert [(one.connection, one.state, one.connects, one.instruments) for one in told.connections] == [
        (0, "connected", 2, 2), (1, "idle", 0, 0), (2, "idle", 0, 0)
    ]  # fmt: skip
    (gap,) = told.gaps
    assert gap.instruments == 2
    assert gap.ended_at.ToNanoseconds() - gap.began_at.ToNanoseconds() == 5 * SECOND_NS
    assert (told.instruments, told.messages_lost, told.problem) == (2, 0, "")
    assert infy is not None
    assert (infy.mode, infy.received_at.ToNanoseconds(), infy.last_gap) == ("full", tick[0], gap)
    assert view.stream(738561) is None
    assert list(told.without_packets) == ["NSE:NIFTY 50"]
    assert "no packet came of NSE:NIFTY 50" in missing_packets(told.without_packets)
    assert not missing_packets(())


def test_gaps_go_on_until_something_comes_and_the_latest_are_kept() -> None:
    """A link that flaps makes one gap, not one for each attempt; an idle connection makes none."""
    gaps = FeedGaps()
    gaps.lost(0, 5, 0)
    assert not gaps.latest()
    gaps.lost(0, 10, 3)
    gaps.lost(0, 20, 3)
    assert gaps.came(1, 25) is None
    assert [(one.began_ns, one.ended_ns) for one in gaps.latest()] == [(10, 0)]
    for number in range(30):
        ended = gaps.came(0, 100 + number)
        assert ended is not None
        gaps.lost(0, 100 + number, 3)
    assert [one.ended_ns for one in gaps.latest()] == [0, *range(129, 110, -1)]


class Tokens:
    """Remembers whose packets came on which connection."""

    def __init__(self) -> None:
        self.by_connection: dict[int, set[int]] = {}

    def message(self, connection: int, _: int, payload: bytes) -> None:
        """Reads the tokens."""
        for group in decode(payload).groups:
            self.by_connection.setdefault(connection, set()).update(group.token.tolist())

    def text(self, _: int, __: int, message: Mapping[str, Any]) -> None:
        """The server has nothing to object to."""
        raise AssertionError(message)

    def disconnected(self, _: int, __: int) -> None:
        """Nothing."""


async def test_7500_instruments_are_streamed_by_three_connections() -> None:
    """Each of them on one connection, none of which has more than 3,000; with 9,001 the last one is left out and named."""
    async with rigged(rows=9_300) as rig:
        tokens = [one for one in rig.exchange.market.listing.by_token if one & 0xFF != 9]
        assert len(tokens) > 9_000
        received = Tokens()
        pool = TickerPool(lambda number: rig.connection(number, received))
        await pool.start()
        try:
            pool.want(dict.fromkeys(tokens[:7_500], Mode.QUOTE))
            async with asyncio.timeout(20):
                while sum(map(len, received.by_connection.values())) < 7_500:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.02)
            assert [len(one) for _, one in sorted(received.by_connection.items())] == [3_000, 3_000, 1_500]
            assert set().union(*received.by_connection.values()) == set(tokens[:7_500])
            assert all(one.state is TickerState.CONNECTED for one in pool.statuses)
            pool.want(dict.fromkeys(tokens[:9_001], Mode.QUOTE))
            assert list(pool.left_out) == tokens[9_000:9_001]
            assert str(tokens[9_000]) in pool.problem
        finally:
            await pool.stop()
