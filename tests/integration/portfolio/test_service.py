"""Fills from the log to the answers of PortfolioService, on both stores."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from google.protobuf.json_format import MessageToDict
from portfolio_service import DIRECTORY, INFY, OPENED, Market, Service, delivery, stored_in
from sqlalchemy import text
from tests.values import replace

from alphapanda.contract import wire
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.domain.market import LastPrice
from alphapanda.domain.order import OrderStatus
from alphapanda.domain.order_events import Filled, Submitted
from alphapanda.mesh.errors import NotFound
from alphapanda.portfolio.consumer import PortfolioConsumer
from alphapanda.portfolio.manager import BooksDisagree, BrokerNotManaged, PortfolioManager
from alphapanda.portfolio.store.port import AccountName, ReceivedFill
from panda.events.v1 import control_pb2
from panda.events.v1.events_pb2 import Event
from panda.portfolio.v1 import portfolio_pb2 as portfolio


@pytest.fixture
async def service(store, fills, redis) -> AsyncIterator[Service]:
    """A started service."""
    service = Service(store, fills.broker, Market(), redis)
    await service.start()
    yield service
    await service.stop()


async def test_an_untouched_account_is_its_starting_cash(service) -> None:
    """Before any fill the default account is open: zeros where known, no mark, nothing unknown."""
    funds = {
        "usedMargin": {"currencyCode": "INR", "amount": {"value": "0.00"}},
        "available": {"currencyCode": "INR", "amount": {"value": "1000000.00"}},
    }
    assert MessageToDict(await service.portfolio()) == (funds if service.broker == "paper" else {}) | {
        "broker": service.broker,
        "account": "default",
        "startingCash": {"currencyCode": "INR", "amount": {"value": "1000000.00"}},
        "cash": {"currencyCode": "INR", "amount": {"value": "1000000.00"}},
        "equity": {"currencyCode": "INR", "amount": {"value": "1000000.00"}},
        "profit": {
            name: {"currencyCode": "INR", "amount": {"value": "0.00"}}
            for name in ("realisedPnl", "unrealisedPnl", "charges", "netPnl")
        },
        "revision": "1",
    }


async def test_an_empty_request_means_paper_and_the_default_account(store, redis) -> None:
    """Nothing named is paper and the account of the settings, in every question."""
    service = Service(store, "paper", Market(), redis)
    await service.manager.start()
    answer = await service.api.GetPortfolio(portfolio.GetPortfolioRequest(), None)
    assert (answer.portfolio.broker, answer.portfolio.account) == ("paper", "default")
    entries = await service.api.ListLedgerEntries(portfolio.ListLedgerEntriesRequest(), None)
    assert [entry.broker for entry in entries.entries] == ["paper", "paper"]


async def test_a_fill_after_its_orders_end_is_booked(service, fills) -> None:
    """The order was cancelled before: the fill is booked like any other, once."""
    first = fills(1, 10, "100")
    order = replace(first.filled.order, status=OrderStatus.CANCELLED, revision=3)
    late = ReceivedFill(Filled(order, first.filled.fill), first.correlation_id)
    await service.fill(late)
    await service.fill(late)
    told = await service.portfolio()
    assert told.cash.amount.value == "999000.00"
    assert [held.quantity for held in told.positions] == [10]


async def test_fills_and_ticks_make_the_portfolio(service, fills) -> None:
    """Cash, marked profit and equity follow the fills and the last ticks; strategies add up to the account."""
    await service.fill(
        fills(1, 10, "100.05", "1.01"), fills(2, -4, "101", "0.41"), fills(3, -2, "50", strategy="manual")
    )
    service.tick(INFY, "102.05", 9)
    told = await service.portfolio()
    assert told.cash.amount.value == "999502.08"
    assert told.equity.amount.value == "999910.28"
    assert told.profit.realised_pnl.amount.value == "3.80"
    assert told.profit.unrealised_pnl.amount.value == "-92.10"
    assert told.profit.charges.amount.value == "1.42"
    assert told.profit.net_pnl.amount.value == "-89.72"
    if service.broker == "paper":
        assert (told.used_margin.amount.value, told.available.amount.value) == ("140.06", "999862.32")
    assert [(s.strategy_id, s.profit.net_pnl.amount.value, s.open_positions) for s in told.strategies] == [
        ("ema", "14.38", 1),
        ("manual", "-104.10", 1),
    ]
    assert wire.moment(told.marked_at) == OPENED + timedelta(seconds=9)
    held = told.positions[0]
    assert (held.symbol, held.quantity, held.average_price.value, held.last_price.value) == (
        "NSE:INFY",
        6,
        "100.0500",
        "102.05",
    )
    assert await service.store.disagreements(AccountName(service.broker, "default")) == []


async def test_a_held_instrument_without_price_is_named(service, fills) -> None:
    """What needs the missing price is absent, what doesn't is there."""
    await service.fill(fills(1, 10, "100"))
    told = await service.portfolio()
    assert list(told.without_price) == ["NSE:INFY"]
    assert not told.HasField("equity")
    assert not told.profit.HasField("unrealised_pnl")
    assert not told.profit.HasField("net_pnl")
    assert told.profit.realised_pnl.amount.value == "0.00"
    assert not told.HasField("marked_at")


async def test_a_position_outlives_its_token_and_is_not_marked_with_the_next_owners_price(
    service, fills
) -> None:
    """A token that changes hands takes neither the position nor its average along, and the new owner has no position."""
    await service.fill(fills(1, 10, "100"))
    service.tick(INFY, "102", 5)
    infy = DIRECTORY.by_id("NSE:INFY")
    heir = replace(infy, instrument_id="NSE:HEIR", tradingsymbol="HEIR")
    DIRECTORY.take([heir, replace(infy, instrument_token=0)])
    try:
        service.tick(INFY, "7", 9)
        assert service.manager.prices(["NSE:INFY"]) == {}
        told = await service.portfolio()
    finally:
        DIRECTORY.take([replace(heir, instrument_token=0), infy])
    (held,) = told.positions
    assert (held.instrument_id, held.quantity, held.average_price.value) == ("NSE:INFY", 10, "100.0000")
    assert not held.HasField("last_price")
    assert not told.profit.HasField("unrealised_pnl")
    assert len(told.without_price) == 1


async def test_marks_begin_with_the_cached_prices(store, fills, redis) -> None:
    """A process that starts knows the prices of the cache; only newer frames move them."""
    service = Service(
        store, fills.broker, Market({INFY: LastPrice(Decimal("99.95"), OPENED + timedelta(seconds=5))}), redis
    )
    await service.manager.start()
    await service.fill(fills(1, 10, "100"))
    service.tick(INFY, "1.00", 4)
    assert (await service.portfolio()).profit.unrealised_pnl.amount.value == "-0.50"
    service.tick(INFY, "100.10", 6)
    assert (await service.portfolio()).profit.unrealised_pnl.amount.value == "1.00"


async def test_a_delivery_seen_before_changes_nothing(service, fills) -> None:
    """The same events again, in one batch or another, leave the same portfolio."""
    batch = [fills(1, 10, "100.05", "1.01"), fills(2, -4, "101", "0.41")]
    await service.fill(*batch)
    before = await service.portfolio()
    await service.fill(*batch, *batch)
    assert await service.portfolio() == before


async def test_only_fills_move_money(service, fills) -> None:
    """Another order event in the batch books nothing and a batch without fills is handled."""
    submitted = Submitted(fills(1, 10, "100").filled.order)
    await service.consumer.handle([delivery(submitted, str(uuid4()))])
    assert (await service.store.books(AccountName(service.broker, "default"))).revision == 1


async def test_a_fill_of_a_broker_that_is_not_managed_is_an_error(service, fills) -> None:
    """Nobody's fill is not dropped: the consumer stops at it and says which brokers are managed."""
    other = type(fills)("zerodha")
    with pytest.raises(BrokerNotManaged, match=f"'zerodha'.*{service.broker}"):
        await service.fill(other(1, 10, "100"))


async def test_a_batch_that_fails_books_nothing_of_itself(service, fills) -> None:
    """The fills before the bad one are not booked either."""
    with pytest.raises(InvalidInput):
        await service.fill(fills(1, 10, "100"), fills(2, 10, "0"))
    assert (await service.store.books(AccountName(service.broker, "default"))).revision == 1


@pytest.mark.parametrize(
    "method", ["GetPortfolio", "GetEquityCurve", "ListPositions", "ListFills", "ListLedgerEntries"]
)
async def test_an_account_nobody_opened_is_not_found(service, method) -> None:
    """The answer names broker and account."""
    request = getattr(portfolio, f"{method}Request")(broker="zerodha", account="mine")
    with pytest.raises(NotFound, match="'zerodha' has no open account 'mine'"):
        await getattr(service.api, method)(request, None)


@pytest.mark.parametrize(
    ("method", "field"),
    [("ListPositions", "positions"), ("ListFills", "fills"), ("ListLedgerEntries", "entries")],
)
async def test_pages_are_the_whole_list(service, fills, method, field) -> None:
    """Pages of two, one after the other, are what one page has; the last has no token."""
    await service.fill(
        *(
            fills(n, n, "10", "0.10", strategy=f"s{n % 3}", instrument="NSE:TCS" if n % 2 else "NSE:INFY")
            for n in range(1, 8)
        )
    )
    request, call = getattr(portfolio, f"{method}Request"), getattr(service.api, method)
    whole = await call(request(broker=service.broker), None)
    pages, token = [], ""
    while not pages or token:
        page = await call(request(broker=service.broker, page_size=2, page_token=token), None)
        pages += getattr(page, field)
        token = page.next_page_token
        assert len(getattr(page, field)) <= 2
    assert pages == list(getattr(whole, field))
    assert len(pages) > 5


@pytest.mark.parametrize("method", ["ListPositions", "ListFills", "ListLedgerEntries"])
async def test_a_page_token_of_another_question_is_refused(service, fills, method) -> None:
    """A token is bound to its filters, and garbage is named."""
    await service.fill(*(fills(n, 1, "10", instrument=f"NSE:{n}") for n in range(1, 4)))
    request, call = getattr(portfolio, f"{method}Request"), getattr(service.api, method)
    token = (await call(request(broker=service.broker, page_size=1), None)).next_page_token
    for wrong in (
        request(broker=service.broker, strategy_id="ema", page_token=token),
        request(broker=service.broker, page_token="?"),
    ):
        with pytest.raises(InvalidInput) as refused:
            await call(wrong, None)
        assert refused.value.field == "page_token"


async def test_flat_positions_are_listed_on_request(service, fills) -> None:
    """A closed position keeps its profit and has no average price."""
    await service.fill(fills(1, 10, "100"), fills(2, -10, "100.10"))
    request = portfolio.ListPositionsRequest(broker=service.broker)
    assert not (await service.api.ListPositions(request, None)).positions
    request.include_flat = True
    (flat,) = (await service.api.ListPositions(request, None)).positions
    assert flat.profit.net_pnl.amount.value == "1.00"
    assert not flat.HasField("average_price")


async def test_a_fill_reads_as_it_was_traded(service, fills) -> None:
    """Ids, price, charge, profit and chain of a fill are in the answer; an order without fills has none."""
    received = fills(2, -10, "100.10", "0.20")
    await service.fill(fills(1, 10, "100"), received)
    order_id = received.filled.order.order_id
    request = portfolio.ListFillsRequest(broker=service.broker, order_id=order_id)
    (fill,) = (await service.api.ListFills(request, None)).fills
    assert (fill.fill_id, fill.order_id) == (received.filled.fill.fill_id, order_id)
    assert (fill.price.value, fill.commission.amount.value) == ("100.10", "0.20")
    assert (fill.realised_pnl.amount.value, fill.correlation_id) == ("1.00", received.correlation_id)
    with pytest.raises(InvalidInput, match="order_id"):
        await service.api.ListFills(portfolio.ListFillsRequest(order_id="x", broker=service.broker), None)


async def test_a_start_proves_the_books(engine, fills, redis) -> None:
    """Cash that the ledger doesn't explain stops the start and says what differs."""
    store = stored_in(engine)
    await Service(store, fills.broker, Market(), redis).manager.start()
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE portfolio.accounts SET cash = cash - 1"))
    with pytest.raises(BooksDisagree, match=r"cash is 999999\.0000, the ledger says 1000000\.0000"):
        await Service(store, fills.broker, Market(), redis).manager.start()


async def test_a_restart_changes_nothing(engine, fills, redis) -> None:
    """A new process on the same database answers what the one before did."""
    store = stored_in(engine)
    market = Market({INFY: LastPrice(Decimal(101), OPENED)})
    first = Service(store, fills.broker, market, redis)
    await first.manager.start()
    await first.fill(fills(1, 10, "100", "0.10"))
    before = await first.portfolio()
    await first.manager.stop()
    second = Service(stored_in(engine), fills.broker, market, redis)
    await second.manager.start()
    assert await second.portfolio() == before


async def test_brokers_differ_by_what_their_accounts_begin_with(store, fills) -> None:
    """Paper's account begins with its cash, a live broker's with nothing: its cash is what our fills did to it."""
    manager = PortfolioManager(
        {"paper": Decimal(1000), "live": Decimal(0)}, "default", store, Market(), lambda: DIRECTORY
    )
    await manager.start()
    consumer = PortfolioConsumer(manager, store)
    for broker in ("paper", "live"):
        received = [
            type(fills)(broker)(1, 10, "100", "1.50"),
            type(fills)(broker)(2, -4, "110", account="two"),
        ]
        await consumer.handle([delivery(one.filled, one.correlation_id) for one in received])
    cash = {
        name: (books.starting_cash, books.cash)
        for broker in manager.brokers
        for name in await store.accounts(broker)
        if (books := await store.books(name))
    }
    assert cash == {
        ("paper", "default"): (1000, Decimal("-1.50")),
        ("paper", "two"): (1000, 1440),
        ("live", "default"): (0, Decimal("-1001.50")),
        ("live", "two"): (0, 440),
    }
    entries = await store.ledger(AccountName("live", "default"), strategy_id="", after=0, limit=10)
    assert [entry.sequence for entry in entries] == [1, 2, 3, 4]
    assert await manager.prove() == 4


async def test_what_names_nothing_known_says_which_name_is_near(service, fills) -> None:
    """A list filtered by a mistyped strategy isn't empty but refused, a mistyped account or broker is told, too."""

    async def settled() -> bool:
        return True

    for name in ("ema-1", "quiet"):
        changed = control_pb2.StrategyChanged(strategy_id=name, account="default")
        await service.strategies.apply(Event(strategy_changed=changed))
    service.strategies.follow(settled)
    await service.fill(fills(1, 10, "100"))
    for method, field in (
        ("ListPositions", "positions"),
        ("ListFills", "fills"),
        ("ListLedgerEntries", "entries"),
    ):
        message = getattr(portfolio, f"{method}Request")
        with pytest.raises(UnknownName, match="'ema1' is not allowed; did you mean 'ema-1'"):
            await getattr(service.api, method)(message(broker=service.broker, strategy_id="ema1"), None)
        answer = await getattr(service.api, method)(message(broker=service.broker, strategy_id="quiet"), None)
        assert not getattr(answer, field), "a strategy without any has an empty answer"
        with pytest.raises(NotFound, match="no open account 'defualt'; did you mean 'default'"):
            await getattr(service.api, method)(message(broker=service.broker, account="defualt"), None)
    with pytest.raises(UnknownName, match=f"did you mean '{service.broker}'"):
        await service.api.ListPortfolios(portfolio.ListPortfoliosRequest(broker=service.broker + "x"), None)
