"""The databases that tests are given: emptied after a test, made anew where it left more than rows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from sqlalchemy import make_url
from tests.databases import Copies, Emptied


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the database of this URL."""
    connection = await asyncpg.connect(
        make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    )
    try:
        yield connection
    finally:
        await connection.close()


def ended(lease: Iterator[str]) -> None:
    """Gives a database back, as a test's end does."""
    assert next(lease, None) is None


@pytest.fixture
def emptied(postgres_dsn: str, copies: Copies, _schema: str) -> Iterator[Emptied]:
    """Databases of this test's own."""
    made = Emptied(postgres_dsn, copies, _schema)
    yield made
    made.close()


async def filled(url: str) -> None:
    """A ledger's row, which nobody may remove; many of another table, and numbers drawn for them."""
    async with opened(url) as connection:
        await connection.execute(
            "SET session_replication_role = replica;"
            " INSERT INTO portfolio.ledger_transactions (transaction_id, broker, account, revision)"
            " VALUES (gen_random_uuid(), 'paper', 'default', 1);"
            " INSERT INTO risk.outbox (event_id, topic, partition, key, value, event_type, source, occurred_at)"
            " SELECT gen_random_uuid(), '', 0, '', repeat('x', 100)::bytea, '', '', now() FROM generate_series(1, 2000)"
        )


async def test_rows_and_drawn_numbers_are_gone_for_the_next_test(emptied: Emptied) -> None:
    """What a test wrote, the append-only ledger too, isn't there for the next on its database, which has another name."""
    first, second = emptied.one(), emptied.one()
    url = next(first)
    await filled(url)
    await filled(next(second))
    await asyncio.to_thread(ended, first)
    await asyncio.to_thread(ended, second)
    again = emptied.one()
    async with opened(next(again)) as connection:
        assert await connection.fetchval("SELECT count(*) FROM portfolio.ledger_transactions") == 0
        assert await connection.fetchval("SELECT count(*) FROM risk.outbox") == 0
        assert await connection.fetchval("SELECT nextval('risk.outbox_seq_seq')") == 1
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        async with opened(url):
            pass
    await asyncio.to_thread(ended, again)
    assert len(emptied.reused) == 1


@pytest.mark.parametrize(
    "more",
    [
        "ALTER TABLE risk.outbox ADD COLUMN more text",
        "DROP INDEX portfolio.fills_of_order",
        "ALTER TABLE portfolio.ledger_transactions DISABLE TRIGGER USER",
        "UPDATE alembic_version SET version_num = 'newer'",
        "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ANALYZE risk.outbox",
    ],
)
async def test_what_left_more_than_rows_is_used_no_more(emptied: Emptied, more: str) -> None:
    """A database whose tables, indexes, triggers, functions, revision or statistics a test changed is dropped."""
    leases = [emptied.one(), emptied.one()]
    for lease in leases:
        url = next(lease)
        await filled(url)
        async with opened(url) as connection:
            await connection.execute(more)
        await asyncio.to_thread(ended, lease)
    fresh = emptied.one()
    next(fresh)
    assert emptied.reused == []
    await asyncio.to_thread(ended, fresh)
