"""Zerodha's books beside ours, end to end: trading at the stub exchange, portfolio's books, and a reconciliation over real HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import grpc
import pytest
import structlog
from google.protobuf.message import Message
from kiteconnect import KiteConnect
from tests.kite_exchange.account import Holding
from tests.kite_exchange.exchange import APP
from trading_room import NOON
from zerodha_room import SYMBOL, Live, Opened, at_the_stub

from alphapanda.consuming.delivery import Delivery
from alphapanda.contract.topics import TopicMap
from alphapanda.contract.wire import decimal
from alphapanda.domain.order import OrderStatus, Product
from alphapanda.eventlog.port import StoredRecord
from alphapanda.kite.options import KiteOptions
from alphapanda.kite.rest import KiteRest
from alphapanda.mesh.errors import FailedPrecondition, NotFound, Unavailable
from alphapanda.portfolio.brokers.kite_books import ZerodhaBooks
from alphapanda.portfolio.consumer import PortfolioConsumer
from alphapanda.portfolio.core.discrepancies import Discrepancy
from alphapanda.portfolio.core.discrepancy import Kind, State, Unit
from alphapanda.portfolio.manager import PortfolioManager
from alphapanda.portfolio.reconciler import Outcome, Reconciler
from alphapanda.portfolio.reconciliation_api import ReconciliationApi
from alphapanda.portfolio.store.contract_notes import ContractNotes
from alphapanda.portfolio.store.discrepancies import DiscrepancyStore
from alphapanda.portfolio.store.port import AccountName
from alphapanda.portfolio.store.postgres import PostgresPortfolioStore
from alphapanda.storage.outbox import Outbox
from alphapanda.trading.foreign import ForeignTrades
from panda.common.v1 import common_pb2 as common
from panda.events.v1 import orders_pb2
from panda.events.v1.events_pb2 import Event
from panda.portfolio.v1 import portfolio_pb2 as portfolio
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
    store: PostgresPortfolioStore
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

    async def book(self, found: Discrepancy, **told: Any) -> portfolio.Discrepancy:
        """Books a discrepancy, as a person says."""
        api = ReconciliationApi(
            self.store,
            self.reconciler,
            self.discrepancies,
            lambda: NOON,
            ContractNotes(self.live.room.engine),
            "default",
        )
        request = portfolio.ResolveDiscrepancyRequest(
            request_id=str(uuid4()),
            discrepancy_id=found.discrepancy_id,
            resolution=portfolio.DISCREPANCY_RESOLUTION_BOOKED,
            reason="as the broker has it",
            **told,
        )
        answer = await api.ResolveDiscrepancy(request, None)
        assert await api.ResolveDiscrepancy(request, None) == answer
        return answer.discrepancy

    async def positions(self) -> dict[tuple[str, str], tuple[int, Decimal, Decimal]]:
        """Quantity, cost and realised profit by strategy and product; trading holds the same quantities, and the books are proved."""
        assert await self.store.disagreements(NAME) == []
        found = await self.store.positions(NAME, strategy_id="", include_flat=True, after=None, limit=99)
        rows = await self.live.room.rows(
            "SELECT strategy_id, product, quantity FROM trading.positions WHERE quantity <> 0"
        )
        assert {(row.strategy_id, Product(row.product).name): row.quantity for row in rows} == {
            (one.key.strategy_id, one.key.product.name): one.quantity for one in found if one.quantity
        }
        return {
            (one.key.strategy_id, one.key.product.name): (one.quantity, one.cost, one.realised)
            for one in found
        }

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

    async def AdjustPositions(self, request: Message) -> trading.AdjustPositionsResponse:  # noqa: N802
        answer = await self._live.room.api.AdjustPositions(request, None)
        assert await self._live.room.api.AdjustPositions(request, None) == answer, (
            "once, however often it is asked"
        )
        assert self.books is not None
        await self.books.arrive()
        return answer

    async def SetInstrumentHalts(  # noqa: N802
        self, request: risk.SetInstrumentHaltsRequest
    ) -> risk.SetInstrumentHaltsResponse:
        assert self.books is not None
        self.books.told.append(request)
        return risk.SetInstrumentHaltsResponse(revision=request.revision)


def _kite(live: Live) -> KiteConnect:
    """A phone of the same person."""
    return KiteConnect(
        APP.api_key, access_token=live.follower.newest.access_token, root=live.stub.server.api_root
    )


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
        books = services.books = Books(
            live, PortfolioConsumer(manager, store), discrepancies, reconciler, store
        )
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


async def test_rule_8_a_conversion_made_elsewhere_is_booked_by_a_persons_word(opened: Opened) -> None:
    """MIS became CNC on a phone: it halts; booked, units and their cost move, nothing is realised, and the halt is over."""
    async with books_at_the_stub(opened) as books:
        live = books.live
        verdict = live.signal()
        await live.room.handle(verdict)
        assert (await live.room.ended(verdict)).status is OrderStatus.FILLED
        await books.arrive()
        [((who, _), (quantity, cost, _))] = (await books.positions()).items()
        cash = (await books.store.books(NAME)).cash  # type: ignore[union-attr]
        form = {
            "exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": "BUY", "position_type": "day", "quantity": 4,
            "old_product": "MIS", "new_product": "CNC",
        }  # fmt: skip
        assert await asyncio.to_thread(_kite(live).convert_position, **form)
        outcome = await books.reconcile()
        [found] = outcome.alive
        assert (found.difference.kind, found.state) == (Kind.PRODUCT_CONVERTED, State.OPEN)
        assert [one.instrument_id for one in books.told[-1].halts] == [SYMBOL]
        booked = await books.book(found)
        assert booked.resolution == portfolio.DISCREPANCY_RESOLUTION_BOOKED
        moved = cost * 4 / quantity
        assert await books.positions() == {
            (who, "MIS"): (6, cost - moved, Decimal(0)),
            (who, "CNC"): (4, moved, Decimal(0)),
        }
        assert (await books.store.books(NAME)).cash == cash  # type: ignore[union-attr]
        outcome = await books.reconcile()
        assert (outcome.look.found, outcome.alive, books.told[-1].halts[:]) == ([], [], [])


async def test_a_split_is_booked_once_at_the_same_cost_or_not_at_all(opened: Opened) -> None:
    """1 into 2: twice the units at their cost, in trading and in the ledger; of a position that has changed since, nothing is booked."""
    async with books_at_the_stub(opened) as books:
        verdict = books.live.signal()
        await books.live.room.handle(verdict)
        await books.live.room.ended(verdict)
        await books.arrive()
        [((who, product), (quantity, cost, _))] = (await books.positions()).items()
        split = trading.AdjustPositionsRequest(
            subject_id=str(uuid4()),
            broker="zerodha",
            account="default",
            instrument_id=SYMBOL,
            kind=orders_pb2.ADJUSTMENT_KIND_CORPORATE_ACTION,
            reason="1 into 2",
            adjustments=[
                trading.PositionAdjustment(
                    strategy_id=who,
                    product=common.Product.Value(f"PRODUCT_{product}"),
                    held=quantity,
                    units=quantity,
                    price=decimal(cost / (2 * quantity)),
                )
            ],
        )
        for _ in range(2):
            [order_id] = (await books.live.room.api.AdjustPositions(split, None)).order_ids
            await books.arrive()
        assert await books.positions() == {(who, product): (2 * quantity, cost, Decimal(0))}
        stored = await books.live.room.store.find(order_id)
        assert stored is not None
        assert stored.order.message == "corporate action, nothing was traded: 1 into 2"
        split.subject_id = str(uuid4())
        with pytest.raises(FailedPrecondition, match=f"trading holds {2 * quantity}"):
            await books.live.room.api.AdjustPositions(split, None)
        entries = await books.store.ledger(NAME, strategy_id=who, after=0, limit=99)
        assert [one.amount for one in entries][-2:] == [-cost, cost]


async def test_rule_9_a_strategy_against_a_sale_by_phone_has_a_way_out(opened: Opened) -> None:
    """Sold by phone, then bought by a strategy: the account is flat. Booked, the strategy is flat, too, and what was sold pays."""
    async with books_at_the_stub(opened) as books:
        live = books.live
        live.desk.elsewhere("SELL", 10)
        await ForeignTrades(live.room.context).look()
        verdict = live.signal()
        await live.room.handle(verdict)
        await live.room.ended(verdict)
        await books.arrive()
        [found] = (await books.reconcile()).alive
        assert found.difference.kind is Kind.OPPOSED
        held = await books.positions()
        await books.book(found)
        assert {who: one[0] for who, one in (await books.positions()).items()} == dict.fromkeys(held, 0)
        assert sum(one[2] for one in (await books.positions()).values()) == -sum(
            one[1] for one in held.values()
        )
        outcome = await books.reconcile()
        assert (outcome.look.found, outcome.alive) == ([], [])


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
