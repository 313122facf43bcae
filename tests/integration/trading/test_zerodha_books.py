"""Zerodha's books beside ours, end to end: trading at the stub exchange, portfolio's books, and a reconciliation over real HTTP."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

import grpc
import pytest
import structlog
from google.protobuf.message import Message
from tests.kite_exchange.account import Holding
from tests.kite_exchange.exchange import APP
from trading_room import NOON
from zerodha_room import SYMBOL, Live, Opened, at_the_stub

from alphapanda.consuming.delivery import Delivery
from alphapanda.contract.topics import TopicMap
from alphapanda.domain.order import OrderStatus, Product
from alphapanda.eventlog.port import StoredRecord
from alphapanda.kite.options import KiteOptions
from alphapanda.kite.rest import KiteRest
from alphapanda.mesh.errors import NotFound, Unavailable
from alphapanda.portfolio.brokers.kite_books import ZerodhaBooks
from alphapanda.portfolio.consumer import PortfolioConsumer
from alphapanda.portfolio.core.discrepancy import Kind, State, Unit
from alphapanda.portfolio.manager import PortfolioManager
from alphapanda.portfolio.reconciler import Outcome, Reconciler
from alphapanda.portfolio.store.discrepancies import DiscrepancyStore
from alphapanda.portfolio.store.port import AccountName
from alphapanda.portfolio.store.postgres import PostgresPortfolioStore
from alphapanda.storage.outbox import Outbox
from alphapanda.trading.foreign import ForeignTrades
from panda.events.v1.events_pb2 import Event
from panda.risk.v1 import risk_pb2 as risk
from panda.trading.v1 import trading_pb2 as trading

NAME = AccountName("zerodha", "default")


@dataclass
class Books:
    """Portfolio beside a trading room, with risk in memory."""

    live: Live
    consumer: PortfolioConsumer
    discrepancies: DiscrepancyStore
    reconciler: Reconciler
    told: list[risk.SetInstrumentHaltsRequest] = field(default_factory=list)
    booked: set[str] = field(default_factory=set)

    async def arrive(self) -> None:
        """What trading has published reaches portfolio."""
        rows = await self.live.room.rows("SELECT value FROM trading.outbox ORDER BY seq")
        for row in rows:
            event = Event.FromString(bytes(row.value))
            if event.WhichOneof("payload") == "order_filled" and event.event_id not in self.booked:
                self.booked.add(event.event_id)
                await self.consumer.handle(
                    [Delivery(event, event.broker, StoredRecord("topic", 0, 1, b"", b"", (), 0))]
                )

    async def reconcile(self) -> Outcome:
        return await self.reconciler.reconcile(NAME)

    def held_outside(self, quantity: int) -> None:
        """A person's own shares at the broker."""
        self.live.stub.do(
            lambda exchange: exchange.desk.account(APP.user_id).holdings.update(
                INFY=Holding(exchange.market.listing.by_key[SYMBOL], "INE009A01021", quantity, Decimal(100))
            )
        )


class Services:
    """TradingService and RiskService as portfolio calls them."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self.books: Books | None = None

    async def ListOrders(self, request: Message) -> trading.ListOrdersResponse:  # noqa: N802
        return await self._live.room.api.ListOrders(request, None)

    async def GetBrokerComparison(self, request: Message) -> trading.GetBrokerComparisonResponse:  # noqa: N802
        return await self._live.room.api.GetBrokerComparison(request, None)

    async def RecheckOrder(self, request: Message) -> trading.RecheckOrderResponse:  # noqa: N802
        try:
            answer = await self._live.room.api.RecheckOrder(request, None)
        except Unavailable as error:
            nothing = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, nothing, nothing, str(error)) from error
        assert self.books is not None
        await self.books.arrive()
        return answer

    async def SetInstrumentHalts(  # noqa: N802
        self, request: risk.SetInstrumentHaltsRequest
    ) -> risk.SetInstrumentHaltsResponse:
        assert self.books is not None
        self.books.told.append(request)
        return risk.SetInstrumentHaltsResponse(revision=request.revision)


@asynccontextmanager
async def books_at_the_stub(opened: Opened) -> AsyncIterator[Books]:
    """A trading room at the stub, and portfolio on the same database."""
    async with at_the_stub(opened) as live:
        store = PostgresPortfolioStore(live.room.engine, Outbox("portfolio", TopicMap(("zerodha",))))
        await store.open_account(NAME, Decimal(0))
        manager = PortfolioManager(
            {"zerodha": Decimal(0)}, "default", store, live.room.prices, lambda: live.desk.directory
        )
        discrepancies, services = DiscrepancyStore(live.room.engine), Services(live)
        rest = KiteRest(
            KiteOptions(api_root=live.stub.server.api_root),
            live.follower,
            structlog.get_logger(),
            time.monotonic,
            lambda: datetime.now(UTC),
            NOON.date,
        )
        reader = ZerodhaBooks({"default": rest}, lambda: live.desk.directory, NOON.date)
        reconciler = Reconciler(
            store, discrepancies, {"zerodha": reader}, services, services, lambda: NOON, confirm_seconds=0.0
        )
        books = services.books = Books(live, PortfolioConsumer(manager, store), discrepancies, reconciler)
        yield books
        rest.stop()


async def test_what_was_traded_and_booked_agrees_with_zerodhas_books(opened: Opened) -> None:
    """Orders by tag, fills by trade id, positions and money; a person's own shares are remembered, and nothing is halted."""
    async with books_at_the_stub(opened) as books:
        verdict = books.live.signal()
        await books.live.room.handle(verdict)
        assert (await books.live.room.ended(verdict)).status is OrderStatus.FILLED
        await books.arrive()
        books.held_outside(7)
        outcome = await books.reconcile()
        assert [one.difference.kind for one in outcome.agreed] == [Kind.HELD_OUTSIDE]
        assert (list(outcome.alive), books.told[-1].halts[:]) == ([], [])
        outside = await books.discrepancies.outside(NAME)
        assert outside.units == {Unit(SYMBOL, Product.CNC): 7}
        money = await books.discrepancies.money(NAME)
        assert money is not None
        assert money.money.used > 0
        again = await books.reconcile()
        assert (again.look.found, again.alive) == ([], [])


async def test_rule_7_a_fill_that_trading_missed_is_looked_up_and_booked_once(opened: Opened) -> None:
    """The answer was lost and nobody looks it up: the reconciliation has trading ask for the order, and the books agree."""
    async with books_at_the_stub(opened) as books:
        live = books.live
        live.fault("html_done")
        live.fault("error", method="GET", path="/orders", status=503)
        verdict = live.signal()
        await live.room.handle(verdict)
        await live.order_when(verdict, lambda order: order.status is OrderStatus.UNKNOWN)
        await live.room.executor.stop()
        outcome = await books.reconcile()
        assert list(outcome.alive) == []
        stored = await live.room.store.find((await live.room.ended(verdict)).order_id)
        assert stored is not None
        assert (stored.order.status, stored.order.filled) == (OrderStatus.FILLED, 10)
        assert (await books.reconcile()).look.found == []
        request = trading.RecheckOrderRequest(
            order_id=stored.order.order_id, intent_id=stored.order.intents[0].intent_id
        )
        again = await live.room.api.RecheckOrder(request, None)
        assert (again.found, again.order.state.filled_quantity) == (True, 10)
        with pytest.raises(NotFound):
            await live.room.api.RecheckOrder(
                trading.RecheckOrderRequest(order_id=str(uuid4()), intent_id=str(uuid4())), None
            )


async def test_rule_9_a_trade_made_elsewhere_agrees_once_trading_has_booked_it(opened: Opened) -> None:
    """By phone: suspected until it is adopted, in parts where it closes what several strategies hold; nothing is halted for it."""
    async with books_at_the_stub(opened) as books:
        verdict = books.live.signal()
        await books.live.room.handle(verdict)
        await books.live.room.ended(verdict)
        await books.arrive()
        books.live.desk.elsewhere("SELL", 14)  # ours, and four more
        outcome = await books.reconcile()
        assert [(one.difference.kind, one.state) for one in outcome.alive] == [
            (Kind.FOREIGN_FILL, State.SUSPECTED)
        ]
        await ForeignTrades(books.live.room.context).look()
        await books.arrive()
        outcome = await books.reconcile()
        assert (outcome.look.found, outcome.alive, books.told[-1].halts[:]) == ([], [], [])


async def test_books_that_zerodha_does_not_tell_whole_are_not_compared(opened: Opened) -> None:
    """One question of five fails, or nobody is signed in: nothing is compared, and the words say what to do."""
    async with books_at_the_stub(opened) as books:
        books.live.fault("error", method="GET", path="/portfolio/holdings", status=502)
        outcome = await books.reconcile()
        assert "holdings" in outcome.look.problem
        books.live.stub.do(lambda exchange: exchange.sessions.end(APP.api_key))
        for _ in range(2):  # Zerodha refuses; then we know
            outcome = await books.reconcile()
            assert outcome.look.problem.endswith("run `alphapanda kite login`")
        assert books.told == []
