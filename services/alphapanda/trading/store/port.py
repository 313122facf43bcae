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


class SwitchScope(NamedTuple):
    """Whose kill switch: a broker's, or one strategy's at it."""

    broker: str
    strategy_id: str = ""


def strictest(
    scopes: Collection[SwitchScope], copies: Mapping[SwitchScope, KillSwitchCopy]
) -> Mapping[SwitchScope, KillSwitchCopy]:
    """What holds for each of `scopes`: the broker's own, or its strategy's where that lets less through."""
    held = {}
    for scope in scopes:
        own, one = copies[SwitchScope(scope.broker)], copies[scope]
        held[scope] = one if one.state > own.state else own
    return held


@dataclass(frozen=True, slots=True)
class StoredOrder:
    """An order with its place in the list of all (1, 2, 3 …) and the wall time at which it was made."""

    order: Order
    sequence: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class OrderChange:
    """An order as it shall stand, with its new fills, which move its key's position, and the events that tell of it."""

    order: Order
    fills: Sequence[Fill] = ()
    events: Sequence[Event] = ()


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
    """One transaction. Orders it hands out are the caller's own; `add` and `save` store them.

    Each order that it adds or saves raises the revision of its (broker, account) by one, and gets it as its `version`.
    Whoever changes several orders locks all of them first, and adds and saves last of all: the account's row is taken
    after the orders' and held until the end.
    """

    async def add(self, changes: Sequence[OrderChange]) -> Collection[str]:
        """Stores new orders.

        Returns:
            The ids of those stored; the others' signals have an order already, which stays as it is, or were buried.
        """

    async def bury(self, signal_id: str) -> bool:
        """Makes certain that a signal never gets an order, once every transaction that may add one has ended.

        Returns:
            False where it has one; nothing is changed then.
        """

    async def locked(self, order_id: str) -> Order | None:
        """The order, kept from everybody else until the transaction ends."""

    async def save(self, changes: Sequence[OrderChange]) -> Collection[str]:
        """Stores orders as they shall stand, each where its row still has the order's `version`.

        Returns:
            The ids of those stored; the others were changed by somebody else, and nothing of theirs is stored.
        """

    async def position(self, key: PositionKey) -> int:
        """Units held by trading's own fills, signed."""

    async def exposures(self, wanted: PositionFilter) -> Sequence[Exposure]:
        """Positions that are held or have an order under way that risk let through, ordered by key."""

    async def kill_switches(self, scopes: Collection[SwitchScope]) -> Mapping[SwitchScope, KillSwitchCopy]:
        """The copies as they stand; they can't change until the transaction ends.

        A strategy's is the stricter of its own and the broker's.
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
        """Stores events that belong to no order, for the relay."""


class TradingStore(Protocol):
    """The store."""

    def transaction(self) -> AbstractAsyncContextManager[TradingTransaction]:
        """A transaction, committed at the end of the block unless that raises."""

    async def save(self, changes: Sequence[OrderChange]) -> Collection[str]:
        """TradingTransaction.save as a transaction of its own."""

    async def next_epoch(self) -> int:
        """A number greater than any before: the epoch of a process that takes over."""

    async def find(self, order_id: str) -> StoredOrder | None:
        """An order."""

    async def find_by_signal(self, signal_id: str) -> StoredOrder | None:
        """The order of a signal."""

    async def is_buried(self, signal_id: str) -> bool:
        """Whether a signal never gets an order."""

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
