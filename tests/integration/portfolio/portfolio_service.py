"""A portfolio service without servers, as the tests build it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.consuming.delivery import Delivery
from alphapanda.consuming.known_strategies import KnownStrategies
from alphapanda.contract import order_wire
from alphapanda.contract.topics import TopicMap
from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.margin import load_margin_model
from alphapanda.domain.market import LastPrice, MarketView
from alphapanda.eventlog.port import StoredRecord
from alphapanda.mesh.watches import Revisions
from alphapanda.portfolio.api import PortfolioApi
from alphapanda.portfolio.cache import BooksCache
from alphapanda.portfolio.consumer import PortfolioConsumer
from alphapanda.portfolio.manager import PortfolioManager
from alphapanda.portfolio.messages import PortfolioMessages
from alphapanda.portfolio.reader import PortfolioReader
from alphapanda.portfolio.reconciler import Reconciler
from alphapanda.portfolio.reconciliation import Reconciliation
from alphapanda.portfolio.slippage import SlippageReports
from alphapanda.portfolio.snapshots import Snapshots
from alphapanda.portfolio.store.port import Cause, ReceivedFill
from alphapanda.portfolio.store.postgres import PostgresPortfolioStore
from alphapanda.portfolio.watching import PortfolioWatches
from alphapanda.storage.outbox import Outbox
from panda.portfolio.v1 import portfolio_pb2 as portfolio

IST = ZoneInfo("Asia/Kolkata")
OPENED = datetime(2024, 1, 2, 4, 0, tzinfo=UTC)
INFY, TCS = 408065, 2953217


def instrument(symbol: str, token: int) -> Instrument:
    return Instrument(
        f"NSE:{symbol}", token, "NSE", symbol, symbol, "NSE", "EQ", Decimal("0.05"), 1, 0, "NSE_EQ"
    )


DIRECTORY = InstrumentDirectory([instrument("INFY", INFY), instrument("TCS", TCS)])


NOBODY: Any = None
"""In place of what reconciles accounts with a broker; tests of it build their own."""


@dataclass
class Market:
    """Stands for the price cache."""

    prices: dict[int, LastPrice] = field(default_factory=dict)

    async def view(self, tokens: Sequence[int]) -> MarketView:
        return MarketView(
            None, "run", {token: self.prices[token] for token in tokens if token in self.prices}
        )


class Service:
    """A portfolio service of one broker without servers."""

    def __init__(
        self, store, broker: str, market: Market, redis: Redis, interval: int = 300, brokers=()
    ) -> None:
        self.broker = broker
        self.store = store
        self.market = market
        self.manager = PortfolioManager(
            dict.fromkeys(brokers or [broker], Decimal(1_000_000)),
            "default",
            store,
            market,
            lambda: DIRECTORY,
        )
        self.snapshots = Snapshots(
            store, self.manager, market, timedelta(seconds=interval), IST, lambda: OPENED, coalesce_seconds=60
        )
        self.reconciliation = Reconciliation(self.manager, 3600)
        self.revisions = Revisions(store.revisions, 0.02)
        self.consumer = PortfolioConsumer(
            self.manager, store, [self.snapshots.booked, lambda _: self.revisions.poll_now()]
        )
        margins = {"paper": load_margin_model()}  # a live broker keeps its own funds
        messages = PortfolioMessages(lambda: DIRECTORY, margins)
        reader = PortfolioReader(
            store, BooksCache(store, redis), self.manager, messages, lambda: self.snapshots.trading_day
        )
        watches = PortfolioWatches(store, reader, messages, self.revisions)
        self.strategies = KnownStrategies(grace_seconds=0.0)
        self.api = PortfolioApi(
            store,
            self.manager,
            reader,
            watches,
            messages,
            brokers or [broker],
            self.strategies,
            "default",
            Reconciler(store, NOBODY, {}, NOBODY, NOBODY, lambda: OPENED),
            NOBODY,
            lambda: OPENED,
            SlippageReports(store, lambda: DIRECTORY),
            NOBODY,
        )

    async def start(self) -> None:
        for part in (self.manager, self.snapshots, self.reconciliation, self.revisions):
            await part.start()

    async def stop(self) -> None:
        for part in (self.revisions, self.reconciliation, self.snapshots, self.manager):
            await part.stop()

    async def fill(self, *batch: ReceivedFill) -> None:
        await self.consumer.handle([delivery(received.filled, received.correlation_id) for received in batch])

    def tick(self, token: int, price: str, seconds: int) -> None:
        at = nanoseconds(OPENED + timedelta(seconds=seconds))
        self.manager.handle_frame(Frame("run", 0, 1, at, 100, [token], [int(Decimal(price) * 100)], [at]))

    async def frame(self, token: int, price: str, seconds: int) -> None:
        """A frame as the service follows it: what is due before it, then its marks."""
        at = nanoseconds(OPENED + timedelta(seconds=seconds))
        await self.snapshots.before(at, Cause(str(uuid4()), str(uuid4())))
        self.tick(token, price, seconds)

    async def portfolio(self) -> portfolio.Portfolio:
        request = portfolio.GetPortfolioRequest(broker=self.broker)
        return (await self.api.GetPortfolio(request, None)).portfolio


def delivery(update, correlation_id: str) -> Delivery:
    event = order_wire.order_event(
        update,
        event_id=str(uuid4()),
        correlation_id=correlation_id,
        causation_id=str(uuid4()),
        source="trading",
        occurred_at=OPENED,
    )
    return Delivery(event, event.broker, StoredRecord("topic", 0, 1, b"", b"", (), 0))


def stored_in(engine: AsyncEngine) -> PostgresPortfolioStore:
    """The store in PostgreSQL, as the service builds it."""
    return PostgresPortfolioStore(engine, Outbox("portfolio", TopicMap(("paper", "other"))))
