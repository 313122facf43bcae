"""The port of trading's store. Everything that decides happens in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from google.protobuf.message import Message

from alphapanda.domain.order import OrderStatus, TradingState
from alphapanda.domain.order_events import Fill
from alphapanda.domain.signal import PositionKey
from alphapanda.storage.requests import CommandKey
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.square_off import Exposure
from panda.events.v1.events_pb2 import Event


class Account(NamedTuple):
    """Whose orders."""

    broker: str
    account: str


@dataclass(frozen=True, slots=True)
class KillSwitchCopy:
    """Trading's own copy of a kill switch; revision 0 where it was never set."""

    state: TradingState
    revision: int


def stricter(one: KillSwitchCopy, other: KillSwitchCopy) -> KillSwitchCopy:
    """The one that lets less through; the first where both let the same."""
    return other if other.state > one.state else one


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


@dataclass(frozen=True, slots=True)
class PositionFilter:
    """Which positions; an empty field lets all pass."""

    strategy_id: str = ""
    instrument_id: str = ""
    broker: str = ""
    account: str = ""


@dataclass(frozen=True, slots=True)
class ChangedOrder:
    """An order as it stands, with the revision that its account had by its last change."""

    stored: StoredOrder
    revision: int


@dataclass(frozen=True, slots=True)
class GivenUp:
    """An intent that ended as absent, of which the broker has shown nothing since."""

    order_id: str
    number: int
    tag: str
    broker: str
    account: str


def by_key(exposure: Exposure) -> tuple[str, str, str, str, int]:
    """The order in which exposures are listed."""
    key = exposure.key
    return key.broker, key.account, key.strategy_id, key.instrument_id, int(key.product)


class TradingTransaction(Protocol):
    """One transaction. Orders it hands out are the caller's own; `save` stores them.

    Each order that it adds or saves raises the revision of its (broker, account) by one, when it ends.
    """

    async def add(self, order: Order) -> bool:
        """Stores a new order.

        Returns:
            False where its signal has one already, which stays as it is, or was buried.
        """

    async def bury(self, signal_id: str) -> bool:
        """Makes certain that a signal never gets an order, once every transaction that may add one has ended.

        Returns:
            False where it has one; nothing is changed then.
        """

    async def is_buried(self, signal_id: str) -> bool:
        """Whether a signal never gets an order."""

    async def locked(self, order_id: str) -> Order | None:
        """The order, kept from everybody else until the transaction ends."""

    async def save(self, order: Order, fills: Sequence[Fill] = ()) -> None:
        """Stores a locked order as it stands with its new fills, which move its key's position."""

    async def position(self, key: PositionKey) -> int:
        """Units held by trading's own fills, signed."""

    async def exposures(self, wanted: PositionFilter) -> Sequence[Exposure]:
        """Positions that are held or have an order under way that risk let through, ordered by key."""

    async def kill_switch(self, broker: str, strategy_id: str = "") -> KillSwitchCopy:
        """The copy as it stands; it can't change until the transaction ends.

        With a strategy, the stricter of the broker's and the strategy's own.
        """

    async def apply_kill_switch(
        self, broker: str, state: TradingState, revision: int, strategy_id: str = ""
    ) -> int:
        """Takes a newer kill switch, once every transaction that read the older one has ended.

        Args:
            broker: whose.
            state: what may be traded.
            revision: 1, 2, 3 ….
            strategy_id: the strategy whose own it is; empty: the broker's.

        Returns:
            The revision held now; that of a newer one where `revision` is older.
        """

    async def claim(self, key: CommandKey, request: Message) -> bytes | None:
        """None where the command is new and now the caller's; else the answer remembered, b"" where there is none.

        Raises:
            RequestReused: its request_id came with another body.
        """

    async def remember(self, key: CommandKey, answer: Message) -> None:
        """Stores the answer to a claimed command."""

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

    async def given_up(self, since: datetime) -> Sequence[GivenUp]:
        """The intents given up as absent of orders made since a wall time, oldest order first."""

    async def newest(self, wanted: OrderFilter, before: int | None, limit: int) -> Sequence[StoredOrder]:
        """At most `limit` orders, newest first, of those with a sequence below `before`."""

    async def account_revision(self, account: Account) -> int:
        """The revision of an account's orders; 0 where there was none."""

    async def account_revisions(self) -> Mapping[Account, int]:
        """The same of every account."""

    async def changed(
        self, account: Account, strategy_id: str, after: int, limit: int
    ) -> Sequence[ChangedOrder]:
        """At most `limit` orders that changed after a revision, by their last change; an empty strategy means all."""
