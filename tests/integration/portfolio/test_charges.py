"""Charges by line in both stores."""

from __future__ import annotations

from decimal import Decimal
from random import Random

import pytest

from alphapanda.domain.charges import charges_of, merged
from alphapanda.domain.order import Product
from alphapanda.portfolio.core.book import PortfolioBook
from alphapanda.portfolio.core.ledger import LedgerAccount
from alphapanda.portfolio.store.port import AccountName, PortfolioStore, ReceivedFill

START = Decimal(1_000_000)
DP = Decimal("15.34")


async def book(store: PortfolioStore, *batch: ReceivedFill) -> None:
    async with store.unit(batch, START) as unit:
        for received in batch:
            unit.book(received)


async def test_stored_charges_are_those_of_one_book(store, fills) -> None:
    """Over days, batches, products and redeliveries the store books line by line what a book in memory does."""
    chance, plain = Random(5), PortfolioBook(fills.broker, "default", START)
    name = AccountName(fills.broker, "default")
    booked = []
    for number in range(8):
        batch = [
            fills(
                100 * number + n,
                chance.choice([-9, -4, 3, 6]),
                f"{chance.randint(90_000, 110_000) / 100:.2f}",
                strategy=chance.choice(["ema", "manual"]),
                product=chance.choice([Product.MIS, Product.CNC]),
                day=number // 2,
                charged=chance.random() < 0.9,
                commission="1.25",
            )
            for n in range(5)
        ]
        booked += [plain.apply(received.filled) for received in batch]
        await book(store, *batch)
        await book(store, *batch[1:3])
    books = await store.books(name)
    assert books.cash == plain.cash
    assert books.day_charges == sum(one.day_charges for one in booked if one)
    kept = {one.strategy_id: one for one in books.strategies}
    for strategy_id, charges in plain.charge_days.by_strategy().items():
        assert merged([kept[strategy_id].lines]).lines == merged([charges]).lines
    total = sum(one.charges for one in books.strategies)
    assert (await store.charges(name, strategy_id="")).total == total
    assert (await store.charges(name, strategy_id="ema")).total == kept["ema"].charges
    assert await store.disagreements(name) == []
    stored = await store.fills(name, strategy_id="", order_id="", before=None, limit=100)
    assert [(one.paid, one.charges.lines) for one in stored[::-1]] == [
        (one.paid, one.charges.lines) for one in booked if one
    ]
    for line in await store.ledger(name, strategy_id="", after=0, limit=1000):
        if line.ledger_account is LedgerAccount.CHARGES and line.charges:
            assert charges_of(line.charges.lines).total == line.amount
        else:
            assert not line.charges


async def test_a_same_day_sale_of_delivery_takes_charges_back(store, fills) -> None:
    """STT and stamp duty of the purchase are returned with the sale; the ledger says so, and nothing is below zero."""
    name = AccountName(fills.broker, "default")
    await book(store, fills(1, 100, "1500", product=Product.CNC, charged=True))
    await book(store, fills(2, -100, "1510", product=Product.CNC, charged=True))
    sold, bought = await store.fills(name, strategy_id="", order_id="", before=None, limit=10)
    assert bought.paid > 0 > sold.paid
    assert {line.name: line.amount for line in sold.charges.lines}["stt"] == 38 - 150
    books = await store.books(name)
    assert [one.charges for one in books.strategies] == [bought.paid + sold.paid]
    assert await store.disagreements(name) == []


@pytest.mark.parametrize("apart", [False, True])
async def test_dp_charges_are_due_once_whoever_sells(store, fills, *, apart: bool) -> None:
    """Two strategies sell holdings of one scrip, in one batch or in two: the account pays once, and again the next day."""
    sales = [
        fills(n, -10, "100", strategy=strategy, product=Product.CNC, charged=True, day=day)
        for n, (strategy, day) in enumerate([("a", 0), ("b", 0), ("b", 1)], 1)
    ]
    for batch in [[sale] for sale in sales] if apart else [sales]:
        await book(store, *batch)
    lines = await store.charges(AccountName(fills.broker, "default"), strategy_id="")
    assert {line.name: line.amount for line in lines.lines}["dp"] == 2 * DP
