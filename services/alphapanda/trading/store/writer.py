"""Writes changed orders in one statement: rows, fills, positions, events and the account's revision (rule 3)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, TextClause
from sqlalchemy.ext.asyncio import AsyncConnection

from alphapanda.storage.outbox import Outbox
from alphapanda.storage.recordset import recordset
from alphapanda.trading.store.port import KillSwitchCopy, OrderChange, SwitchScope
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
        first = _first_of_each_signal(changes)
        return await self._write(connection, first, self._writes.add, {"created_at": created_at})

    async def add_if_unchanged(
        self,
        connection: AsyncConnection,
        changes: Sequence[OrderChange],
        created_at: datetime,
        switches: Mapping[SwitchScope, KillSwitchCopy],
    ) -> Written | None:
        """Does the same if the kill switches are still as given, and locks them until then; None if one has changed."""
        first = _first_of_each_signal(changes)
        rows = await self._executed(
            connection,
            first,
            self._writes.add_if_unchanged,
            {"created_at": created_at},
            {
                "switch_brokers": [scope.broker for scope in switches],
                "switch_strategies": [scope.strategy_id for scope in switches],
                "switch_states": [int(copy.state) for copy in switches.values()],
                "switch_revisions": [copy.revision for copy in switches.values()],
            },
        )
        if not rows[0].unchanged:
            return None
        return _written(first, [row for row in rows if row.order_id is not None])

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
        return _written(changes, await self._executed(connection, changes, statement, more, {}))

    async def _executed(
        self,
        connection: AsyncConnection,
        changes: Sequence[OrderChange],
        statement: Callable[..., TextClause],
        more: Mapping[str, object],
        others: Mapping[str, object],
    ) -> Sequence[Row[Any]]:
        """Executes a statement on changes. `more`: columns of each order; `others`: further parameters."""
        events = [(event, change.order.order_id) for change in changes for event in change.events]
        fills = fill_rows(changes)
        parameters: dict[str, Any] = {
            "orders": recordset([{**row, **more} for row in order_rows(changes)]),
            "intents": recordset(intent_rows(changes)),
            **others,
        }
        if fills:
            parameters["fills"] = recordset(fills)
        if events:
            parameters |= self._outbox.values([event for event, _ in events])
            parameters["outbox_order_id"] = [order_id for _, order_id in events]
        protected = any(change.order.protection for change in changes)
        made = statement(fills=bool(fills), events=bool(events), protected=protected)
        found = await connection.execute(made, parameters)
        return found.all()


def _first_of_each_signal(changes: Sequence[OrderChange]) -> Sequence[OrderChange]:
    unique = {change.order.signal_id: change for change in reversed(changes)}
    return list(reversed(unique.values()))


def _written(changes: Sequence[OrderChange], rows: Sequence[Row[Any]]) -> Written:
    """Gives the stored orders their new versions."""
    versions = {str(row.order_id): int(row.account_revision) for row in rows}
    stored = [change for change in changes if change.order.order_id in versions]
    for change in stored:
        change.order.version = versions[change.order.order_id]
    return Written(versions.keys(), [event for change in stored for event in change.events])
