"""Reads orders with their intents and fills from trading.orders."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from alphapanda.trading.store.port import StoredOrder
from alphapanda.trading.store.rows import order_from


async def read_orders(
    connection: AsyncConnection, query: Any, parameters: dict[str, Any]
) -> list[StoredOrder]:
    """Executes a query on trading.orders and returns the orders with their intents and fills."""
    return [stored_order(row) for row in await connection.execute(query, parameters)]


def stored_order(row: Row[Any]) -> StoredOrder:
    """The order of a row that comes with its intents and the ids of its fills."""
    return StoredOrder(order_from(row), row.seq, row.created_at)
