"""A flood of calls takes no database connection from the services' own work, nor from urgent calls."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import create_async_engine

from alphapanda.resilience.lanes import Lane, current_lane
from alphapanda.storage.engine import without_transactions
from alphapanda.storage.laned_engine import LanedEngine


@pytest.fixture
async def engine(database: str):
    engine = LanedEngine(
        {lane: create_async_engine(database, pool_size=1, max_overflow=0, pool_timeout=0.1) for lane in Lane}
    )
    yield engine
    await engine.dispose()


async def test_each_lane_has_connections_of_its_own(engine) -> None:
    """Where calls hold all of theirs, one more call waits in vain, and the others have one at once, in autocommit too."""
    async with AsyncExitStack() as held:
        current_lane.set(Lane.COMMAND)
        await held.enter_async_context(engine.connect())
        with pytest.raises(PoolTimeout):
            async with without_transactions(engine).connect():
                pass
        for lane in (Lane.SERVICE, Lane.QUERY, Lane.URGENT):
            current_lane.set(lane)
            async with without_transactions(engine).connect() as connection:
                assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
            async with engine.begin() as connection:
                assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
