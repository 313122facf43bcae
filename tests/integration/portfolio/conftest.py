"""Both portfolio stores, and fills to book in them."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.portfolio.store.port import PortfolioStore
from alphapanda.storage.engine import open_engine

sys.path.append(str(Path(__file__).parent))

from portfolio_fills import Fills
from portfolio_service import stored_in
from tests.in_memory.portfolio_store import InMemoryPortfolioStore


@pytest.fixture(params=["paper", "other"])
def fills(request: pytest.FixtureRequest) -> Fills:
    """Fills of one broker; every test runs for two names."""
    return Fills(request.param)


@pytest.fixture
async def engine(tables: str) -> AsyncIterator[AsyncEngine]:
    """An engine on a database with our schema."""
    engine = open_engine(tables, pool_size=4)
    yield engine
    await engine.dispose()


@pytest.fixture(params=["postgres", "memory"])
def store(request: pytest.FixtureRequest) -> PortfolioStore:
    """The store, in PostgreSQL and in memory."""
    if request.param == "memory":
        return InMemoryPortfolioStore()
    return stored_in(request.getfixturevalue("engine"))


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """An empty Redis."""
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()
