"""The rows of protections in PostgreSQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from typing_extensions import override

from alphapanda.domain.order import Product, Side
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import Protection
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.order_change import ChangeRequest
from alphapanda.trading.core.protection import Guard
from alphapanda.trading.core.protection_actions import Reason
from alphapanda.trading.core.protection_record import ProtectionRecord, ProtectionState
from alphapanda.trading.store.change_rows import change_of
from alphapanda.trading.store.order_reading import read_orders
from alphapanda.trading.store.protection_port import (
    REMEMBERED,
    ProtectionFilter,
    ProtectionReads,
    ProtectionsInTransaction,
    StoredProtection,
)
from alphapanda.trading.store.rows import key_columns
from alphapanda.trading.store.statements import AROUND, newest_protections
from alphapanda.trading.store.tables import LIVE

_KEY: Final = (
    "broker = :broker AND account = :account AND strategy_id = :strategy_id AND instrument_id = :instrument_id"
    " AND product = :product"
)
_CHANGING: Final = (
    "stop_loss", "target", "trail", "stop_trigger", "best", "leaving", "attempts", "alarmed", "state", "stop_order_id",
    "exit_order_id", "stops", "exits", "since", "ended", "message"
)  # fmt: skip
_SELECT: Final = "SELECT p.* FROM trading.protections p"
_NOT_FORGOTTEN: Final = f"({LIVE} OR ended_at >= :since)"
_LIVE = text(f"{_SELECT} WHERE {_NOT_FORGOTTEN} ORDER BY seq")
# Of those that have ended only the position's newest can be so young that it counts.
_LOCKED = text(
    f"{_SELECT} WHERE order_id IN (SELECT order_id FROM trading.protections WHERE {LIVE} AND {_KEY} UNION ALL"
    f" (SELECT order_id FROM trading.protections WHERE {_KEY} ORDER BY seq DESC LIMIT 1))"
    f" AND {_NOT_FORGOTTEN} ORDER BY seq FOR UPDATE"
)
_SAVE = text(
    f"UPDATE trading.protections SET {', '.join(f'{name} = :{name}' for name in _CHANGING)},"
    " entries = CAST(:entries AS uuid[]),"
    f" ended_at = CASE WHEN CAST(:state AS smallint) = {int(ProtectionState.ENDED)} THEN coalesce(ended_at, CAST(:now AS timestamptz)) END WHERE order_id = :order_id"
)
_OF_ORDER = text(
    f"{_SELECT} WHERE order_id IN (SELECT order_id FROM trading.protections WHERE order_id = :order_id"
    " UNION ALL SELECT order_id FROM trading.protections WHERE stop_order_id = :order_id"
    " UNION ALL SELECT order_id FROM trading.protections WHERE exit_order_id = :order_id)"
    " ORDER BY seq DESC LIMIT 1"
)
_CHANGES_OF = text(
    "SELECT * FROM trading.order_changes WHERE order_id = ANY(CAST(:order_ids AS uuid[])) ORDER BY seq"
)


class PostgresProtections(ProtectionsInTransaction):
    """The protections within a transaction on a connection."""

    def __init__(self, connection: AsyncConnection, wall_time: datetime) -> None:
        self._connection = connection
        self._wall_time = wall_time

    @override
    async def locked(self, key: PositionKey) -> Sequence[ProtectionRecord]:
        where = key_columns(key) | {"since": self._wall_time - REMEMBERED}
        return [_record(row) for row in await self._connection.execute(_LOCKED, where)]

    @override
    async def orders_around(self, key: PositionKey, order_ids: Collection[str]) -> Mapping[str, Order]:
        found = await read_orders(self._connection, AROUND, key_columns(key) | {"order_ids": list(order_ids)})
        return {stored.order.order_id: stored.order for stored in found}

    @override
    async def changes_of(self, order_ids: Collection[str]) -> Mapping[str, Sequence[ChangeRequest]]:
        found: defaultdict[str, list[ChangeRequest]] = defaultdict(list)
        for row in await self._connection.execute(_CHANGES_OF, {"order_ids": list(order_ids)}):
            found[str(row.order_id)].append(change_of(row))
        return found

    @override
    async def save(self, records: Sequence[ProtectionRecord]) -> None:
        for record in records:
            await self._connection.execute(_SAVE, _columns(record) | {"now": self._wall_time})


class PostgresProtectionReads(ProtectionReads):
    """The protections read on connections of an engine that commits each statement."""

    def __init__(self, autocommit: AsyncEngine) -> None:
        self._autocommit = autocommit

    @override
    async def live(self, now: datetime) -> Mapping[PositionKey, Sequence[ProtectionRecord]]:
        found: defaultdict[PositionKey, list[ProtectionRecord]] = defaultdict(list)
        async with self._autocommit.connect() as connection:
            for row in await connection.execute(_LIVE, {"since": now - REMEMBERED}):
                record = _record(row)
                found[record.key].append(record)
        return found

    @override
    async def find(self, order_id: str) -> StoredProtection | None:
        async with self._autocommit.connect() as connection:
            row = (await connection.execute(_OF_ORDER, {"order_id": order_id})).first()
        return None if row is None else _stored(row)

    @override
    async def newest(
        self, wanted: ProtectionFilter, before: int | None, limit: int
    ) -> Sequence[StoredProtection]:
        given = {name: value for name, value in asdict(wanted).items() if value}
        live_only = given.pop("live_only", False)
        page = {"before": 2**63 - 1 if before is None else before, "limit": limit}
        async with self._autocommit.connect() as connection:
            rows = await connection.execute(newest_protections(*given, live_only=live_only), given | page)
            return [_stored(row) for row in rows]


def _columns(record: ProtectionRecord) -> dict[str, Any]:
    guard, levels = record.guard, record.levels
    return {
        "order_id": record.protection_id,
        "stop_loss": levels.stop_loss,
        "target": levels.target,
        "trail": levels.trail,
        "stop_trigger": guard.stop_loss,
        "best": guard.best,
        "leaving": guard.leaving.value if guard.leaving else "",
        "attempts": guard.attempts,
        "alarmed": guard.alarmed,
        "state": int(record.state),
        "entries": record.entries,
        "stop_order_id": record.stop_order_id or None,
        "exit_order_id": record.exit_order_id or None,
        "stops": record.stops,
        "exits": record.exits,
        "since": record.since,
        "ended": record.ended.value if record.ended else "",
        "message": record.message,
    }


def _record(row: Row[Any]) -> ProtectionRecord:
    guard = Guard(
        Side(row.side),
        row.stop_trigger,
        row.target,
        row.trail,
        row.best,
        Reason(row.leaving) if row.leaving else None,
        row.attempts,
        row.alarmed,
    )
    return ProtectionRecord(
        str(row.order_id),
        PositionKey(row.broker, row.account, row.strategy_id, row.instrument_id, Product(row.product)),
        row.instrument_token,
        row.correlation_id,
        Protection(row.stop_loss, row.target, row.trail),
        guard,
        ProtectionState(row.state),
        [str(entry) for entry in row.entries],
        str(row.stop_order_id or ""),
        str(row.exit_order_id or ""),
        row.stops,
        row.exits,
        row.since,
        Reason(row.ended) if row.ended else None,
        row.message,
    )


def _stored(row: Row[Any]) -> StoredProtection:
    return StoredProtection(_record(row), row.seq, row.created_at)
