"""No query of the store scans what grows: each is planned on tables of 30,000 rows."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from itertools import product
from typing import Any

import pytest
from portfolio_service import INFY, OPENED, Market, Service, stored_in
from redis.asyncio import Redis
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.portfolio.store.port import AccountName, PositionCursor, SnapshotCursor
from alphapanda.storage.engine import open_engine

ROWS = 30_000
# One account has all of them, as the account of a deployment has.
GROWN = f"""
INSERT INTO portfolio.accounts (broker, account, starting_cash, cash, revision, entries)
    VALUES ('paper', 'default', 1, 1, {ROWS + 1}, {2 * ROWS + 10});
INSERT INTO portfolio.positions SELECT 'paper', 'default', 's' || n % 300, 'NSE:I' || n / 300, 1,
    CASE WHEN n % 1000 = 0 THEN 1 ELSE 0 END, 0, 0, 0 FROM generate_series(0, {ROWS - 1}) n;
INSERT INTO portfolio.charge_days SELECT broker, account, strategy_id, instrument_id, product,
    '[0,[],[],{{}},0]'
    FROM portfolio.positions;
INSERT INTO portfolio.dp_payers SELECT 'paper', 'default', 'NSE:I' || n, 1, '' FROM generate_series(1, {ROWS}) n;
INSERT INTO portfolio.charge_totals SELECT 'paper', 'default', 's' || n, 'stt', 1, 1 FROM generate_series(0, 299) n;
INSERT INTO portfolio.strategy_totals SELECT 'paper', 'default', 's' || n, 0, 0 FROM generate_series(0, 299) n;
INSERT INTO portfolio.fills SELECT gen_random_uuid(), gen_random_uuid(), 'paper', 'default', 's' || n % 300,
    'NSE:I', 1, 1, 1, 1, 0, 0, now(), '', n + 1 FROM generate_series(1, {ROWS}) n;
INSERT INTO portfolio.ledger_transactions (transaction_id, broker, account, fill_id, revision, market_time)
    SELECT gen_random_uuid(), broker, account, fill_id, revision, now() FROM portfolio.fills;
INSERT INTO portfolio.ledger_entries SELECT gen_random_uuid(), transaction_id, broker, account,
    2 * revision + side, 's' || revision % 300, 'NSE:I', 1, 1, 2 * side - 1
    FROM portfolio.ledger_transactions CROSS JOIN generate_series(0, 1) side;
INSERT INTO portfolio.snapshots (snapshot_id, broker, account, cause, market_time, trading_day, revision, cash,
    equity, realised, unrealised, charges, open_positions) SELECT gen_random_uuid(), 'paper', 'default', 3,
    now() + n * interval '1 second', date '2024-01-01' + n / 1000, 1, 1, 1, 0, 0, 0, 0
    FROM generate_series(1, {ROWS}) n;
ANALYZE portfolio.accounts, portfolio.positions, portfolio.strategy_totals, portfolio.fills,
    portfolio.ledger_transactions, portfolio.ledger_entries, portfolio.snapshots,
    portfolio.charge_days, portfolio.dp_payers, portfolio.charge_totals
"""
BOUNDED = {"accounts", "strategy_totals", "charge_totals"}
"""Tables that a deployment's accounts and strategies bound."""


@pytest.fixture
async def grown(tables: str) -> AsyncIterator[AsyncEngine]:
    """A database whose tables have grown, without the triggers that check each row."""
    engine = open_engine(tables, pool_size=4, slow_query_seconds=60)
    async with engine.begin() as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in GROWN.split(";\n"):
            await connection.execute(text(statement))
    yield engine
    await engine.dispose()


def scans(plan: dict[str, Any]) -> Iterator[str]:
    """Tables that a plan reads from one end to the other."""
    if plan["Node Type"] == "Seq Scan":
        yield plan["Relation Name"]
    for part in plan.get("Plans", ()):
        yield from scans(part)


async def ask_everything(service: Service, fills: Any) -> None:
    """Books fills, takes snapshots, and asks for every list with and without each filter."""
    store, name = service.store, AccountName("paper", "default")
    batch = [fills(n, 1, "100", strategy=f"s{n}", instrument=f"NSE:I{n}") for n in range(1, 51)]
    await service.fill(*batch)
    await service.fill(*batch[:1])
    await service.snapshots.start()
    await service.frame(INFY, "100", 400)
    await service.snapshots.stop()
    await store.state(name, OPENED.date())
    await store.revisions()
    await store.accounts("paper")
    await store.fills_after(name, ROWS, 10)
    order = batch[0].filled.order.order_id
    for strategy_id, flat, key in product(
        ("", "s1"), (False, True), (None, PositionCursor("s1", "NSE:I1", 1))
    ):
        await store.positions(name, strategy_id=strategy_id, include_flat=flat, after=key, limit=100)
    for strategy_id, order_id, before in product(("", "s1"), ("", order), (None, ROWS)):
        await store.fills(name, strategy_id=strategy_id, order_id=order_id, before=before, limit=50)
        await store.charges(name, strategy_id=strategy_id)
    for strategy_id, sequence in product(("", "s1"), (0, ROWS)):
        await store.ledger(name, strategy_id=strategy_id, after=sequence, limit=100)
    for start, end, cursor in product((None, OPENED), (None, OPENED), (None, SnapshotCursor(OPENED, 1))):
        await store.snapshots(name, start=start, end=end, after=cursor, limit=100)


@pytest.mark.parametrize("fills", ["paper"], indirect=True)
async def test_no_query_scans_a_table_that_grows(grown: AsyncEngine, fills, redis: Redis) -> None:
    """Booking, snapshots, every list with and without each filter, and every question of a watch use an index."""
    asked: dict[str, None] = {}

    def asks(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.setdefault(statement)

    event.listen(grown.sync_engine, "before_cursor_execute", asks)
    await ask_everything(Service(stored_in(grown), "paper", Market(), redis), fills)
    event.remove(grown.sync_engine, "before_cursor_execute", asks)
    assert len(asked) > 30
    found = {}
    async with grown.connect() as connection:
        await connection.execute(text("SET plan_cache_mode = force_generic_plan"))
        for number, statement in enumerate(asked):
            await connection.exec_driver_sql(f"PREPARE asked_{number} AS {statement}")
            nulls = ", ".join(["NULL"] * max(map(int, re.findall(r"\$(\d+)", statement)), default=0))
            plan = (
                await connection.exec_driver_sql(
                    f"EXPLAIN (FORMAT JSON) EXECUTE asked_{number}{f'({nulls})' if nulls else ''}"
                )
            ).scalar_one()
            read = json.loads(plan) if isinstance(plan, str) else plan
            if whole := set(scans(read[0]["Plan"])) - BOUNDED:
                found[statement] = whole
    assert found == {}
