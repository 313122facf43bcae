"""Reads trading's gauges: open orders by status. Asked at an interval, beside all orders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.domain.order import OrderStatus
from alphapanda.storage.engine import without_transactions
from alphapanda.telemetry.figures import Point
from alphapanda.telemetry.gauges import ORDERS_OPEN, ORDERS_UNKNOWN
from alphapanda.trading.store.tables import OPEN

OPEN_BY_STATUS: Final = text(
    f"SELECT broker, status, count(*) AS orders FROM trading.orders WHERE {OPEN} GROUP BY broker, status"
)
OPEN_STATUSES: Final = tuple(status for status in OrderStatus if not status.is_final)


class TradingGauges:
    """Reads the gauges of the active brokers.

    Args:
        engine: connections to the database.
        brokers: the active brokers.
    """

    def __init__(self, engine: AsyncEngine, brokers: Iterable[str]) -> None:
        self._engine = without_transactions(engine)
        self._brokers = tuple(brokers)

    async def points(self) -> Sequence[Point]:
        """Returns the number of open orders in each status, and of those without a clear answer."""
        async with self._engine.connect() as connection:
            rows = (await connection.execute(OPEN_BY_STATUS)).all()
        found = {(row.broker, OrderStatus(row.status)): row.orders for row in rows}
        brokers = sorted({*self._brokers, *(broker for broker, _ in found)})
        return [
            *(
                Point(ORDERS_OPEN, found.get((broker, status), 0), (broker, status.name))
                for broker in brokers
                for status in OPEN_STATUSES
            ),
            *(
                Point(ORDERS_UNKNOWN, found.get((broker, OrderStatus.UNKNOWN), 0), (broker,))
                for broker in brokers
            ),
        ]
