"""Both stores, and the parts around them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from tests.in_memory.strategy_store import MemoryStrategyStore

from alphapanda.contract.topics import TopicMap
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.storage.engine import open_engine
from alphapanda.storage.outbox import Outbox
from alphapanda.strategy.store.postgres import PostgresStrategyStore

BROKERS = ("paper", "zerodha")


@pytest.fixture
def topic_map() -> TopicMap:
    return TopicMap(BROKERS)


@pytest.fixture
async def engine(tables: str) -> AsyncIterator:
    opened = open_engine(tables, 5)
    yield opened
    await opened.dispose()


@pytest.fixture
def postgres_store(engine, topic_map) -> PostgresStrategyStore:
    return PostgresStrategyStore(engine, Outbox("strategy", topic_map))


@pytest.fixture(params=["postgres", "memory"])
def store(request):
    """Each adapter of the port in turn."""
    return request.getfixturevalue("postgres_store") if request.param == "postgres" else MemoryStrategyStore()


@pytest.fixture
def directory() -> InstrumentDirectory:
    def stock(name: str, token: int, lot: int = 1, segment: str = "NSE") -> Instrument:
        return Instrument(
            f"NSE:{name}", token, "NSE", name, name, segment, "EQ", Decimal("0.05"), lot, 0, "NSE_EQ"
        )

    return InstrumentDirectory(
        [
            *(stock(f"S{token}", token) for token in range(1, 41)),
            stock("INFY", 408065),
            stock("LOTS", 77, lot=25),
            stock("NIFTY 50", 256265, segment="INDICES"),
        ]
    )
