"""What a repair or a restore changes in strategy's rows, on a real PostgreSQL."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.contract.topics import TopicPartition
from alphapanda.storage.engine import open_engine
from alphapanda.strategy.store.recovery import raise_revisions, skip_inputs

STRATEGY = text(
    "WITH one AS (INSERT INTO strategy.revisions (strategy_id, revision, state, strategy_type, parameters, instruments,"
    " brokers, account, quantity, product, signal_ttl_seconds, note, changed_by, changed_at)"
    " VALUES (:id, 2, 2, 'rsi', '{\"period\": \"7\"}', '[]', '{paper}', 'default', 10, 1, 60, 'made', 'asha', now())"
    " RETURNING strategy_id) INSERT INTO strategy.strategies SELECT strategy_id, 2, 2 FROM one"
)
REVISIONS = text(
    "SELECT s.strategy_id, s.revision, r.parameters, r.note, r.changed_by FROM strategy.strategies s"
    " JOIN strategy.revisions r USING (strategy_id, revision) ORDER BY 1"
)


@pytest.fixture
async def engine(tables: str):
    engine = open_engine(tables, 1)
    yield engine
    await engine.dispose()


async def test_a_strategy_that_the_log_knows_later_gets_a_revision_above(engine: AsyncEngine) -> None:
    """As it is in the database; one that the log knows as it is keeps its revision, and so it stays when it is done again."""
    async with engine.begin() as connection:
        for name in ("ahead", "level"):
            await connection.execute(STRATEGY, {"id": name})
        seen = {"ahead": 5, "level": 2, "unknown": 9}
        assert await raise_revisions(connection, seen, "restored") == 1
        assert await raise_revisions(connection, seen, "restored") == 0
        found = [tuple(row) for row in await connection.execute(REVISIONS)]
    assert found == [
        ("ahead", 6, {"period": "7"}, "restored", "asha"),
        ("level", 2, {"period": "7"}, "made", "asha"),
    ]


async def test_places_on_order_topics_move_to_the_end(engine: AsyncEngine) -> None:
    """Each partition's own; places on other topics stay."""
    read = "SELECT positions FROM strategy.input_positions ORDER BY partition"
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO strategy.input_positions (partition, positions)"
                """ VALUES (0, '[["a.filled", 0, 5], ["a.filled", 1, 6], ["ticks", 1, 7]]'), (1, '[]')"""
            )
        )
        await skip_inputs(connection, {TopicPartition("a.filled", 0): 50, TopicPartition("a.filled", 1): 60})
        found = list((await connection.execute(text(read))).scalars())
    assert found == [[["a.filled", 0, 50], ["a.filled", 1, 60], ["ticks", 1, 7]], []]
