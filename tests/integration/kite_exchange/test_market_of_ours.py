"""Our own market data from the stub exchange: the day's instruments, and bars of the past, by our client of Kite's HTTP API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import cast

import grpc
import pytest
import structlog
from kiteconnect import KiteConnect
from structlog.testing import capture_logs
from tests.integration.kite_exchange.conftest import TUESDAY_TEN
from tests.kite_exchange import control_routes
from tests.kite_exchange.exchange import APP
from tests.kite_exchange.faults import Fault
from tests.kite_exchange.server import ServerThread

from alphapanda.app.instruments import known_instruments
from alphapanda.app.kite import kite_options
from alphapanda.app.kite_market import daily_dump, kite_history
from alphapanda.contract.topics import TopicMap
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.order import Product
from alphapanda.domain.routing import ExecutionRouter
from alphapanda.eventlog.port import EventLog
from alphapanda.instruments.core import shipped_instruments
from alphapanda.instruments.registry import InstrumentRegistry
from alphapanda.kite.rest import KiteRest
from alphapanda.kite.session import KiteSession, SessionFollower
from alphapanda.marketdata.api import MarketDataServicer
from alphapanda.marketdata.core.historical import INTERVALS, span_end
from alphapanda.mesh.errors import FailedPrecondition, Unavailable
from alphapanda.settings.model import Settings
from alphapanda.settings.sources import load_settings
from alphapanda.strategy.core.config import StrategyConfig, StrategyInstrument, StrategyState
from alphapanda.strategy.core.host import StrategyHost
from alphapanda.strategy.core.registry import StrategyRegistry
from alphapanda.strategy.earlier_bars import MarketDataBars
from alphapanda.strategy.warm_up_reader import WarmUpReader
from panda.marketdata.v1.marketdata_pb2_grpc import (
    MarketDataServiceStub,
    add_MarketDataServiceServicer_to_server,
)

TODAY = date(2026, 12, 1)


@pytest.fixture
def settings(stub: ServerThread, tmp_path) -> Settings:
    return load_settings(
        {}, zerodha={"api_root": stub.server.api_root}, instruments={"file": tmp_path / "instruments.sqlite"}
    )


@pytest.fixture
def followers() -> Mapping[str, SessionFollower]:
    """Two accounts."""
    return {name: SessionFollower(name, lambda: datetime.now(UTC)) for name in ("first", "second")}


@pytest.fixture
async def rest(
    settings: Settings, kite: KiteConnect, followers: Mapping[str, SessionFollower]
) -> AsyncIterator[Mapping[str, KiteRest]]:
    """Nobody is signed in at the first account."""
    followers["second"].put(KiteSession("second", 1, "s", APP.api_key, kite.access_token))
    options, log = kite_options(settings), structlog.get_logger()
    made = {
        name: KiteRest(options, follower, log, time.monotonic, lambda: datetime.now(UTC), lambda: TODAY)
        for name, follower in followers.items()
    }
    yield made
    for one in made.values():
        one.stop()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("interval", INTERVALS.values(), ids=INTERVALS)
async def test_bars_of_every_length_come_as_kite_gives_them(rest: Mapping[str, KiteRest], interval) -> None:
    """The longest span that Kite allows is answered; prices are exact, times aware, what an index lacks is 0."""
    source, infy = kite_history(rest), shipped_instruments(TODAY).by_symbol("NSE:INFY")
    first = date(2026, 1, 1)
    bars = await source.bars(infy, interval, first, span_end(first, date(2026, 6, 30), interval.most_days))
    starts = [bar.start for bar in bars]
    assert starts == sorted(set(starts))
    assert starts[0].tzinfo is not None
    assert all(bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high for bar in bars)
    assert all(bar.close == bar.close.quantize(infy.tick_size) for bar in bars)
    assert bars[0].volume > 0


async def test_what_goes_wrong_with_bars_says_whose_fault_it_is(
    stub: ServerThread, rest: Mapping[str, KiteRest]
) -> None:
    """An instrument that Kite doesn't know, a broker that fails, nobody signed in: each has a status of its own."""
    source, infy = kite_history(rest), shipped_instruments(TODAY).by_symbol("NSE:INFY")
    asked = (infy, INTERVALS["1m"], date(2026, 11, 2), date(2026, 11, 6))
    broken = Fault(kind="error", path="/instruments/historical/*", status=500)
    stub.do(lambda exchange: exchange.script.add([broken]))
    with pytest.raises(Unavailable) as failed:
        await source.bars(*asked)
    assert failed.value.reason == "BROKER_FAILED"
    with pytest.raises(InvalidInput, match="exceeds max limit: 60 days"):
        await source.bars(asked[0], INTERVALS["1m"], date(2026, 1, 1), date(2026, 6, 1))
    stub.do(lambda exchange: exchange.sessions.end(APP.api_key))
    with capture_logs(), pytest.raises((FailedPrecondition, Unavailable)):
        await source.bars(*asked)
    with pytest.raises(FailedPrecondition, match="alphapanda kite login") as nobody:
        await source.bars(*asked)
    assert nobody.value.reason == "BROKER_SESSION_NEEDED"


async def test_the_days_dump_is_imported_with_the_session_that_there_is(
    stub: ServerThread, rest: Mapping[str, KiteRest], settings: Settings
) -> None:
    """Nobody is signed in at the first account; the second one's session does."""
    dump = daily_dump(settings, rest)
    await dump.start()
    await until(lambda: dump.state.last is not None or bool(dump.state.problem))
    assert dump.state.problem == ""
    registry = InstrumentRegistry(settings.instruments.file)
    assert dump.state.last.listed == 400
    assert 300 < registry.count() < 400, "expired contracts are known, and have no token"
    assert known_instruments(settings, TODAY).by_symbol("NSE:INFY").instrument_token == 408065
    await dump.stop()


@pytest.mark.parametrize(
    ("spoilt", "why"), [("empty", "with instruments"), ("cut", "cut off"), ("shrunken", "two thirds")]
)
async def test_a_spoilt_dump_leaves_the_instruments_as_they_were(
    stub: ServerThread, rest: Mapping[str, KiteRest], settings: Settings, spoilt, why
) -> None:
    """Empty, cut, or with less than two thirds of the last one's: an alarm says why."""
    registry = InstrumentRegistry(settings.instruments.file)
    first = daily_dump(settings, rest)
    await first.start()
    await until(lambda: first.state.last is not None)
    await first.stop()
    count = registry.count()
    stub.do(lambda exchange: control_routes.dump(exchange, {"is": spoilt}))
    again = daily_dump(settings, rest, lambda: datetime.now(UTC) + timedelta(days=1))
    with capture_logs() as lines:
        await again.start()
        await until(lambda: bool(again.state.problem))
    assert why in again.state.problem
    assert [line["event"] for line in lines if line.get("alarm")] == ["instruments.dump_refused"]
    assert registry.count() == count
    await again.stop()


async def test_a_strategy_is_warm_from_kites_bars_before_its_first_tick(
    rest: Mapping[str, KiteRest], followers: Mapping[str, SessionFollower]
) -> None:
    """Asked through market data as a strategy's process asks; where nobody is signed in it begins cold, and says what it lacks."""
    directory, calendar = shipped_instruments(TODAY), load_nse_calendar()
    server = grpc.aio.server()
    servicer = MarketDataServicer(None, directory, calendar, None, None, kite_history(rest))
    add_MarketDataServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    wanted = StrategyConfig(
        "warm", 1, state=StrategyState.RUNNING, strategy_type="ema_cross", brokers=(), quantity=10, product=Product.MIS,
        parameters={"fast": "3", "slow": "300", "interval": "1m"}, account="default", signal_ttl_seconds=60,
        instruments=(StrategyInstrument("NSE:INFY", 408065),),
    )  # fmt: skip

    def host() -> StrategyHost:
        return StrategyHost(
            directory, calendar, ExecutionRouter(("paper",)), StrategyRegistry(), max_errors=3
        )

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        earlier = MarketDataBars(MarketDataServiceStub(channel))
        log, topics = cast("EventLog", None), cast("TopicMap", None)  # there is no tick yet
        reader = WarmUpReader(log, topics, host, earlier, lambda: TUESDAY_TEN)
        warm = await reader.warmed({}, wanted)
        with capture_logs() as lines:
            followers["second"].put(KiteSession("second", 2, "s2", APP.api_key, None))
            cold = await reader.warmed({}, wanted)
    await server.stop(None)
    assert (warm.complete, warm.missing) == (True, 0)
    assert (cold.complete, cold.missing) == (False, 300)
    assert "kite login" in str([line for line in lines if line["event"] == "strategy.warm_up_bars_missing"])
