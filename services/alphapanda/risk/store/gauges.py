"""Reads risk's gauges: kill switches, and accounts that the daily loss has stopped. Asked at an interval, beside all decisions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.domain.order import TradingState
from alphapanda.storage.engine import without_transactions
from alphapanda.telemetry.figures import Point
from alphapanda.telemetry.gauges import DAILY_LOSS_TRIPPED, TRADING_STATE

# An account's own switch is set by its daily loss alone.
SWITCHES: Final = text(
    "SELECT broker, max(state) FILTER (WHERE account = '') AS state,"
    f" count(*) FILTER (WHERE account <> '' AND state <> {int(TradingState.ACTIVE)}) AS tripped"
    " FROM risk.kill_switches WHERE strategy_id = '' GROUP BY broker"
)
_SHOWN: Final = {TradingState.ACTIVE: 0, TradingState.REDUCING: 1, TradingState.HALTED: 2}


class RiskGauges:
    """Reads the gauges of all brokers with a kill switch.

    Args:
        engine: connections to the database.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = without_transactions(engine)

    async def points(self) -> Sequence[Point]:
        """Returns each broker's kill switch, and the number of its accounts that the daily loss has stopped."""
        async with self._engine.connect() as connection:
            rows = (await connection.execute(SWITCHES)).all()
        states = [
            Point(TRADING_STATE, _SHOWN[TradingState(row.state)], (row.broker,))
            for row in rows
            if row.state is not None
        ]
        return [*states, *(Point(DAILY_LOSS_TRIPPED, row.tripped, (row.broker,)) for row in rows)]
