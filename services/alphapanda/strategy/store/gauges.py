"""Reads the strategy service's gauges: strategies by state. Asked at an interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.storage.engine import without_transactions
from alphapanda.strategy.core.config import StrategyState
from alphapanda.telemetry.figures import Point
from alphapanda.telemetry.gauges import STRATEGIES

BY_STATE: Final = text("SELECT state, count(*) AS strategies FROM strategy.strategies GROUP BY state")
SHOWN_STATES: Final = (StrategyState.RUNNING, StrategyState.STOPPED)


class StrategyGauges:
    """Reads the gauges.

    Args:
        engine: connections to the database.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = without_transactions(engine)

    async def points(self) -> Sequence[Point]:
        """Returns the number of strategies in each state."""
        async with self._engine.connect() as connection:
            rows = (await connection.execute(BY_STATE)).all()
        found = {StrategyState(row.state): row.strategies for row in rows}
        return [Point(STRATEGIES, found.get(state, 0), (state.name.lower(),)) for state in SHOWN_STATES]
