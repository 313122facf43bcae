"""How many connections to the database a process may open."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
from sqlalchemy import QueuePool

from alphapanda.app.bound import StopBound
from alphapanda.app.building import open_connections
from alphapanda.settings.sources import load_settings
from alphapanda.trading.traders.brokers import BROKERS
from alphapanda.trading.traders.registry import BrokerRegistry

URL = "postgresql+asyncpg://nobody@localhost/nothing"


@pytest.mark.parametrize("brokers", [["paper"], ["paper", "zerodha"]])
async def test_the_paper_exchange_has_connections_for_simulated_brokers_alone(brokers: list[str]) -> None:
    """A live broker's orders need none of the paper exchange's: two fills of call slots for paper, and no more."""
    settings = load_settings({}, active_brokers=brokers)
    async with AsyncExitStack() as stack:
        _, paper, _ = open_connections(
            settings, BrokerRegistry(BROKERS), URL, "redis://localhost", stack, StopBound(1.0)
        )
        pool = paper.sync_engine.pool
        assert isinstance(pool, QueuePool)
        assert (pool.size(), pool._max_overflow) == (10, 10)
