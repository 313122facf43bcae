"""A real Prometheus scrapes a platform that trades; every panel shows something, and every alert that is provoked fires."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import psutil
import pytest
from dealer import NAME, Dealer, DealersBook
from kafka_server import free_ports
from running import servers_of
from tests.observability.expressions import alerts, panels
from tests.observability.prometheus import Prometheus
from typing_extensions import override

from alphapanda.app.embedded import Embedded, UpOptions
from alphapanda.domain.broker_order import BrokerOrder
from alphapanda.eventlog.decode import from_record, to_record
from alphapanda.eventlog.port import Record, Start, StoredRecord
from alphapanda.mesh.channel import open_channel
from alphapanda.settings.sources import load_settings
from alphapanda.telemetry.logs import configure_logging
from alphapanda.telemetry.options import LoggingOptions
from alphapanda.trading.traders.brokers import BROKERS
from alphapanda.trading.traders.registry import BrokerRegistration
from alphapanda.trading.traders.trader import ExecutionMode, NoClearAnswer, Placement
from panda.common.v1.common_pb2 import PRODUCT_MIS, SIDE_BUY, SIDE_SELL, TRADING_STATE_REDUCING
from panda.marketdata.v1.marketdata_pb2 import WatchQuotesRequest
from panda.marketdata.v1.marketdata_pb2_grpc import MarketDataServiceStub
from panda.portfolio.v1.portfolio_pb2 import ListLedgerEntriesRequest
from panda.portfolio.v1.portfolio_pb2_grpc import PortfolioServiceStub
from panda.risk.v1.risk_pb2 import LimitValue, SetKillSwitchRequest, UpdateLimitsRequest
from panda.risk.v1.risk_pb2_grpc import RiskServiceStub
from panda.trading.v1.trading_pb2 import PlaceOrderRequest
from panda.trading.v1.trading_pb2_grpc import TradingServiceStub

EMPTY_IN_HEALTH: Final[Mapping[str, str]] = {
    "platform / Days until certificates end / {{instance}}": "there is no TLS",
}
"""The panels' queries that show nothing here, and why; all others have to show something."""

NOT_PROVOKED: Final[Mapping[str, str]] = {
    "CertificateExpiring": "there is no TLS",
    "OutboxStuck": "a thousand events that can't be published take too long",
    "SnapshotTooOld": "portfolio doesn't fall behind here",
}
"""The alerts that don't fire here, and why; all others have to, at some time."""

SERVICES: Final = [
    f"panda.{service}.v1.{name}Service"
    for service, name in (
        ("marketdata", "MarketData"),
        ("portfolio", "Portfolio"),
        ("risk", "Risk"),
        ("trading", "Trading"),
    )
]
PROVOKED_SECONDS: Final = 120.0


class Silent(Dealer):
    """A broker that answers nothing and shows no order, so that what becomes of an order stays unknown."""

    visibility_window = 3600.0

    @override
    async def execute_order(self, placement: Placement) -> BrokerOrder:
        raise NoClearAnswer("the line is dead")

    @override
    async def look_up(self, account: str, tag: str) -> BrokerOrder | None:
        return None


SILENT: Final = BrokerRegistration(
    NAME, live=False, build=lambda _: Silent(DealersBook(), ExecutionMode.PAPER)
)

EASILY_ALARMED: Final[Mapping[str, Any]] = {
    "active_brokers": ("paper", "zerodha", NAME),
    "monitoring": {"metrics_interval_seconds": 0.2},
    "calendar": {"warn_days": 365},
    "strategy": {"snapshot_interval_seconds": 0.1},
    "consumers": {"defaults": {"breaker_failures": 1, "bug_attempts": 1, "backoff_initial_seconds": 0.05}},
    "health_checks": {
        "interval_seconds": 0.2,
        "grace_seconds": 0,
        "tick_max_age_seconds": 0.001,
        "market_data_max_latency_seconds": 1e-6,
        "max_lag": 0,
        "max_memory": 0.001,
        "max_cpu": 0.001,
        "max_disk": 0.001,
    },
}
"""Limits that a healthy platform on a small machine exceeds."""


@dataclass
class Provoking:
    """A platform that trades, and to which everything happens that a figure tells of.

    Attributes:
        embedded: the platform.
        data_dir: where it keeps everything.
        channel: to its services.
    """

    embedded: Embedded
    data_dir: Path
    channel: grpc.aio.Channel
    requests: int = 0

    async def place(self, symbol: str, side: int, quantity: int, broker: str = "paper") -> None:
        """Places an order by hand; a refusal is an answer, too."""
        self.requests += 1
        request = PlaceOrderRequest(
            request_id=f"by-hand-{self.requests}",
            broker=broker,
            symbol=symbol,
            side=side,  # type: ignore[arg-type]
            quantity=quantity,
            product=PRODUCT_MIS,
        )
        await TradingServiceStub(self.channel).PlaceOrder(request, timeout=4)

    async def records(self, topic: str, seconds: float = 60.0) -> Sequence[StoredRecord]:
        """The topic's records, as soon as there is one."""
        assert self.embedded.log is not None
        reader = self.embedded.log.topic_reader([topic], Start.EARLIEST)
        await reader.start()
        try:
            async with asyncio.timeout(seconds):
                while not (found := list(await reader.fetch(500, 1.0))):
                    pass
                while more := await reader.fetch(500, 0.1):
                    found += more
            return found
        finally:
            await reader.stop()

    async def everything(self) -> None:
        """Refusals, dead letters, a parked key, a kill switch, the daily loss, an unknown order, an end of PostgreSQL and Redis."""
        risk, market = RiskServiceStub(self.channel), MarketDataServiceStub(self.channel)
        watch = market.WatchQuotes(WatchQuotesRequest(symbols=["NSE:INFY"]))
        await watch.read()
        await self.place("NSE:INFY", SIDE_BUY, 900_000)  # refused by a rule
        await self.place("NSE:INFY", SIDE_BUY, 1, NAME)  # nobody knows what became of it
        await self._parked_key()
        await self._dead_letters()
        await self._refused_calls()
        await risk.UpdateLimits(
            UpdateLimitsRequest(
                request_id="loss",
                broker="paper",
                account="default",
                set=[LimitValue(name="max_daily_loss", value="1")],
                reason="so that it trips",
            )
        )
        await self.place("NSE:TCS", SIDE_BUY, 5)
        await self.place("NSE:TCS", SIDE_SELL, 5)
        await risk.SetKillSwitch(
            SetKillSwitchRequest(
                request_id="switch", broker=NAME, state=TRADING_STATE_REDUCING, reason="so that it is set"
            )
        )
        self._kill("postgres")
        await asyncio.sleep(8)
        self._kill("redis")
        await asyncio.sleep(8)
        watch.cancel()

    async def breakers(self, seen: Callable[[], bool]) -> None:
        """Ends PostgreSQL until a breaker was seen open: it comes back so quickly that a handler may miss its absence."""
        for _ in range(30):
            if await asyncio.to_thread(seen):
                return
            self._kill("postgres")
            await asyncio.sleep(4)

    async def correlation_ids(self) -> set[str]:
        """Of all fills so far."""
        topics = self.embedded.topic_map
        assert topics is not None
        return {
            from_record(record, topics).correlation_id for record in await self.records("paper.orders.filled")
        }

    async def _dead_letters(self) -> None:
        assert self.embedded.log is not None
        garbage = [Record("paper.signals.raw", 0, b"garbage", bytes([number])) for number in range(8)]
        await self.embedded.log.publish(garbage)

    async def _parked_key(self) -> None:
        """Publishes a fill that the ledger can't hold: a bug to whoever books it. And again one that is booked: a duplicate."""
        log, topics = self.embedded.log, self.embedded.topic_map
        assert log is not None
        assert topics is not None
        filled = await self.records("paper.orders.filled")
        event = from_record(filled[0], topics)
        await log.publish([to_record(event, topics)])
        signal = from_record((await self.records("paper.signals.raw"))[0], topics)
        await log.publish([to_record(signal, topics)])
        event.event_id = "00000000-0000-5000-8000-000000000001"
        event.order_filled.fill_id = "00000000-0000-5000-8000-000000000002"
        event.order_filled.order.order_id = "00000000-0000-5000-8000-000000000003"
        event.order_filled.order.signal_id = "00000000-0000-5000-8000-000000000004"
        event.order_filled.order.strategy_id = "nobody"
        event.order_filled.price.value = "9" * 30
        await log.publish([to_record(event, topics)])

    async def _refused_calls(self) -> None:
        """More queries at once than a connection may have."""
        ask = PortfolioServiceStub(self.channel).ListLedgerEntries
        calls = [ask(ListLedgerEntriesRequest(), timeout=20) for _ in range(400)]
        await asyncio.gather(*calls, return_exceptions=True)

    def _kill(self, name: str) -> None:
        """Ends a server of the platform, which starts it again."""
        assert self.embedded.feeding is not None
        here = psutil.Process()
        for process in servers_of(self.data_dir):
            if process.pid != here.pid and process.name().startswith(name):
                process.kill()


async def _provoked(folder: Path, prometheus: Callable[[int], Prometheus]) -> Outcome:
    (figures,) = free_ports(1)
    settings = load_settings(
        {},
        api={"port": 0, "max_queries_per_connection": 2, "max_watches": 1},
        instruments={"file": folder / "instruments.sqlite"},
        **{**EASILY_ALARMED, "monitoring": EASILY_ALARMED["monitoring"] | {"prometheus_port": figures}},
    )
    configure_logging(LoggingOptions(), None, folder / "logs")  # errors are counted where they are logged
    embedded = Embedded(settings, UpOptions(data_dir=folder / "data", demo=True, brokers=(*BROKERS, SILENT)))
    await embedded.start()
    with prometheus(figures) as asked:
        try:
            async with open_channel(embedded.target, SERVICES) as channel:
                provoking = Provoking(embedded, folder / "data", channel)
                await provoking.everything()
                await provoking.breakers(lambda: bool(asked.so_far("alphapanda_breaker_open == 1")))
                shown = await asyncio.to_thread(_all_shown, asked)
                filled = await provoking.correlation_ids()
        finally:
            await embedded.stop()
        await asyncio.sleep(2)
        fired = {name: bool(asked.so_far(alert["expr"])) for name, alert in alerts().items()}
        exemplars = asked.ask(
            "query_exemplars",
            query="alphapanda_stage_order_to_fill_seconds_bucket",
            start=asked.began,
            end=time.time(),
        )
        traces = {one["labels"]["trace_id"] for series in exemplars for one in series["exemplars"]}
    return Outcome(shown, fired, traces, filled)


@dataclass(frozen=True)
class Outcome:
    """What Prometheus saw.

    Attributes:
        shown: whether each panel's query showed something.
        fired: whether each alert's expression held at some time.
        traces: trace ids of the exemplars of orders that were filled.
        correlation_ids: of fills.
    """

    shown: Mapping[str, bool]
    fired: Mapping[str, bool]
    traces: set[str]
    correlation_ids: set[str]


def _all_shown(asked: Prometheus) -> dict[str, bool]:
    """Whether each panel's query shows something; waits until all do, for as long as they may take."""
    until, shown = time.monotonic() + PROVOKED_SECONDS, dict.fromkeys((name for name, _ in panels()), False)
    while time.monotonic() < until and not all(shown[name] for name in shown if name not in EMPTY_IN_HEALTH):
        time.sleep(1.0)
        shown |= {name: bool(asked.so_far(expression)) for name, expression in panels() if not shown[name]}
    return shown


@pytest.fixture(scope="module")
def outcome(tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One platform, provoked once."""
    binary, folder = tool("prometheus"), tmp_path_factory.mktemp("panda")
    (port,) = free_ports(1)
    return asyncio.run(
        _provoked(folder, lambda target: Prometheus(binary, folder / "prometheus", port, target))
    )


def test_every_panel_shows_something(outcome: Outcome) -> None:
    """No query fails, and only those that are named show nothing."""
    assert {name for name, shown in outcome.shown.items() if not shown} == EMPTY_IN_HEALTH.keys()


def test_every_alert_that_is_provoked_fires(outcome: Outcome) -> None:
    """Each expression holds at some time, but for those that are named."""
    quiet = {name for name, fired in outcome.fired.items() if not fired}
    assert quiet <= NOT_PROVOKED.keys(), json.dumps(sorted(quiet))


def test_an_exemplar_is_the_trace_of_an_order(outcome: Outcome) -> None:
    """Its trace id is the correlation id of a fill, in 32 digits."""
    assert outcome.traces & {one.replace("-", "") for one in outcome.correlation_ids}
