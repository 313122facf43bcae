"""The port of trading's store for changes of orders: cancellations and modifications, each a row before its broker call."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from alphapanda.trading.core.order_change import ChangeRequest


@dataclass(frozen=True, slots=True)
class StoredChange:
    """A change with the wall time at which it was asked for."""

    change: ChangeRequest
    created_at: datetime


class ChangesInTransaction(Protocol):
    """The changes of orders within a transaction. Lock an order before its changes are read to be saved."""

    async def add(self, changes: Sequence[ChangeRequest]) -> None:
        """Stores new changes; one whose id is stored already stays as it is."""

    async def unresolved(self, order_id: str) -> Sequence[ChangeRequest]:
        """The changes of an order that have not ended, oldest first."""

    async def save(self, changes: Sequence[ChangeRequest]) -> None:
        """Stores what has become of changes; the caller has locked their orders."""


class ChangeReads(Protocol):
    """The changes of orders, read outside of transactions."""

    async def unresolved(self, order_id: str) -> Sequence[ChangeRequest]:
        """The changes of an order that have not ended, oldest first."""

    async def orders_with_unresolved(self) -> Sequence[str]:
        """Ids of the orders with changes that have not ended, the order of the oldest change first."""

    async def find(self, change_ids: Collection[str]) -> Sequence[StoredChange]:
        """The changes with these ids, oldest first; those that don't exist are left out."""

    async def of_order(self, order_id: str, limit: int) -> Sequence[StoredChange]:
        """The newest changes of an order, at most `limit`, oldest first."""
