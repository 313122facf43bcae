"""The port of trading's store for the protections of positions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from alphapanda.domain.signal import PositionKey
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.order_change import ChangeRequest
from alphapanda.trading.core.protection_record import ProtectionRecord

REMEMBERED: Final = timedelta(minutes=10)
"""Wall time for which an ended protection is remembered: risk may have approved an exit before it knew of the end."""


@dataclass(frozen=True, slots=True)
class StoredProtection:
    """A protection with its sequence number among all (1, 2, 3 …) and the wall time at which its entry was stored."""

    record: ProtectionRecord
    sequence: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ProtectionFilter:
    """A filter for protections; an empty field matches all."""

    broker: str = ""
    account: str = ""
    strategy_id: str = ""
    instrument_id: str = ""
    live_only: bool = True


class ProtectionsInTransaction(Protocol):
    """The protections within a transaction."""

    async def locked(self, key: PositionKey) -> Sequence[ProtectionRecord]:
        """Locks the protections of a position that have not ended, or did lately, and reads them; the oldest first."""

    async def orders_around(self, key: PositionKey, order_ids: Collection[str]) -> Mapping[str, Order]:
        """The position's open orders, and those with these ids, by id."""

    async def changes_of(self, order_ids: Collection[str]) -> Mapping[str, Sequence[ChangeRequest]]:
        """The changes of these orders, oldest first, by order id."""

    async def save(self, records: Sequence[ProtectionRecord]) -> None:
        """Stores what has become of protections; the caller has locked them."""


class ProtectionReads(Protocol):
    """The protections, read outside of transactions."""

    async def live(self, now: datetime) -> Mapping[PositionKey, Sequence[ProtectionRecord]]:
        """Those that have not ended, or did lately by this wall time, by position."""

    async def find(self, order_id: str) -> StoredProtection | None:
        """The protection that an entry asked for, or that a stop or an exit is of; None if there is none."""

    async def newest(
        self, wanted: ProtectionFilter, before: int | None, limit: int
    ) -> Sequence[StoredProtection]:
        """At most `limit` protections, newest first, of those with a sequence below `before`."""
