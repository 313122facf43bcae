"""How many statements PostgreSQL is sent before a frame's signals are published, counted at the driver."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest
from asyncpg.prepared_stmt import PreparedStatement

from alphapanda.strategy.store.postgres import PostgresStrategyStore


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is sent to PostgreSQL from here on."""
    sent: list[str] = []
    fetch, execute = PreparedStatement.fetch, asyncpg.Connection.execute

    async def counting_fetch(self: Any, *args: Any, **named: Any) -> Any:
        sent.append(self.get_query())
        return await fetch(self, *args, **named)

    async def counting_execute(self: Any, query: str, *args: Any, **named: Any) -> Any:
        sent.append(query)
        return await execute(self, query, *args, **named)

    monkeypatch.setattr(PreparedStatement, "fetch", counting_fetch)
    monkeypatch.setattr(asyncpg.Connection, "execute", counting_execute)
    return sent


async def test_the_check_of_a_partitions_owner_is_one_statement(
    postgres_store: PostgresStrategyStore, sent: list[str]
) -> None:
    """It stands before every signal, so it is one round trip: no transaction is begun for it."""
    owner = await postgres_store.take(0)
    await postgres_store.require(owner)
    sent.clear()
    await postgres_store.require(owner)
    assert len(sent) == 1, sent


async def test_the_check_of_a_partitions_owner_does_not_wait_for_the_disk(
    postgres_store: PostgresStrategyStore, sent: list[str]
) -> None:
    """Its lock is written to the journal, which nobody needs after a crash; what is stored beside a check is flushed."""
    owner = await postgres_store.take(0)
    await postgres_store.require(owner)
    assert "set_config('synchronous_commit', 'off', true)" in sent[-1]
    sent.clear()
    await postgres_store.record_inputs(owner, 1, [], {})
    assert not any("synchronous_commit" in statement for statement in sent), sent
