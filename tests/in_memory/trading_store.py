"""Trading's store in memory: one transaction at a time, nothing survives."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from operator import attrgetter

from google.protobuf.message import Message
from tests.in_memory.protections import (
    KeptProtection,
    MemoryProtectionReads,
    MemoryProtections,
    armed,
)
from typing_extensions import override

from alphapanda.domain.order import OrderStatus, TradingState
from alphapanda.domain.signal import PositionKey
from alphapanda.storage.requests import CommandKey, RequestReused
from alphapanda.trading.core.intent import Intent
from alphapanda.trading.core.late_arrival import is_absent
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.order_change import ChangeRequest
from alphapanda.trading.core.square_off import Exposure
from alphapanda.trading.store.change_port import ChangeReads, ChangesInTransaction, StoredChange
from alphapanda.trading.store.port import (
    Account,
    ChangedOrder,
    EndedIntent,
    KillSwitchCopy,
    OrderChange,
    OrderFilter,
    PositionFilter,
    StoredOrder,
    SwitchInForce,
    SwitchScope,
    TradingStore,
    TradingTransaction,
    by_key,
    strictest,
    with_brokers,
)
from panda.events.v1.events_pb2 import Event

_NEVER_SET = KillSwitchCopy(TradingState.ACTIVE, 0)


class _Tables:
    def __init__(self) -> None:
        self.orders: dict[str, StoredOrder] = {}
        self.order_of_signal: dict[str, str] = {}
        self.positions: defaultdict[PositionKey, int] = defaultdict(int)
        self.switches: dict[SwitchScope, KillSwitchCopy] = {}
        self.buried: set[str] = set()
        self.requests: dict[CommandKey, bytes] = {}
        self.answers: dict[CommandKey, bytes] = {}
        self.events: dict[str, Event] = {}
        self.revisions: dict[Account, int] = {}
        self.changes: dict[str, StoredChange] = {}
        self.protections: dict[str, KeptProtection] = {}

    def copy(self) -> _Tables:
        """Rows are replaced, never changed, so the tables are copied and the rows are not."""
        twin = _Tables()
        twin.orders = dict(self.orders)
        twin.order_of_signal = dict(self.order_of_signal)
        twin.positions = self.positions.copy()
        twin.switches = dict(self.switches)
        twin.buried = set(self.buried)
        twin.requests = dict(self.requests)
        twin.answers = dict(self.answers)
        twin.events = dict(self.events)
        twin.revisions = dict(self.revisions)
        twin.changes = dict(self.changes)
        twin.protections = dict(self.protections)
        return twin

    def changes_of(self, order_id: str) -> Sequence[ChangeRequest]:
        """The changes of an order, oldest first."""
        return [replace(one.change) for one in self.changes.values() if one.change.order_id == order_id]


class _ChangesInMemory(ChangesInTransaction, ChangeReads):
    """The changes of orders, in a transaction's tables or in those of the store."""

    def __init__(self, tables: Callable[[], _Tables], wall_time: datetime | None) -> None:
        self._tables = tables
        self._wall_time = wall_time

    @override
    async def add(self, changes: Sequence[ChangeRequest]) -> None:
        assert self._wall_time is not None
        for change in changes:
            self._tables().changes.setdefault(
                change.change_id, StoredChange(replace(change), self._wall_time)
            )

    @override
    async def save(self, changes: Sequence[ChangeRequest]) -> None:
        held = self._tables().changes
        for change in changes:
            held[change.change_id] = StoredChange(replace(change), held[change.change_id].created_at)

    @override
    async def unresolved(self, order_id: str) -> Sequence[ChangeRequest]:
        return [
            replace(one.change)
            for one in self._tables().changes.values()
            if one.change.order_id == order_id and not one.change.status.is_final
        ]

    @override
    async def orders_with_unresolved(self) -> Sequence[str]:
        stored = self._tables().changes.values()
        return list(dict.fromkeys(one.change.order_id for one in stored if not one.change.status.is_final))

    @override
    async def find(self, change_ids: Collection[str]) -> Sequence[StoredChange]:
        return [one for change_id, one in self._tables().changes.items() if change_id in change_ids]

    @override
    async def of_order(self, order_id: str, limit: int) -> Sequence[StoredChange]:
        of_it = [one for one in self._tables().changes.values() if one.change.order_id == order_id]
        return of_it[-limit:]


class _MemoryTransaction(TradingTransaction):
    def __init__(
        self,
        tables: _Tables,
        wall_time: datetime,
        switches_read: dict[SwitchScope, KillSwitchCopy],
    ) -> None:
        self._tables = tables
        self._wall_time = wall_time
        self._switches_read = switches_read
        self.changes = _ChangesInMemory(lambda: tables, wall_time)
        self.protections = MemoryProtections(tables, wall_time)

    @override
    async def add(self, changes: Sequence[OrderChange]) -> Collection[str]:
        tables = self._tables
        added = set()
        for change in changes:
            order = change.order
            if order.signal_id in tables.order_of_signal or order.signal_id in tables.buried:
                continue
            tables.order_of_signal[order.signal_id] = order.order_id
            self._store(change, len(tables.orders) + 1, self._wall_time)
            armed(tables, order, self._wall_time)
            added.add(order.order_id)
        return added

    @override
    async def add_tombstone(self, signal_id: str) -> bool:
        if signal_id in self._tables.order_of_signal:
            return False
        self._tables.buried.add(signal_id)
        return True

    @override
    async def locked(self, order_id: str) -> Order | None:
        stored = self._tables.orders.get(order_id)
        return stored.order.copy() if stored else None

    @override
    async def save(self, changes: Sequence[OrderChange]) -> Collection[str]:
        saved = set()
        for change in changes:
            stored = self._tables.orders[change.order.order_id]
            if stored.order.version == change.order.version:
                self._store(change, stored.sequence, stored.created_at)
                saved.add(change.order.order_id)
        return saved

    @override
    async def position(self, key: PositionKey) -> int:
        return self._tables.positions[key]

    @override
    async def exposures(self, wanted: PositionFilter) -> Sequence[Exposure]:
        orders = (stored.order for stored in self._tables.orders.values())
        keys = {key for key, quantity in self._tables.positions.items() if quantity}
        keys |= {
            order.key
            for order in orders
            if not order.status.is_final and order.status is not OrderStatus.PENDING_RISK
        }
        found = [
            Exposure(key, self._tables.positions[key])
            for key in keys
            if wanted.strategy_id in ("", key.strategy_id)
            and wanted.instrument_id in ("", key.instrument_id)
            and wanted.broker in ("", key.broker)
            and wanted.account in ("", key.account)
        ]
        return sorted(found, key=by_key)

    @override
    async def kill_switches(self, scopes: Collection[SwitchScope]) -> Mapping[SwitchScope, SwitchInForce]:
        asked = with_brokers(scopes)
        copies = {scope: self._tables.switches.get(scope, _NEVER_SET) for scope in asked}
        self._switches_read.update(copies)
        return strictest(scopes, copies)

    @override
    async def apply_kill_switch(
        self, broker: str, state: TradingState, revision: int, strategy_id: str = "", replaces: int = 0
    ) -> KillSwitchCopy:
        whose = SwitchScope(broker, strategy_id)
        held = self._tables.switches.get(whose, _NEVER_SET)
        if revision > held.revision or (replaces and replaces == held.revision):
            held = self._tables.switches[whose] = KillSwitchCopy(state, revision)
        return held

    @override
    async def claim(self, key: CommandKey, request: Message) -> bytes | None:
        body = request.SerializeToString(deterministic=True)
        known = self._tables.requests.get(key)
        if known is None:
            self._tables.requests[key] = body
            return None
        if known != body:
            raise RequestReused(key.request_id)
        return self._tables.answers.get(key, b"")

    @override
    async def claim_all(
        self, commands: Sequence[tuple[CommandKey, Message]]
    ) -> Sequence[bytes | RequestReused | None]:
        claimed: list[bytes | RequestReused | None] = []
        for key, request in commands:
            try:
                claimed.append(await self.claim(key, request))
            except RequestReused as reused:
                claimed.append(reused)
        return claimed

    @override
    async def remember(self, key: CommandKey, answer: Message) -> None:
        self._tables.answers[key] = answer.SerializeToString(deterministic=True)

    @override
    async def publish(self, events: Sequence[Event]) -> None:
        for event in events:
            self._tables.events.setdefault(event.event_id, event)

    def _store(self, change: OrderChange, sequence: int, created_at: datetime) -> None:
        tables, order = self._tables, change.order
        account = Account(order.key.broker, order.key.account)
        tables.revisions[account] = order.version = tables.revisions.get(account, 0) + 1
        tables.orders[order.order_id] = StoredOrder(order.copy(), sequence, created_at)
        tables.positions[order.key] += order.side.sign * sum(fill.quantity for fill in change.fills)
        for event in change.events:
            tables.events.setdefault(event.event_id, event)


class MemoryTradingStore(TradingStore):
    """The store.

    Args:
        wall_clock: aware wall time.
    """

    def __init__(self, wall_clock: Callable[[], datetime]) -> None:
        self._tables = _Tables()
        self._wall_clock = wall_clock
        self._alone = asyncio.Lock()
        self._switches_read: dict[SwitchScope, KillSwitchCopy] = {}
        self._epoch = 0
        self.changes = _ChangesInMemory(lambda: self._tables, None)
        self.protections = MemoryProtectionReads(lambda: self._tables)

    @property
    def events(self) -> Sequence[Event]:
        """Every event stored for publication, in order."""
        return list(self._tables.events.values())

    @asynccontextmanager
    @override
    async def transaction(self) -> AsyncIterator[TradingTransaction]:
        async with self._alone:
            tables = self._tables.copy()
            yield _MemoryTransaction(tables, self._wall_clock(), self._switches_read)
            self._tables = tables

    @override
    def switches_last_read(
        self, scopes: Collection[SwitchScope]
    ) -> Mapping[SwitchScope, KillSwitchCopy] | None:
        asked = with_brokers(scopes)
        if not asked <= self._switches_read.keys():
            return None
        return {scope: self._switches_read[scope] for scope in asked}

    @override
    async def add_if_unchanged(
        self, changes: Sequence[OrderChange], switches: Mapping[SwitchScope, KillSwitchCopy]
    ) -> Collection[str] | None:
        async with self.transaction() as transaction:
            held = self._tables.switches
            if any(held.get(scope, _NEVER_SET) != copy for scope, copy in switches.items()):
                return None
            return await transaction.add(changes)

    @override
    async def save(self, changes: Sequence[OrderChange]) -> Collection[str]:
        async with self.transaction() as transaction:
            return await transaction.save(changes)

    @override
    async def next_epoch(self) -> int:
        self._epoch += 1
        return self._epoch

    @override
    async def find(self, order_id: str) -> StoredOrder | None:
        stored = self._tables.orders.get(order_id)
        return StoredOrder(stored.order.copy(), stored.sequence, stored.created_at) if stored else None

    @override
    async def find_all(self, order_ids: Collection[str]) -> Mapping[str, StoredOrder]:
        found = [await self.find(order_id) for order_id in order_ids]
        return {stored.order.order_id: stored for stored in found if stored is not None}

    @override
    async def find_by_signal(self, signal_id: str) -> StoredOrder | None:
        order_id = self._tables.order_of_signal.get(signal_id)
        return await self.find(order_id) if order_id else None

    @override
    async def has_tombstone(self, signal_id: str) -> bool:
        return signal_id in self._tables.buried

    @override
    async def open_orders(self) -> Sequence[str]:
        orders = self._tables.orders.items()
        return [order_id for order_id, stored in orders if not stored.order.status.is_final]

    @override
    async def accepted_orders(self) -> Sequence[str]:
        return [order_id for order_id in await self.open_orders() if self._is_accepted(order_id)]

    @override
    async def has_orders_under_way(self) -> bool:
        return any(not self._is_accepted(order_id) for order_id in await self.open_orders())

    @override
    async def orders_of_tags(self, tags: Sequence[str]) -> Sequence[str]:
        orders = self._tables.orders.values()
        of_tag = {intent.tag: stored.order.order_id for stored in orders for intent in stored.order.intents}
        return [of_tag[tag] for tag in tags if tag in of_tag]

    def _is_accepted(self, order_id: str) -> bool:
        accepted = (OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED)
        return any(intent.status in accepted for intent in self._tables.orders[order_id].order.intents)

    @override
    async def without_verdict(self) -> Sequence[StoredOrder]:
        orders = self._tables.orders.values()
        return [stored for stored in orders if stored.order.status is OrderStatus.PENDING_RISK]

    @override
    async def absent_intents(self, since: datetime) -> Sequence[EndedIntent]:
        return self._intents(since, is_absent)

    @override
    async def intents_ended_short(self, since: datetime) -> Sequence[EndedIntent]:
        return self._intents(since, attrgetter("ended_short"))

    def _intents(self, since: datetime, are: Callable[[Intent], bool]) -> Sequence[EndedIntent]:
        return [
            EndedIntent(
                order_id, intent.number, intent.tag, stored.order.key.broker, stored.order.key.account
            )
            for order_id, stored in self._tables.orders.items()
            if stored.created_at >= since
            for intent in stored.order.intents
            if are(intent)
        ]

    @override
    async def newest(self, wanted: OrderFilter, before: int | None, limit: int) -> Sequence[StoredOrder]:
        found = [
            stored
            for stored in reversed(self._tables.orders.values())
            if _matches(wanted, stored.order) and (before is None or stored.sequence < before)
        ]
        return found[:limit]

    @override
    async def kill_switch_copies(self, broker: str) -> Mapping[SwitchScope, KillSwitchCopy]:
        held = self._tables.switches
        return {
            scope: held[scope] for scope in sorted(held) if scope.broker == broker and held[scope].revision
        }

    @override
    async def account_revision(self, account: Account) -> int:
        return self._tables.revisions.get(account, 0)

    @override
    async def account_revisions(self) -> Mapping[Account, int]:
        return dict(self._tables.revisions)

    @override
    async def changed(
        self, account: Account, strategy_id: str, after: int, limit: int
    ) -> Sequence[ChangedOrder]:
        wanted = OrderFilter(*account, strategy_id)
        found = [
            ChangedOrder(stored, stored.order.version)
            for stored in self._tables.orders.values()
            if stored.order.version > after and _matches(wanted, stored.order)
        ]
        return sorted(found, key=attrgetter("revision"))[:limit]


def _matches(wanted: OrderFilter, order: Order) -> bool:
    return (
        wanted.broker in ("", order.key.broker)
        and wanted.account in ("", order.key.account)
        and wanted.strategy_id in ("", order.key.strategy_id)
        and wanted.instrument_id in ("", order.key.instrument_id)
        and (not wanted.statuses or order.status in wanted.statuses)
    )
