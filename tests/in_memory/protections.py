"""The protections of positions in memory, for tests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from typing_extensions import override

from alphapanda.domain.signal import PositionKey
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.order_change import ChangeRequest
from alphapanda.trading.core.protection_record import ProtectionRecord, ProtectionState
from alphapanda.trading.store.port import StoredOrder
from alphapanda.trading.store.protection_port import (
    REMEMBERED,
    ProtectionFilter,
    ProtectionReads,
    ProtectionsInTransaction,
    StoredProtection,
)


@dataclass(frozen=True)
class KeptProtection:
    """A row, which is replaced, never changed."""

    stored: StoredProtection
    ended_at: datetime | None


class Tables(Protocol):
    """The tables that it reads."""

    orders: MutableMapping[str, StoredOrder]
    protections: MutableMapping[str, KeptProtection]

    def changes_of(self, order_id: str) -> Sequence[ChangeRequest]:
        """The changes of an order, oldest first."""


def armed(tables: Tables, order: Order, created_at: datetime) -> None:
    """Stores the protection that a new order asks for."""
    if order.protection:
        record = ProtectionRecord.armed(order, order.protection)
        stored = StoredProtection(record, len(tables.protections) + 1, created_at)
        tables.protections[order.order_id] = KeptProtection(stored, None)


class MemoryProtections(ProtectionsInTransaction):
    """The protections within a transaction."""

    def __init__(self, tables: Tables, wall_time: datetime) -> None:
        self._tables = tables
        self._wall_time = wall_time

    @override
    async def locked(self, key: PositionKey) -> Sequence[ProtectionRecord]:
        return [one for one in _live(self._tables, self._wall_time) if one.key == key]

    @override
    async def orders_around(self, key: PositionKey, order_ids: Collection[str]) -> Mapping[str, Order]:
        return {
            order_id: stored.order.copy()
            for order_id, stored in self._tables.orders.items()
            if order_id in order_ids or (stored.order.key == key and not stored.order.status.is_final)
        }

    @override
    async def changes_of(self, order_ids: Collection[str]) -> Mapping[str, Sequence[ChangeRequest]]:
        return {order_id: self._tables.changes_of(order_id) for order_id in order_ids}

    @override
    async def save(self, records: Sequence[ProtectionRecord]) -> None:
        for record in records:
            kept = self._tables.protections[record.protection_id]
            ended = record.state is ProtectionState.ENDED
            self._tables.protections[record.protection_id] = KeptProtection(
                StoredProtection(deepcopy(record), kept.stored.sequence, kept.stored.created_at),
                (kept.ended_at or self._wall_time) if ended else None,
            )


class MemoryProtectionReads(ProtectionReads):
    """The protections read outside of transactions."""

    def __init__(self, tables: Callable[[], Tables]) -> None:
        self._tables = tables

    @override
    async def live(self, now: datetime) -> Mapping[PositionKey, Sequence[ProtectionRecord]]:
        found: defaultdict[PositionKey, list[ProtectionRecord]] = defaultdict(list)
        for record in _live(self._tables(), now):
            found[record.key].append(record)
        return found

    @override
    async def find(self, order_id: str) -> StoredProtection | None:
        for kept in reversed(self._tables().protections.values()):
            record = kept.stored.record
            if order_id in (record.protection_id, *record.own_orders):
                return kept.stored
        return None

    @override
    async def newest(
        self, wanted: ProtectionFilter, before: int | None, limit: int
    ) -> Sequence[StoredProtection]:
        return [
            kept.stored
            for kept in reversed(self._tables().protections.values())
            if (before is None or kept.stored.sequence < before) and _matches(wanted, kept.stored.record)
        ][:limit]


def _live(tables: Tables, now: datetime) -> list[ProtectionRecord]:
    return [
        deepcopy(kept.stored.record)
        for kept in tables.protections.values()
        if kept.ended_at is None or kept.ended_at >= now - REMEMBERED
    ]


def _matches(wanted: ProtectionFilter, record: ProtectionRecord) -> bool:
    key = record.key
    return (
        wanted.broker in ("", key.broker)
        and wanted.account in ("", key.account)
        and wanted.strategy_id in ("", key.strategy_id)
        and wanted.instrument_id in ("", key.instrument_id)
        and not (wanted.live_only and record.state is ProtectionState.ENDED)
    )
