"""Old rows are deleted in steps; what is young, or may be asked for again, stays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from alphapanda.paper_exchange.store.rows import look_ups_purge
from alphapanda.risk.store.statements import verdicts_purge
from alphapanda.storage import purging
from alphapanda.storage.engine import open_engine
from alphapanda.storage.purging import Purge, Purging, outbox_purge, requests_purge
from alphapanda.strategy.store.postgres import ACTIVATIONS_PURGE
from alphapanda.trading.store.statements import tombstones_purge


@pytest.fixture
async def engine(tables: str) -> AsyncIterator[AsyncEngine]:
    """A database with empty tables."""
    opened = open_engine(tables, 2)
    yield opened
    await opened.dispose()


NOW = datetime(2026, 3, 2, tzinfo=UTC)
KEEP = timedelta(days=7)

# Three rows each: one that is too old, one that is young enough, one that stays whatever its age.
ROWS = {
    requests_purge("risk", KEEP): (
        "INSERT INTO risk.requests (caller, method, request_id, body, received_at)"
        " SELECT 'a', 'm', n, '', :now - make_interval(days => n) FROM generate_series(6, 8, 2) n"
    ),
    outbox_purge("risk", KEEP): (
        "INSERT INTO risk.outbox (event_id, topic, partition, key, value, event_type, source, occurred_at, published_at)"
        " SELECT gen_random_uuid(), 't', 0, '', '', '', '', :now - interval '90 days', published FROM"
        " unnest(ARRAY[:now - interval '8 days', :now - interval '6 days', NULL]) published"
    ),
    tombstones_purge(KEEP): (
        "INSERT INTO trading.tombstones (signal_id, buried_at)"
        " SELECT gen_random_uuid(), :now - make_interval(days => n) FROM generate_series(6, 8, 2) n"
    ),
    look_ups_purge(KEEP): (
        "INSERT INTO paper_exchange.calls (broker, account, what, tag, called_at)"
        " SELECT 'paper', 'a', what, 'x', :now - make_interval(days => n)"
        " FROM (VALUES ('orders_by_tag', 8), ('orders_by_tag', 6), ('place', 90)) made (what, n)"
    ),
    verdicts_purge(KEEP): (
        "INSERT INTO risk.verdicts (signal_id, correlation_id, broker, account, strategy_id, instrument_id, product,"
        " instrument_token, config_revision, approved, reason, message, rules, decided_at, stored_at)"
        " SELECT gen_random_uuid(), '', 'paper', 'a', 's', 'i', 1, 1, 1, false, '', '', '[]', :now - interval '9 years',"
        " :now - make_interval(days => n) FROM generate_series(6, 8, 2) n"
    ),
}


def purging_of(engine: AsyncEngine, *purges: Purge) -> Purging:
    return Purging("risk", engine, purges, 3600.0, lambda: NOW)


async def count(engine: AsyncEngine, table: str) -> int:
    async with engine.connect() as connection:
        return int((await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())


@pytest.mark.parametrize("purge", ROWS, ids=lambda purge: purge.table)
async def test_what_is_too_old_goes_and_the_rest_stays(engine, purge) -> None:
    """Of each table exactly the one row that has outlived its use is deleted, and that is logged once."""
    async with engine.begin() as connection:
        await connection.execute(
            text(ROWS[purge].replace(":now", f"CAST('{NOW.isoformat()}' AS timestamptz)"))
        )
    before = await count(engine, purge.table)
    found = purging_of(engine, purge)
    with capture_logs() as logs:
        await found.purge()
        await found.purge()
    assert await count(engine, purge.table) == before - 1
    assert found.deleted == 1
    assert [(line["event"], line["table"], line["rows"]) for line in logs] == [
        ("rows.purged", purge.table, 1)
    ]


async def test_many_rows_go_in_steps(engine, monkeypatch) -> None:
    """No statement deletes more than a step; a round ends when nothing old is left."""
    monkeypatch.setattr(purging, "STEP", 10)
    monkeypatch.setattr(purging, "PAUSE_SECONDS", 0.0)
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO trading.tombstones (signal_id, buried_at)"
                " SELECT gen_random_uuid(), '2020-01-01' FROM generate_series(1, 35)"
            )
        )
    found = purging_of(engine, tombstones_purge(KEEP))
    await found.purge()
    assert (found.deleted, await count(engine, "trading.tombstones")) == (35, 0)


async def test_an_activation_goes_once_no_restart_needs_it(engine) -> None:
    """Of five activations before a snapshot the newest stays, which says what its revision replaced, and all after it."""
    revisions = "INSERT INTO strategy.revisions (strategy_id, revision, {columns}) SELECT 's', n, {values} FROM generate_series(1, 8) n"
    async with engine.begin() as connection:
        columns = (
            await connection.execute(
                text(
                    "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = 'strategy' AND"
                    " table_name = 'revisions' AND is_nullable = 'NO' AND column_name NOT IN ('strategy_id', 'revision')"
                )
            )
        ).all()
        made = {
            "jsonb": "'{}'",
            "ARRAY": "'{}'",
            "boolean": "false",
            "timestamp with time zone": "now()",
            "text": "'x'",
        }
        await connection.execute(
            text(
                revisions.format(
                    columns=", ".join(name for name, _ in columns),
                    values=", ".join(made.get(kind, "1") for _, kind in columns),
                )
            )
        )
        await connection.execute(
            text(
                "INSERT INTO strategy.activations (strategy_id, revision, partition, next_offset)"
                " SELECT 's', n, 0, n * 10 FROM generate_series(1, 8) n"
            )
        )
        await connection.execute(
            text(
                "INSERT INTO strategy.snapshots (strategy_id, partition, next_offset, revision, state)"
                " VALUES ('s', 0, 65, 6, '')"
            )
        )
    found = purging_of(engine, ACTIVATIONS_PURGE)
    await found.purge()
    async with engine.connect() as connection:
        left = await connection.execute(text("SELECT revision FROM strategy.activations ORDER BY revision"))
        assert list(left.scalars()) == [5, 6, 7, 8]
