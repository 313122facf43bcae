"""Trading's store in memory, for simulation: one transaction at a time, nothing survives."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from operator import attrgetter

from google.protobuf.message import Message

from alphapanda.domain.order import OrderStatus, TradingState
from alphapanda.domain.order_events import Fill
from alphapanda.domain.signal import PositionKey
from alphapanda.storage.requests import CommandKey, RequestReused
from alphapanda.trading.core.late_arrival import given_up
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.square_off import Exposure
from alphapanda.trading.store.port import (
    Account,
    ChangedOrder,
    GivenUp,
    KillSwitchCopy,
    OrderFilter,
    PositionFilter,
    StoredOrder,
    TradingTransaction,
    by_key,
    stricter,
)
from panda.events.v1.events_pb2 import Event

_NEVER_SET = KillSwitchCopy(TradingState.ACTIVE, 0)


class _Tables:
    def __init__(self) -> None:
        self.orders: dict[str, StoredOrder] = {}
        self.order_of_signal: dict[str, str] = {}
        self.positions: defaultdict[PositionKey, int] = defaultdict(int)
        self.switches: dict[tuple[str, str], KillSwitchCopy] = {}
        self.buried: set[str] = set()
        self.requests: dict[CommandKey, bytes] = {}
        self.answers: dict[CommandKey, bytes] = {}
        self.events: dict[str, Event] = {}
        self.revisions: dict[Account, int] = {}
        self.changes: dict[str, int] = {}

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
        return twin


class _MemoryTransaction:
    def __init__(self, tables: _Tables, wall_time: datetime) -> None:
        self._tables = tables
        self._wall_time = wall_time
        self._changed: dict[str, Account] = {}

    async def add(self, order: Order) -> bool:
        tables = self._tables
        if order.signal_id in tables.order_of_signal or order.signal_id in tables.buried:
            return False
        tables.order_of_signal[order.signal_id] = order.order_id
        tables.orders[order.order_id] = StoredOrder(order.copy(), len(tables.orders) + 1, self._wall_time)
        self._note(order)
        return True

    async def bury(self, signal_id: str) -> bool:
        if signal_id in self._tables.order_of_signal:
            return False
        self._tables.buried.add(signal_id)
        return True

    async def is_buried(self, signal_id: str) -> bool:
        return signal_id in self._tables.buried

    async def locked(self, order_id: str) -> Order | None:
        stored = self._tables.orders.get(order_id)
        return stored.order.copy() if stored else None

    async def save(self, order: Order, fills: Sequence[Fill] = ()) -> None:
        stored = self._tables.orders[order.order_id]
        self._tables.orders[order.order_id] = StoredOrder(order.copy(), stored.sequence, stored.created_at)
        self._tables.positions[order.key] += order.side.sign * sum(fill.quantity for fill in fills)
        self._note(order)

    async def position(self, key: PositionKey) -> int:
        return self._tables.positions[key]

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

    async def kill_switch(self, broker: str, strategy_id: str = "") -> KillSwitchCopy:
        switches = self._tables.switches
        own = switches.get((broker, ""), _NEVER_SET)
        return stricter(own, switches.get((broker, strategy_id), _NEVER_SET))

    async def apply_kill_switch(
        self, broker: str, state: TradingState, revision: int, strategy_id: str = ""
    ) -> int:
        held = self._tables.switches.get((broker, strategy_id), _NEVER_SET)
        if revision <= held.revision:
            return held.revision
        self._tables.switches[broker, strategy_id] = KillSwitchCopy(state, revision)
        return revision

    async def claim(self, key: CommandKey, request: Message) -> bytes | None:
        body = request.SerializeToString(deterministic=True)
        known = self._tables.requests.get(key)
        if known is None:
            self._tables.requests[key] = body
            return None
        if known != body:
            raise RequestReused(key.request_id)
        return self._tables.answers.get(key, b"")

    async def remember(self, key: CommandKey, answer: Message) -> None:
        self._tables.answers[key] = answer.SerializeToString(deterministic=True)

    async def publish(self, events: Sequence[Event]) -> None:
        for event in events:
            self._tables.events.setdefault(event.event_id, event)

    def _note(self, order: Order) -> None:
        self._changed[order.order_id] = Account(order.key.broker, order.key.account)

    def raise_revisions(self) -> None:
        tables = self._tables
        for order_id, account in self._changed.items():
            tables.revisions[account] = tables.changes[order_id] = tables.revisions.get(account, 0) + 1


class MemoryTradingStore:
    """The store.

    Args:
        wall_clock: aware wall time.
    """

    def __init__(self, wall_clock: Callable[[], datetime]) -> None:
        self._tables = _Tables()
        self._wall_clock = wall_clock
        self._alone = asyncio.Lock()
        self._epoch = 0

    @property
    def events(self) -> Sequence[Event]:
        """Every event stored for publication, in order."""
        return list(self._tables.events.values())

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[TradingTransaction]:
        """As the port says."""
        async with self._alone:
            tables = self._tables.copy()
            transaction = _MemoryTransaction(tables, self._wall_clock())
            yield transaction
            transaction.raise_revisions()
            self._tables = tables

    async def next_epoch(self) -> int:
        """As the port says."""
        self._epoch += 1
        return self._epoch

    async def find(self, order_id: str) -> StoredOrder | None:
        """As the port says."""
        stored = self._tables.orders.get(order_id)
        return StoredOrder(stored.order.copy(), stored.sequence, stored.created_at) if stored else None

    async def find_by_signal(self, signal_id: str) -> StoredOrder | None:
        """As the port says."""
        order_id = self._tables.order_of_signal.get(signal_id)
        return await self.find(order_id) if order_id else None

    async def open_orders(self) -> Sequence[str]:
        """As the port says."""
        orders = self._tables.orders.items()
        return [order_id for order_id, stored in orders if not stored.order.status.is_final]

    async def given_up(self, since: datetime) -> Sequence[GivenUp]:
        """As the port says."""
        return [
            GivenUp(order_id, intent.number, intent.tag, stored.order.key.broker, stored.order.key.account)
            for order_id, stored in self._tables.orders.items()
            if stored.created_at >= since
            for intent in stored.order.intents
            if given_up(intent)
        ]

    async def newest(self, wanted: OrderFilter, before: int | None, limit: int) -> Sequence[StoredOrder]:
        """As the port says."""
        found = [
            stored
            for stored in reversed(self._tables.orders.values())
            if _matches(wanted, stored.order) and (before is None or stored.sequence < before)
        ]
        return found[:limit]

    async def account_revision(self, account: Account) -> int:
        """As the port says."""
        return self._tables.revisions.get(account, 0)

    async def account_revisions(self) -> Mapping[Account, int]:
        """As the port says."""
        return dict(self._tables.revisions)

    async def changed(
        self, account: Account, strategy_id: str, after: int, limit: int
    ) -> Sequence[ChangedOrder]:
        """As the port says."""
        wanted = OrderFilter(*account, strategy_id)
        found = [
            ChangedOrder(self._tables.orders[order_id], revision)
            for order_id, revision in self._tables.changes.items()
            if revision > after and _matches(wanted, self._tables.orders[order_id].order)
        ]
        return sorted(found, key=attrgetter("revision"))[:limit]


def _matches(wanted: OrderFilter, order: Order) -> bool:
    return (
        wanted.broker in ("", order.key.broker)
        and wanted.account in ("", order.key.account)
        and wanted.strategy_id in ("", order.key.strategy_id)
        and (not wanted.statuses or order.status in wanted.statuses)
    )
