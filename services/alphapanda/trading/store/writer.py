"""Writes changed orders in one statement: rows, fills, positions, events and the account's revision (rule 3)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import TextClause
from sqlalchemy.ext.asyncio import AsyncConnection

from alphapanda.storage.outbox import Outbox
from alphapanda.storage.recordset import recordset
from alphapanda.trading.store.port import OrderChange
from alphapanda.trading.store.rows import fill_rows, intent_rows, order_rows
from alphapanda.trading.store.statements import OrderWrites
from panda.events.v1.events_pb2 import Event


@dataclass(frozen=True, slots=True)
class Written:
    """What a statement stored: the ids of the orders, and their events."""

    order_ids: Collection[str]
    events: Sequence[Event]


class OrderWriter:
    """Writes changes of orders on the caller's connection.

    Args:
        outbox: of schema `trading`.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._writes = OrderWrites(outbox)

    async def add(
        self, connection: AsyncConnection, changes: Sequence[OrderChange], created_at: datetime
    ) -> Written:
        """Stores new orders, the first one of each signal, and sets their versions."""
        unique = {change.order.signal_id: change for change in reversed(changes)}
        first = list(reversed(unique.values()))
        return await self._write(connection, first, self._writes.add, {"created_at": created_at})

    async def save(self, connection: AsyncConnection, changes: Sequence[OrderChange]) -> Written:
        """Stores orders whose rows still have the known version, and sets their new versions."""
        return await self._write(connection, changes, self._writes.save, {})

    async def _write(
        self,
        connection: AsyncConnection,
        changes: Sequence[OrderChange],
        statement: Callable[..., TextClause],
        more: Mapping[str, object],
    ) -> Written:
        if not changes:
            return Written(frozenset(), ())
        events = [(event, change.order.order_id) for change in changes for event in change.events]
        fills = fill_rows(changes)
        parameters: dict[str, Any] = {
            "orders": recordset([{**row, **more} for row in order_rows(changes)]),
            "intents": recordset(intent_rows(changes)),
        }
        if fills:
            parameters["fills"] = recordset(fills)
        if events:
            parameters |= self._outbox.values([event for event, _ in events])
            parameters["outbox_order_id"] = [order_id for _, order_id in events]
        rows = await connection.execute(statement(fills=bool(fills), events=bool(events)), parameters)
        versions = {str(row.order_id): int(row.account_revision) for row in rows}
        for change in changes:
            order = change.order
            order.version = versions.get(order.order_id, order.version)
        return Written(versions.keys(), [event for event, order_id in events if order_id in versions])
