"""One suite for both stores."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from random import Random

import pytest
from tests.values import replace

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.order import Product
from alphapanda.portfolio.core.book import PortfolioBook
from alphapanda.portfolio.core.ledger import LedgerAccount
from alphapanda.portfolio.core.profit import totals_of
from alphapanda.portfolio.store.port import AccountName, PortfolioStore, PositionCursor, ReceivedFill

START = Decimal(1_000_000)


async def book(store: PortfolioStore, *batch: ReceivedFill) -> int:
    """Books a batch; returns how many of its fills were new."""
    async with store.unit(batch, START) as unit:
        for received in batch:
            unit.book(received)
    return len(unit.bookings)


async def ledger(store: PortfolioStore, name: AccountName) -> Sequence[tuple[int, str, Decimal]]:
    lines = await store.ledger(name, strategy_id="", after=0, limit=1000)
    return [(line.sequence, line.ledger_account.name, line.amount) for line in lines]


async def test_an_account_opens_once(store, fills) -> None:
    """Opening books cash against capital; opening again, with whatever cash, changes nothing."""
    name = AccountName(fills.broker, "default")
    assert await store.books(name) is None
    await store.open_account(name, START)
    await store.open_account(name, Decimal(5))
    books = await store.books(name)
    assert (books.starting_cash, books.cash, books.revision, books.positions) == (START, START, 1, ())
    assert await ledger(store, name) == [(1, "CASH", START), (2, "CAPITAL", -START)]
    assert await store.accounts(fills.broker) == [name]


async def test_a_fill_opens_its_account(store, fills) -> None:
    """The first fill that names an account opens it, before it is booked."""
    assert await book(store, fills(1, 10, "100.05", "1.01", account="second")) == 1
    name = AccountName(fills.broker, "second")
    books = await store.books(name)
    assert (books.cash, books.revision) == (START - Decimal("1001.51"), 2)
    assert [line[0] for line in await ledger(store, name)] == [1, 2, 3, 4, 5, 6]


async def test_a_batch_is_the_book_of_its_fills(store, fills) -> None:
    """Random batches over several keys end, in store and in the plain book, with the same cash and positions."""
    chance = Random(3)
    batches = [
        [
            fills(
                100 * batch + n,
                chance.choice([-7, -3, 2, 5, 11]),
                f"{chance.randint(9_000, 11_000) / 100:.2f}",
                f"{chance.randint(0, 500) / 100:.2f}",
                strategy=chance.choice(["ema", "manual"]),
                instrument=chance.choice(["NSE:INFY", "NSE:TCS"]),
            )
            for n in range(10)
        ]
        for batch in range(6)
    ]
    plain = PortfolioBook(fills.broker, "default", START)
    for batch in batches:
        for received in batch:
            plain.apply(received.filled)
        await book(store, *batch)
        await book(store, *batch[3:7])
    books = await store.books(AccountName(fills.broker, "default"))
    assert books.cash == plain.cash
    assert books.revision == plain.revision == 61
    every = await store.positions(books.name, strategy_id="", include_flat=True, after=None, limit=10)
    assert {position.key: position for position in every} == plain.positions
    assert books.positions == tuple(position for position in every if position.quantity)
    assert list(books.strategies) == totals_of(plain.positions.values())
    assert await store.disagreements(books.name) == []


async def test_a_duplicate_is_booked_once(store, fills) -> None:
    """The same fill twice in a batch, and again in a later one, has one effect."""
    assert await book(store, fills(1, 10, "100"), fills(1, 10, "100")) == 1
    assert await book(store, fills(1, 10, "100"), fills(2, -4, "101")) == 1
    books = await store.books(AccountName(fills.broker, "default"))
    assert books.positions[0].quantity == 6
    assert len(await store.fills(books.name, strategy_id="", order_id="", before=None, limit=10)) == 2


async def test_twins_at_once_book_once(store, fills) -> None:
    """The same batch handled by two at the same time is booked by one of them."""
    batch = [fills(n, 1, "100") for n in range(5)]
    assert sorted(await asyncio.gather(*(book(store, *batch) for _ in range(3)))) == [0, 0, 5]
    books = await store.books(AccountName(fills.broker, "default"))
    assert (books.revision, books.positions[0].quantity) == (6, 5)


async def test_batches_of_two_accounts_in_any_order_do_not_lock_each_other_out(store, fills) -> None:
    """Accounts are locked in one order, so batches that name them the other way round both end."""
    there = [fills(n, 1, "100", account=account) for n, account in enumerate("ab")]
    back = [fills(n, 1, "100", account=account) for n, account in enumerate("bab", 10)]
    await asyncio.gather(*(book(store, *batch) for batch in (there, back) * 5))
    for account, units in (("a", 2), ("b", 3)):
        assert (await store.books(AccountName(fills.broker, account))).positions[0].quantity == units


async def test_a_batch_that_fails_leaves_nothing(store, fills) -> None:
    """One fill the ledger can't hold takes its whole batch back, the account's opening too."""
    wrong = fills(2, 10, "100.00001")
    with pytest.raises(InvalidInput):
        await book(store, fills(1, 10, "100"), wrong)
    assert await store.books(AccountName(fills.broker, "default")) is None
    assert await book(store, fills(1, 10, "100")) == 1


async def test_fills_are_listed_newest_first_and_filtered(store, fills) -> None:
    """Pages go on below a revision; strategy and order narrow them; what was realised stands with the fill."""
    one, two, three = (
        fills(1, 10, "100.10", "1"),
        fills(2, 5, "7", strategy="manual"),
        fills(3, -10, "101.20"),
    )
    await book(store, one, two, three)
    name = AccountName(fills.broker, "default")
    every = await store.fills(name, strategy_id="", order_id="", before=None, limit=10)
    assert [fill.fill_id for fill in every] == [r.filled.fill.fill_id for r in (three, two, one)]
    newest = every[0]
    assert (newest.realised, newest.revision, newest.correlation_id) == (11, 4, three.correlation_id)
    assert newest.traded_at == three.filled.fill.traded_at
    assert newest.key == three.filled.order.key
    assert await store.fills(name, strategy_id="", order_id="", before=4, limit=1) == [every[1]]
    assert await store.fills(name, strategy_id="ema", order_id="", before=None, limit=9) == [
        every[0],
        every[2],
    ]
    order_id = two.filled.order.order_id
    assert await store.fills(name, strategy_id="", order_id=order_id, before=None, limit=9) == [every[1]]


async def test_positions_are_listed_in_order_and_filtered(store, fills) -> None:
    """Ordered by strategy, instrument and product; flat ones only on request; a page goes on after a key."""
    cnc = fills(5, 2, "50", instrument="NSE:TCS")
    order = replace(cnc.filled.order, key=replace(cnc.filled.order.key, product=Product.CNC))
    await book(
        store,
        fills(1, 1, "10", strategy="b"),
        fills(2, 1, "10", strategy="a", instrument="NSE:TCS"),
        fills(3, 1, "10", strategy="a"),
        fills(4, -1, "10", strategy="a"),
        replace(
            cnc, filled=replace(cnc.filled, order=replace(order, key=replace(order.key, strategy_id="a")))
        ),
    )
    name = AccountName(fills.broker, "default")

    async def listed(**narrowed: object) -> list[tuple[str, str, int]]:
        arguments = {"strategy_id": "", "include_flat": True, "after": None, "limit": 10} | narrowed
        found = await store.positions(name, **arguments)
        return [(p.key.strategy_id, p.key.instrument_id, p.key.product) for p in found]

    every = [
        ("a", "NSE:INFY", Product.MIS),
        ("a", "NSE:TCS", Product.MIS),
        ("a", "NSE:TCS", Product.CNC),
        ("b", "NSE:INFY", Product.MIS),
    ]
    assert await listed() == every
    assert await listed(include_flat=False) == every[1:]
    assert await listed(strategy_id="b") == every[3:]
    assert await listed(after=PositionCursor("a", "NSE:TCS", 1), limit=1) == [every[2]]


async def test_the_ledger_is_listed_oldest_first_and_filtered(store, fills) -> None:
    """Sequences have no gap and a page goes on after one; capital belongs to no strategy and has no fill."""
    received = fills(1, 10, "100.10", "1")
    await book(store, received, fills(2, -5, "101", strategy="manual"))
    name = AccountName(fills.broker, "default")
    lines = await store.ledger(name, strategy_id="", after=0, limit=100)
    assert [line.sequence for line in lines] == list(range(1, 9))
    capital, first = lines[1], lines[2]
    assert (capital.strategy_id, capital.fill_id, capital.market_time, capital.product) == (
        "",
        "",
        None,
        None,
    )
    assert (first.fill_id, first.market_time) == (
        received.filled.fill.fill_id,
        received.filled.fill.traded_at,
    )
    assert (first.ledger_account, first.product) == (LedgerAccount.POSITIONS, Product.MIS)
    assert await store.ledger(name, strategy_id="", after=6, limit=1) == [lines[6]]
    assert await store.ledger(name, strategy_id="manual", after=0, limit=9) == lines[6:]
    assert len({line.transaction_id for line in lines}) == 3


async def test_brokers_keep_apart(store, fills) -> None:
    """An account of the same name at another broker has books of its own."""
    await book(store, fills(1, 10, "100"))
    elsewhere = AccountName("elsewhere", "default")
    assert await store.books(elsewhere) is None
    assert await store.accounts("elsewhere") == []
    await store.open_account(elsewhere, START)
    assert (await store.books(elsewhere)).positions == ()


async def test_times_come_back_aware(store, fills) -> None:
    """A fill's market time is UTC, to the microsecond."""
    received = fills(1, 10, "100")
    fill = replace(received.filled.fill, traded_at=received.filled.fill.traded_at + timedelta(microseconds=1))
    await book(store, replace(received, filled=replace(received.filled, fill=fill)))
    (row,) = await store.fills(
        AccountName(fills.broker, "default"), strategy_id="", order_id="", before=None, limit=1
    )
    assert row.traded_at == fill.traded_at
    assert row.traded_at.utcoffset() == timedelta(0)
