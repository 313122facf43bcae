"""The port of trading's store. Everything that decides happens in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from google.protobuf.message import Message

from alphapanda.domain.order import OrderStatus, TradingState
from alphapanda.domain.order_events import Fill
from alphapanda.domain.signal import PositionKey
from alphapanda.storage.requests import CommandKey
from alphapanda.trading.core.order import Order
from panda.events.v1.events_pb2 import Event


@dataclass(frozen=True, slots=True)
class KillSwitchCopy:
    """Trading's own copy of a broker's kill switch; revision 0 where it was never set."""

    state: TradingState
    revision: int


@dataclass(frozen=True, slots=True)
class StoredOrder:
    """An order with its place in the list of all (1, 2, 3 …) and the wall time at which it was made."""

    order: Order
    sequence: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """Which orders to list; an empty field lets all pass."""

    broker: str = ""
    account: str = ""
    strategy_id: str = ""
    statuses: Collection[OrderStatus] = ()


class TradingTransaction(Protocol):
    """One transaction. Orders it hands out are the caller's own; `save` stores them."""

    async def add(self, order: Order) -> bool:
        """Stores a new order; False where its signal has one already, which stays as it is."""

    async def locked(self, order_id: str) -> Order | None:
        """The order, kept from everybody else until the transaction ends."""

    async def save(self, order: Order, fills: Sequence[Fill] = ()) -> None:
        """Stores a locked order as it stands with its new fills, which move its key's position."""

    async def position(self, key: PositionKey) -> int:
        """Units held by trading's own fills, signed."""

    async def kill_switch(self, broker: str) -> KillSwitchCopy:
        """The copy as it stands; it can't change until the transaction ends."""

    async def apply_kill_switch(self, broker: str, state: TradingState, revision: int) -> int:
        """Takes a newer kill switch, once every transaction that read the older one has ended.

        Returns:
            The revision held now; that of a newer one where `revision` is older.
        """

    async def claim(self, key: CommandKey, request: Message) -> bool:
        """True where the command is new and now the caller's, False where it came before.

        Raises:
            RequestReused: its request_id came with another body.
        """

    async def publish(self, events: Sequence[Event]) -> None:
        """Stores events for the relay; their order is locked by this transaction."""


class TradingStore(Protocol):
    """The store."""

    def transaction(self) -> AbstractAsyncContextManager[TradingTransaction]:
        """A transaction, committed at the end of the block unless that raises."""

    async def next_epoch(self) -> int:
        """A number greater than any before: the epoch of a process that takes over."""

    async def find(self, order_id: str) -> StoredOrder | None:
        """An order."""

    async def find_by_signal(self, signal_id: str) -> StoredOrder | None:
        """The order of a signal."""

    async def open_orders(self) -> Sequence[str]:
        """Ids of the orders that have not ended, oldest first."""

    async def newest(self, wanted: OrderFilter, before: int | None, limit: int) -> Sequence[StoredOrder]:
        """At most `limit` orders, newest first, of those with a sequence below `before`."""
