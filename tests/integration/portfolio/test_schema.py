"""What the database itself refuses, whoever writes."""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

import pytest
from portfolio_service import stored_in
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from alphapanda.portfolio.store.port import AccountName

NAME = AccountName("paper", "default")
ENTRY = text(
    "INSERT INTO portfolio.ledger_entries (entry_id, transaction_id, broker, account, sequence, strategy_id,"
    " instrument_id, product, ledger_account, amount)"
    " VALUES (:id, :transaction, 'paper', 'default', :sequence, 'ema', 'NSE:INFY', 1, 1, :amount)"
)
TRANSACTION = text(
    "INSERT INTO portfolio.ledger_transactions (transaction_id, broker, account, revision)"
    " VALUES (:transaction, 'paper', 'default', 99)"
)


@pytest.fixture
async def booked(engine, fills):
    """A store with an account and one fill."""
    store = stored_in(engine)
    await store.open_account(NAME, Decimal(1000))
    if fills.broker == "paper":
        async with store.unit([fills(1, 1, "10")], Decimal(1000)) as unit:
            unit.book(fills(1, 1, "10"))
    return store


@pytest.mark.parametrize("amounts", [(), (5,), (5, -4), (5, -5, 1)])
async def test_a_transaction_that_does_not_balance_is_refused_at_commit(engine, booked, amounts) -> None:
    """Entries that don't add up to zero, or are fewer than two, never commit, though each went in."""
    transaction = uuid4()
    connection = await engine.connect()
    await connection.execute(TRANSACTION, {"transaction": transaction})
    for sequence, amount in enumerate(amounts, 90):
        await connection.execute(
            ENTRY,
            {
                "id": uuid4(),
                "transaction": transaction,
                "sequence": sequence,
                "amount": Decimal(amount),
            },
        )
    with pytest.raises(DBAPIError, match="not to zero"):
        await connection.commit()
    await connection.close()
    assert await booked.disagreements(NAME) == []


async def test_an_entry_added_to_a_balanced_transaction_is_refused(engine, booked) -> None:
    """A line that comes later unbalances its transaction and doesn't commit either."""
    line = (await booked.ledger(NAME, strategy_id="", after=0, limit=1))[0]
    with pytest.raises(DBAPIError, match="not to zero"):
        async with engine.begin() as connection:
            await connection.execute(
                ENTRY,
                {
                    "id": uuid4(),
                    "transaction": line.transaction_id,
                    "sequence": 99,
                    "amount": Decimal(1),
                },
            )


@pytest.mark.parametrize("table", ["ledger_entries", "ledger_transactions", "fills"])
@pytest.mark.parametrize(
    "change",
    ["UPDATE portfolio.{} SET account = 'x'", "DELETE FROM portfolio.{}", "TRUNCATE portfolio.{} CASCADE"],
)
async def test_what_was_booked_stays(engine, booked, table, change) -> None:
    """The ledger and the fills can't be changed, deleted or emptied."""
    with pytest.raises(DBAPIError, match="append-only"):
        async with engine.begin() as connection:
            await connection.execute(text(change.format(table)))


async def test_a_flat_position_with_a_cost_is_refused(engine, booked) -> None:
    """What is closed in full has no cost left."""
    with pytest.raises(IntegrityError):
        async with engine.begin() as connection:
            await connection.execute(
                text("INSERT INTO portfolio.positions VALUES ('paper', 'default', 'x', 'y', 1, 0, 1, 0, 0)")
            )


async def test_a_change_behind_the_ledgers_back_is_seen(engine, booked) -> None:
    """Cash that no entry explains is named with what the ledger says."""
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE portfolio.accounts SET cash = cash + 1"))
    (found,) = await booked.disagreements(NAME)
    assert found.startswith("cash is ")
