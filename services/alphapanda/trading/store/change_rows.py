"""The rows of order changes in PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from typing_extensions import override

from alphapanda.storage.order_terms import NO_TERMS, terms_columns, terms_of
from alphapanda.storage.recordset import recordset, rows_of
from alphapanda.trading.core.order_change import ChangeKind, ChangeRequest, ChangeStatus
from alphapanda.trading.store.change_port import ChangeReads, ChangesInTransaction, StoredChange
from alphapanda.trading.store.tables import UNRESOLVED

_COLUMNS = (
    "change_id, order_id, kind, requested_by, reason, quantity, order_type, validity, limit_price, trigger_price,"
    " status, epoch, calls, intent, message"
)
_GIVEN = f"{rows_of('trading.order_changes', 'changes')} WITH ORDINALITY AS given"
_ADD = text(
    f"INSERT INTO trading.order_changes ({_COLUMNS}, created_at)"
    f" SELECT {_COLUMNS}, created_at FROM {_GIVEN} ORDER BY ordinality ON CONFLICT (change_id) DO NOTHING"
)
_SAVE = text(
    "UPDATE trading.order_changes held SET status = given.status, epoch = given.epoch, calls = given.calls,"
    f" intent = given.intent, message = given.message FROM {_GIVEN} WHERE held.change_id = given.change_id"
)
_UNRESOLVED_OF = text(
    f"SELECT * FROM trading.order_changes WHERE {UNRESOLVED} AND order_id = :order_id ORDER BY seq"
)
_WITH_UNRESOLVED = text(
    f"SELECT order_id FROM trading.order_changes WHERE {UNRESOLVED} GROUP BY order_id ORDER BY min(seq)"
)
_BY_ID = text(
    "SELECT * FROM trading.order_changes WHERE change_id = ANY(CAST(:change_ids AS uuid[])) ORDER BY seq"
)
_OF_ORDER = text(
    "SELECT * FROM (SELECT * FROM trading.order_changes WHERE order_id = :order_id ORDER BY seq DESC LIMIT :limit)"
    " AS newest ORDER BY seq"
)


class PostgresChanges(ChangesInTransaction):
    """The changes within a transaction on a connection."""

    def __init__(self, connection: AsyncConnection, wall_time: datetime) -> None:
        self._connection = connection
        self._wall_time = wall_time

    @override
    async def add(self, changes: Sequence[ChangeRequest]) -> None:
        if changes:
            rows = [_row(change) | {"created_at": self._wall_time} for change in changes]
            await self._connection.execute(_ADD, {"changes": recordset(rows)})

    @override
    async def unresolved(self, order_id: str) -> Sequence[ChangeRequest]:
        return [
            change_of(row) for row in await self._connection.execute(_UNRESOLVED_OF, {"order_id": order_id})
        ]

    @override
    async def save(self, changes: Sequence[ChangeRequest]) -> None:
        if changes:
            await self._connection.execute(
                _SAVE, {"changes": recordset([_row(change) for change in changes])}
            )


class PostgresChangeReads(ChangeReads):
    """The changes read on connections of an engine that commits each statement."""

    def __init__(self, autocommit: AsyncEngine) -> None:
        self._autocommit = autocommit

    @override
    async def unresolved(self, order_id: str) -> Sequence[ChangeRequest]:
        async with self._autocommit.connect() as connection:
            return [
                change_of(row) for row in await connection.execute(_UNRESOLVED_OF, {"order_id": order_id})
            ]

    @override
    async def orders_with_unresolved(self) -> Sequence[str]:
        async with self._autocommit.connect() as connection:
            return [str(row.order_id) for row in await connection.execute(_WITH_UNRESOLVED)]

    @override
    async def find(self, change_ids: Collection[str]) -> Sequence[StoredChange]:
        async with self._autocommit.connect() as connection:
            return [
                _stored(row) for row in await connection.execute(_BY_ID, {"change_ids": list(change_ids)})
            ]

    @override
    async def of_order(self, order_id: str, limit: int) -> Sequence[StoredChange]:
        async with self._autocommit.connect() as connection:
            found = await connection.execute(_OF_ORDER, {"order_id": order_id, "limit": limit})
            return [_stored(row) for row in found]


def _row(change: ChangeRequest) -> dict[str, Any]:
    return {
        "change_id": change.change_id,
        "order_id": change.order_id,
        "kind": int(change.kind),
        "requested_by": change.requested_by,
        "reason": change.reason,
        "quantity": change.quantity,
        **(NO_TERMS if change.terms is None else terms_columns(change.terms)),
        "status": int(change.status),
        "epoch": change.epoch,
        "calls": change.calls,
        "intent": change.intent,
        "message": change.message,
    }


def change_of(row: Row[Any]) -> ChangeRequest:
    """The change of a row of trading.order_changes."""
    return ChangeRequest(
        str(row.change_id),
        str(row.order_id),
        ChangeKind(row.kind),
        row.requested_by,
        row.reason,
        row.quantity,
        None if row.order_type is None else terms_of(row),
        ChangeStatus(row.status),
        row.epoch,
        row.calls,
        row.intent,
        row.message,
    )


def _stored(row: Row[Any]) -> StoredChange:
    return StoredChange(change_of(row), row.created_at)
