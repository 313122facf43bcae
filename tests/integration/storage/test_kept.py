"""Databases that platforms of earlier revisions left become, with all that is in them, what a new one is."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.catalogue import catalogue
from tests.kept_data import REVISIONS, load_database

from alphapanda.app.tables import TABLES
from alphapanda.storage.engine import open_engine
from alphapanda.storage.schema import schema_version, upgrade_schema

SCHEMAS = sorted(str(metadata.schema) for metadata in TABLES)
KEPT_ROWS = (
    "trading.orders",
    "trading.intents",
    "trading.fills",
    "paper_exchange.calls",
    "paper_exchange.orders",
    "paper_exchange.trades",
    "risk.verdicts",
    "risk.positions",
    "portfolio.fills",
    "portfolio.ledger_entries",
    "portfolio.positions",
    "strategy.revisions",
    "strategy.snapshots",
)
BOOKS = text(
    "SELECT a.cash, a.day_charges, a.starting_cash, r.starting_cash AS risk_starting, r.realised, r.margin,"
    " (SELECT sum(amount) FROM portfolio.ledger_entries WHERE ledger_account = 1) AS ledger_cash,"
    " (SELECT sum(cost) FROM portfolio.positions) AS costs,"
    " (SELECT sum(margin) FROM risk.positions) AS margins,"
    " (SELECT sum(realised) FROM portfolio.positions) AS realised_positions,"
    " (SELECT sum(realised) FROM portfolio.strategy_totals) AS realised_strategies"
    " FROM portfolio.accounts a JOIN risk.accounts r USING (broker, account)"
)


async def counts(connection: AsyncConnection) -> dict[str, int]:
    return {
        table: (await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one()
        for table in KEPT_ROWS
    }


@pytest.mark.parametrize("revision", REVISIONS)
async def test_an_old_database_becomes_a_new_one(revision: str, database: str, tables: str) -> None:
    """It has every column, constraint, index and trigger of a new one, every row that it had, and books that agree."""
    await load_database(revision, database)
    engine, new = open_engine(database, 1), open_engine(tables, 1)
    try:
        assert (await schema_version(engine)).current == revision
        async with engine.connect() as connection:
            before = await counts(connection)
        assert all(before.values())
        await upgrade_schema(engine)
        assert (await schema_version(engine)).up_to_date
        assert await catalogue(engine, SCHEMAS) == await catalogue(new, SCHEMAS)
        async with engine.connect() as connection:
            assert await counts(connection) == before
            books = (await connection.execute(BOOKS)).one()
    finally:
        await engine.dispose()
        await new.dispose()
    assert books.risk_starting == books.starting_cash
    assert books.margin == books.margins
    assert books.cash == books.ledger_cash
    # Risk counts the charges of fills, without what the day's contract note makes of them.
    assert books.cash + books.day_charges == books.starting_cash + books.realised - books.costs
    assert books.realised_strategies == books.realised_positions
