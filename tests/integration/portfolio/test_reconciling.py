"""A reconciliation on PostgreSQL: rows, healing, halts, resolving, and who can't be asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import grpc
import pytest
from portfolio_fills import OPENED, Fills
from portfolio_service import DIRECTORY, stored_in
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.contract.wire import timestamp
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.domain.order import Product, Side
from alphapanda.mesh.errors import FailedPrecondition, NotFound
from alphapanda.portfolio.broker_reconciliation import BrokerReconciliation
from alphapanda.portfolio.brokers.reader import BooksUnreadable, BrokerReader
from alphapanda.portfolio.core.discrepancy import Kind, Unit
from alphapanda.portfolio.core.reconciled_books import (
    BrokerBooks,
    BrokerMoney,
    BrokerOrder,
    BrokerTrade,
    BrokerUnits,
)
from alphapanda.portfolio.reconciler import Reconciler
from alphapanda.portfolio.reconciliation_api import ReconciliationApi
from alphapanda.portfolio.store.contract_notes import ContractNotes
from alphapanda.portfolio.store.discrepancies import DiscrepancyStore
from alphapanda.portfolio.store.port import AccountName
from alphapanda.storage.requests import RequestReused
from panda.common.v1 import common_pb2 as common
from panda.events.v1 import orders_pb2
from panda.portfolio.v1 import portfolio_pb2 as portfolio
from panda.risk.v1 import risk_pb2 as risk
from panda.trading.v1 import trading_pb2 as trading

DAY = date(2024, 1, 2)
NOON = datetime(2024, 1, 2, 6, 30, tzinfo=UTC)
NAME = AccountName("zerodha", "default")
MONEY = BrokerMoney(*map(Decimal, ("1000", "900", "0", "800", "100", "0")))


class Broker(BrokerReader):
    """A live broker's books, as a test makes them."""

    is_live = True

    def __init__(self) -> None:
        self.books = BrokerBooks(DAY, money=MONEY)
        self.problem = ""

    async def read(self, name: AccountName) -> BrokerBooks:
        if self.problem:
            raise BooksUnreadable(self.problem)
        return self.books


class Away(grpc.aio.AioRpcError):
    def __init__(self) -> None:
        super().__init__(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "away")


@dataclass
class Others:
    """Trading and risk."""

    orders: list[trading.Order] = field(default_factory=list)
    held: list[trading.HeldQuantity] = field(default_factory=list)
    rechecked: list[str] = field(default_factory=list)
    told: list[risk.SetInstrumentHaltsRequest] = field(default_factory=list)
    on_recheck: Callable[[], None] = lambda: None
    risk_is_away: bool = False

    async def ListOrders(self, request: trading.ListOrdersRequest) -> trading.ListOrdersResponse:  # noqa: N802
        return trading.ListOrdersResponse(orders=[] if request.statuses else self.orders)

    async def GetBrokerComparison(self, _: object) -> trading.GetBrokerComparisonResponse:  # noqa: N802
        return trading.GetBrokerComparisonResponse(held=self.held)

    async def RecheckOrder(self, request: trading.RecheckOrderRequest) -> trading.RecheckOrderResponse:  # noqa: N802
        self.rechecked.append(request.intent_id)
        self.on_recheck()
        return trading.RecheckOrderResponse(found=True)

    async def SetInstrumentHalts(  # noqa: N802
        self, request: risk.SetInstrumentHaltsRequest
    ) -> risk.SetInstrumentHaltsResponse:
        if self.risk_is_away:
            raise Away
        self.told.append(request)
        return risk.SetInstrumentHaltsResponse(revision=request.revision, halts=request.halts)

    @property
    def halted(self) -> list[str]:
        """The instruments in which entries are refused."""
        assert [one.revision for one in self.told] == sorted({one.revision for one in self.told})
        return [one.instrument_id for one in self.told[-1].halts]


@dataclass
class Desk:
    """All parts of a reconciliation."""

    broker: Broker
    others: Others
    reconciler: Reconciler
    api: ReconciliationApi
    store: object
    discrepancies: DiscrepancyStore
    now: list[datetime]

    async def reconcile(self) -> portfolio.AccountReconciliation:
        request = portfolio.ReconcileRequest(request_id=str(uuid4()), broker="zerodha")
        [account] = (await self.api.Reconcile(request, None)).accounts
        return account

    async def book(self, n: int, units: int, price: str = "1500", product: Product = Product.CNC) -> None:
        """Books a fill, in portfolio and in trading."""
        fill = Fills("zerodha")(n, units, price, product=product)
        async with self.store.unit([fill], Decimal(0)) as unit:
            unit.book(fill)
        held = sum(one.quantity for one in self.others.held) + units
        self.others.held = [
            trading.HeldQuantity(
                account="default",
                instrument_id="NSE:INFY",
                product=common.Product.ValueType(product),
                quantity=held,
            )
        ]

    async def resolve(self, discrepancy_id: str, how: int, request_id: str = "r") -> portfolio.Discrepancy:
        request = portfolio.ResolveDiscrepancyRequest(
            request_id=request_id, discrepancy_id=discrepancy_id, resolution=how, reason="compared by hand"
        )
        return (await self.api.ResolveDiscrepancy(request, None)).discrepancy


@pytest.fixture
async def desk(engine: AsyncEngine) -> Desk:
    store, discrepancies = stored_in(engine), DiscrepancyStore(engine)
    await store.open_account(NAME, Decimal(0))
    broker, others, now = Broker(), Others(), [NOON]

    def clock() -> datetime:
        now[0] += timedelta(seconds=1)
        return now[0]

    reconciler = Reconciler(
        store, discrepancies, {"zerodha": broker}, others, others, clock, confirm_seconds=0.0
    )
    api = ReconciliationApi(store, reconciler, discrepancies, clock, ContractNotes(engine), "default")
    return Desk(broker, others, reconciler, api, store, discrepancies, now)


def held(quantity: int, **more) -> BrokerUnits:
    return BrokerUnits("NSE:INFY", Product.CNC, quantity, **more)


async def test_books_that_agree_leave_nothing_but_the_brokers_money(desk: Desk) -> None:
    """Cash and margin are the broker's; risk is told that nothing is halted."""
    account = await desk.reconcile()
    assert (account.problem, list(account.discrepancies)) == ("", [])
    assert account.funds.available.amount.value == "800.00"
    money = await desk.discrepancies.money(NAME)
    assert money is not None
    assert (money.money.cash, money.money.available) == (Decimal(900), Decimal(800))
    assert desk.others.halted == []


async def test_a_position_that_differs_halts_its_instrument_until_a_person_accepts_it(desk: Desk) -> None:
    """A row with both values and its cause; accepted, the difference counts as held outside, and the instrument trades again."""
    await desk.book(1, 10)
    desk.broker.books = BrokerBooks(DAY, units=[held(7)], trades=[trade(1, 10)], orders=[order(1)])
    desk.others.orders = [our_order(1, 10)]
    account = await desk.reconcile()
    [found] = account.discrepancies
    assert (found.kind, found.state) == (
        portfolio.DISCREPANCY_KIND_POSITION,
        portfolio.DISCREPANCY_STATE_OPEN,
    )
    assert (found.ours, found.theirs, found.seen) == ("10", "7", 2)
    assert desk.others.halted == ["NSE:INFY"]
    assert "alphapanda reconcile list" in desk.others.told[-1].halts[0].reason
    [again] = (await desk.reconcile()).discrepancies
    assert (again.discrepancy_id, again.seen) == (found.discrepancy_id, 3)
    resolved = await desk.resolve(found.discrepancy_id, portfolio.DISCREPANCY_RESOLUTION_ACCEPTED)
    assert (resolved.state, resolved.reason) == (portfolio.DISCREPANCY_STATE_RESOLVED, "compared by hand")
    assert desk.others.halted == []
    assert await desk.resolve(found.discrepancy_id, portfolio.DISCREPANCY_RESOLUTION_ACCEPTED) == resolved
    assert (await desk.discrepancies.outside(NAME)).units == {Unit("NSE:INFY", Product.CNC): -3}
    assert list((await desk.reconcile()).discrepancies) == []
    with pytest.raises(FailedPrecondition, match="over already"):
        await desk.resolve(found.discrepancy_id, portfolio.DISCREPANCY_RESOLUTION_CORRECTED, "other")
    with pytest.raises(RequestReused):
        await desk.resolve(found.discrepancy_id, portfolio.DISCREPANCY_RESOLUTION_CORRECTED)


async def test_what_was_said_to_be_corrected_and_is_not_opens_again(desk: Desk) -> None:
    """A person's word ends it; the next comparison believes the books."""
    await desk.book(1, 10, product=Product.MIS)
    desk.others.orders, desk.broker.books = [our_order(1, 10)], BrokerBooks(DAY, [order(1)], [trade(1, 10)])
    [found] = (await desk.reconcile()).discrepancies
    await desk.resolve(found.discrepancy_id, portfolio.DISCREPANCY_RESOLUTION_CORRECTED)
    assert desk.others.halted == []
    [again] = (await desk.reconcile()).discrepancies
    assert again.discrepancy_id != found.discrepancy_id
    assert desk.others.halted == ["NSE:INFY"]


async def test_rule_7_a_missed_fill_heals_itself_without_a_halt(desk: Desk) -> None:
    """Trading asks for the order again and books what it missed; the second look finds the books agreed."""
    desk.others.orders = [our_order(1, 10)]
    desk.broker.books = BrokerBooks(DAY, [order(1)], [trade(1, 10)], [held(10)])
    fill = Fills("zerodha")(1, 10, "1500", product=Product.CNC)

    async def booked() -> None:
        await desk.book(1, 10)

    original = desk.others.RecheckOrder

    async def recheck(request: trading.RecheckOrderRequest) -> trading.RecheckOrderResponse:
        await booked()
        return await original(request)

    desk.others.RecheckOrder = recheck  # type: ignore[method-assign]
    account = await desk.reconcile()
    assert desk.others.rechecked == [our_order(1, 10).intents[0].intent_id]
    assert list(account.discrepancies) == []
    assert all(not one.halts for one in desk.others.told)
    assert fill.filled.fill.quantity == 10
    rows = await desk.discrepancies.listed("", "", include_resolved=True, before=None, limit=9)
    assert rows == [], "what was only suspected leaves no row"


async def test_an_agreement_that_comes_by_itself_ends_a_discrepancy(desk: Desk) -> None:
    """What differed agrees again: the row says so, and the halt is lifted."""
    await desk.book(1, 10)
    desk.others.orders = [our_order(1, 10)]
    desk.broker.books = BrokerBooks(DAY, [order(1)], [trade(1, 10)])
    [found] = (await desk.reconcile()).discrepancies
    assert desk.others.halted == ["NSE:INFY"]
    desk.broker.books = BrokerBooks(DAY, [order(1)], [trade(1, 10)], [held(10)])
    account = await desk.reconcile()
    assert [one.discrepancy_id for one in account.agreed] == [found.discrepancy_id]
    assert account.agreed[0].resolution == portfolio.DISCREPANCY_RESOLUTION_AGREED
    assert desk.others.halted == []


async def test_what_was_never_traded_here_is_remembered_and_listed_as_resolved(desk: Desk) -> None:
    """A person's own shares: known after the first reconciliation, with their ISIN; nothing is halted."""
    desk.broker.books = BrokerBooks(DAY, units=[held(100, isin="INE009A01021")])
    account = await desk.reconcile()
    assert [one.kind for one in account.agreed] == [portfolio.DISCREPANCY_KIND_HELD_OUTSIDE]
    outside = await desk.discrepancies.outside(NAME)
    assert outside.units == {Unit("NSE:INFY", Product.CNC): 100}
    assert outside.isins == {"NSE:INFY": "INE009A01021"}
    assert list((await desk.reconcile()).discrepancies) == []
    assert desk.others.halted == []
    listed = await desk.api.ListDiscrepancies(portfolio.ListDiscrepanciesRequest(), None)
    assert list(listed.discrepancies) == []
    everything = portfolio.ListDiscrepanciesRequest(
        broker="zerodha", account="default", include_resolved=True
    )
    assert len((await desk.api.ListDiscrepancies(everything, None)).discrepancies) == 1


async def test_rule_17_the_roll_of_the_brokers_books_opens_nothing(desk: Desk) -> None:
    """Before 08:45 a position that differs is only suspected: deliveries become holdings at some moment after 06:00."""
    await desk.book(1, 10)
    desk.now[0] = datetime(2024, 1, 2, 18, 40, tzinfo=UTC)  # 00:10 of 3 January in India
    desk.broker.books = BrokerBooks(date(2024, 1, 3))
    [found] = (await desk.reconcile()).discrepancies
    assert found.state == portfolio.DISCREPANCY_STATE_SUSPECTED
    desk.now[0] = datetime(2024, 1, 3, 3, 16, tzinfo=UTC)  # 08:46
    [found] = (await desk.reconcile()).discrepancies
    assert found.state == portfolio.DISCREPANCY_STATE_OPEN


async def test_a_comparison_that_may_change_nothing_changes_nothing(desk: Desk) -> None:
    """GetReconciliation tells what differs and stores, heals and halts nothing."""
    await desk.book(1, 10)
    asked = portfolio.GetReconciliationRequest(broker="zerodha", account="default")
    [account] = (await desk.api.GetReconciliation(asked, None)).accounts
    assert [one.kind for one in account.discrepancies] == [portfolio.DISCREPANCY_KIND_UNKNOWN_FILL]
    assert account.discrepancies[0].discrepancy_id == ""
    assert desk.others.told == []
    assert await desk.discrepancies.listed("", "", include_resolved=True, before=None, limit=9) == []


async def test_books_that_cannot_be_read_change_nothing_and_are_said(desk: Desk) -> None:
    """No session: nothing is compared, what was halted stays halted, and the service's status says why."""
    rounds = BrokerReconciliation(desk.store, desk.reconciler, 0)
    await desk.book(1, 10)
    desk.others.orders = [our_order(1, 10)]
    desk.broker.books = BrokerBooks(DAY, [order(1)], [trade(1, 10)])
    await rounds.round()
    assert rounds.degradation.startswith("zerodha account default differs from the broker in NSE:INFY")
    desk.broker.problem = "account default: nobody is signed in to Zerodha; run `alphapanda kite login`"
    await rounds.round()
    assert "isn't reconciled: account default: nobody is signed in" in rounds.degradation
    assert desk.others.halted == ["NSE:INFY"]
    assert (await desk.reconcile()).problem == desk.broker.problem
    desk.broker.problem = ""
    await desk.reconcile()  # a person asks, before the next round
    assert "isn't reconciled" not in rounds.degradation


async def test_an_account_that_could_not_be_compared_is_looked_at_again_soon(desk: Desk) -> None:
    """One that was compared waits for its interval; one whose broker couldn't be read, as before a sign-in, doesn't."""
    rounds = BrokerReconciliation(desk.store, desk.reconciler, 3600)
    await desk.book(1, 10)
    desk.others.orders = [our_order(1, 10)]
    desk.broker.books, desk.broker.problem = (
        BrokerBooks(DAY, [order(1)], [trade(1, 10)]),
        "nobody is signed in",
    )
    await rounds.round()
    desk.broker.problem = ""
    await rounds.round()
    assert "differs from the broker" in rounds.degradation
    desk.broker.problem = "away"
    await rounds.round()
    assert "differs from the broker" in rounds.degradation


async def test_risk_that_is_away_is_told_with_the_next_comparison(desk: Desk) -> None:
    """The rows come first: a halt that couldn't be told isn't forgotten."""
    await desk.book(1, 10)
    desk.others.risk_is_away = True
    desk.others.orders = [our_order(1, 10)]
    desk.broker.books = BrokerBooks(DAY, [order(1)], [trade(1, 10)])
    await desk.reconcile()
    assert desk.others.told == []
    desk.others.risk_is_away = False
    await desk.reconcile()
    assert desk.others.halted == ["NSE:INFY"]


async def test_who_asks_for_what_is_not_there_is_told_so(desk: Desk) -> None:
    """An unknown broker, account and discrepancy; and of an order there is nothing to accept."""
    with pytest.raises(UnknownName, match="zerodha"):
        await desk.api.GetReconciliation(portfolio.GetReconciliationRequest(broker="zeroda"), None)
    with pytest.raises(NotFound, match="no open account 'other'"):
        await desk.api.Reconcile(
            portfolio.ReconcileRequest(request_id="x", broker="zerodha", account="other"), None
        )
    with pytest.raises(NotFound, match="no discrepancy"):
        await desk.resolve(str(uuid4()), portfolio.DISCREPANCY_RESOLUTION_ACCEPTED)
    old = our_order(3, 10, common.ORDER_STATUS_UNKNOWN)
    old.created_at.FromDatetime(NOON - timedelta(days=2))
    desk.others.orders = [our_order(2, 10, common.ORDER_STATUS_UNKNOWN)]
    [found] = (await desk.reconcile()).discrepancies
    assert found.kind == portfolio.DISCREPANCY_KIND_ORDER_MISSING
    with pytest.raises(InvalidInput, match="CORRECTED"):
        await desk.resolve(found.discrepancy_id, portfolio.DISCREPANCY_RESOLUTION_ACCEPTED)


async def test_a_row_is_resolved_or_not(engine: AsyncEngine, desk: Desk) -> None:
    """The database refuses a resolved discrepancy without an end, and two alive ones of the same difference."""
    await desk.book(1, 10)
    await desk.reconcile()
    columns = (
        "broker, account, kind, severity, state, instrument_id, product, subject, ours, theirs, cause, moves, found_at,"
        " seen_at, seen, resolution, resolved_by, reason"
    )
    twice = (
        f"INSERT INTO portfolio.discrepancies (discrepancy_id, {columns})"
        f" SELECT gen_random_uuid(), {columns} FROM portfolio.discrepancies"
    )
    for wrong in ("UPDATE portfolio.discrepancies SET state = 3", twice):
        with pytest.raises(Exception, match="discrepancies"):
            async with engine.begin() as connection:
                await connection.execute(text(wrong))


def trade(n: int, quantity: int) -> BrokerTrade:
    return BrokerTrade(
        f"B{n}",
        "zerodha",
        "default",
        "2024-01-02",
        f"NSE:{n}",
        "NSE:INFY",
        Product.CNC,
        Side.BUY,
        quantity,
        Decimal(1500),
    )


def order(n: int) -> BrokerOrder:
    return BrokerOrder(f"B{n}", frozenset({f"TAG{n}"}), "NSE:INFY", 10, ended=True, status="COMPLETE")


def our_order(n: int, quantity: int, status: int = common.ORDER_STATUS_FILLED) -> trading.Order:
    order_id = Fills("zerodha")(n, quantity, "1500").filled.order.order_id
    intent = trading.OrderIntent(
        intent_id=f"00000000-0000-5000-8000-{n:012}", tag=f"TAG{n}", status=status, filled_quantity=quantity
    )
    return trading.Order(
        state=orders_pb2.OrderState(order_id=order_id, instrument_id="NSE:INFY"),
        broker="zerodha",
        intents=[intent],
        created_at=timestamp(OPENED),
    )


def test_kinds_are_those_of_the_contract() -> None:
    """Numbers in rows and on the wire are the same."""
    assert {kind.name: int(kind) for kind in Kind} == {
        name.removeprefix("DISCREPANCY_KIND_"): number
        for name, number in portfolio.DiscrepancyKind.items()
        if number
    }
    assert DIRECTORY.by_symbol("NSE:INFY") is not None
