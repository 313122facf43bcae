"""The port of trading's store: transactions that change orders, and reads outside of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from google.protobuf.message import Message

from alphapanda.domain.order import OrderStatus, TradingState
from alphapanda.domain.order_events import Fill
from alphapanda.domain.signal import PositionKey
from alphapanda.storage.requests import CommandKey, RequestReused
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.square_off import Exposure
from alphapanda.trading.store.change_port import ChangeReads, ChangesInTransaction
from alphapanda.trading.store.protection_port import ProtectionReads, ProtectionsInTransaction
from panda.events.v1.events_pb2 import Event


class Account(NamedTuple):
    """An account at a broker."""

    broker: str
    account: str


class KillSwitchCopy(NamedTuple):
    """Trading's own copy of a kill switch; revision 0 if it was never set."""

    state: TradingState
    revision: int


class SwitchScope(NamedTuple):
    """What a kill switch applies to: a broker, or one strategy at a broker."""

    broker: str
    strategy_id: str = ""

    @property
    def words(self) -> str:
        """Names the switch for a person."""
        return (
            f"strategy {self.strategy_id!r} at {self.broker!r}"
            if self.strategy_id
            else f"broker {self.broker!r}"
        )


class SwitchInForce(NamedTuple):
    """A trading state, and the scope of the kill switch that sets it."""

    state: TradingState
    scope: SwitchScope

    def or_stricter(self, broker: str, state: TradingState) -> SwitchInForce:
        """This one, or another state of the broker's switch if that is stricter."""
        return SwitchInForce(state, SwitchScope(broker)) if state > self.state else self


def with_brokers(scopes: Collection[SwitchScope]) -> AbstractSet[SwitchScope]:
    """The scopes and those of their brokers."""
    return {*scopes, *(SwitchScope(scope.broker) for scope in scopes)}


def strictest(
    scopes: Collection[SwitchScope], copies: Mapping[SwitchScope, KillSwitchCopy]
) -> Mapping[SwitchScope, SwitchInForce]:
    """The kill switch in force for each of `scopes`: the stricter one of the broker's and the strategy's."""
    held = {}
    for scope in scopes:
        brokers = SwitchScope(scope.broker)
        own, one = copies[brokers].state, copies[scope].state
        held[scope] = SwitchInForce(one, scope) if one > own else SwitchInForce(own, brokers)
    return held


@dataclass(frozen=True, slots=True)
class StoredOrder:
    """An order with its sequence number among all orders (1, 2, 3 …) and the wall time of its creation."""

    order: Order
    sequence: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class OrderChange:
    """A change to store: the order's new state, its new fills, which move its key's position, and its events."""

    order: Order
    fills: Sequence[Fill] = ()
    events: Sequence[Event] = ()


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """A filter for orders; an empty field matches all."""

    broker: str = ""
    account: str = ""
    strategy_id: str = ""
    statuses: Collection[OrderStatus] = ()
    signal_id: str = ""
    correlation_id: str = ""
    instrument_id: str = ""


@dataclass(frozen=True, slots=True)
class PositionFilter:
    """A filter for positions; an empty field matches all."""

    strategy_id: str = ""
    instrument_id: str = ""
    broker: str = ""
    account: str = ""


@dataclass(frozen=True, slots=True)
class ChangedOrder:
    """An order in its present state, with its account's revision at the order's last change."""

    stored: StoredOrder
    revision: int


@dataclass(frozen=True, slots=True)
class EndedIntent:
    """An intent that ended without all its units filled, as far as is known."""

    order_id: str
    number: int
    tag: str
    broker: str
    account: str


def by_key(exposure: Exposure) -> tuple[str, str, str, str, int]:
    """Sort key of exposures: by position key."""
    key = exposure.key
    return key.broker, key.account, key.strategy_id, key.instrument_id, int(key.product)


class TradingTransaction(Protocol):
    """One transaction. Orders that it returns are copies for the caller; `add` and `save` store them.

    Each order added or saved raises the revision of its (broker, account) by one and gets that revision as its `version`.
    Lock order: lock all orders first, and add and save last, because that locks the account's row until the commit.
    """

    changes: ChangesInTransaction
    """The cancellations and modifications of orders."""
    protections: ProtectionsInTransaction
    """The protections of positions."""

    async def add(self, changes: Sequence[OrderChange]) -> Collection[str]:
        """Stores new orders.

        Returns:
            The ids of those stored. The others' signals have an order already, which is unchanged, or a tombstone.
        """

    async def add_tombstone(self, signal_id: str) -> bool:
        """Ensures that a signal never gets an order, by a tombstone; waits for transactions that may be adding one.

        Returns:
            False if it has an order already; nothing is changed then.
        """

    async def locked(self, order_id: str) -> Order | None:
        """Locks an order until the transaction ends and reads it; None if there is none."""

    async def save(self, changes: Sequence[OrderChange]) -> Collection[str]:
        """Stores changed orders by compare-and-set: each only if its row still has the order's `version`.

        Returns:
            The ids of those stored. The others were changed by another transaction; nothing of their changes is stored.
        """

    async def position(self, key: PositionKey) -> int:
        """Units held under a position key by trading's own fills, signed."""

    async def exposures(self, wanted: PositionFilter) -> Sequence[Exposure]:
        """Positions that are held or have an open order that risk approved, ordered by key."""

    async def kill_switches(self, scopes: Collection[SwitchScope]) -> Mapping[SwitchScope, SwitchInForce]:
        """Reads the kill switches of the scopes and locks them FOR SHARE until the transaction ends.

        For a strategy, the stricter one of its own and the broker's is returned.
        """

    async def apply_kill_switch(
        self, broker: str, state: TradingState, revision: int, strategy_id: str = "", replaces: int = 0
    ) -> KillSwitchCopy:
        """Stores a newer kill switch, after every transaction that has read the older one has ended.

        Args:
            broker: the broker.
            state: what may be traded.
            revision: 1, 2, 3 …; an older one than the stored changes nothing.
            strategy_id: the strategy it applies to; empty: the whole broker.
            replaces: the revision that it takes the place of, whichever is higher; 0: none.

        Returns:
            The copy stored now.
        """

    async def claim(self, key: CommandKey, request: Message) -> bytes | None:
        """Claims a command for this transaction.

        Returns:
            None if the command is new; otherwise its remembered answer, b"" if it has none.

        Raises:
            RequestReused: its request_id came before with another body.
        """

    async def claim_all(
        self, commands: Sequence[tuple[CommandKey, Message]]
    ) -> Sequence[bytes | RequestReused | None]:
        """Claims commands together; returns for each what `claim` returns, or the error that it raises."""

    async def remember(self, key: CommandKey, answer: Message) -> None:
        """Stores the answer to a claimed command."""

    async def publish(self, events: Sequence[Event]) -> None:
        """Adds events that belong to no order to the outbox."""


class TradingStore(Protocol):
    """Orders, intents, fills, positions and kill-switch copies."""

    protections: ProtectionReads
    """The protections of positions."""

    changes: ChangeReads
    """The cancellations and modifications of orders."""

    def switches_last_read(
        self, scopes: Collection[SwitchScope]
    ) -> Mapping[SwitchScope, KillSwitchCopy] | None:
        """The kill switches of the scopes and of their brokers as they were last read here; None if one never was."""

    async def add_if_unchanged(
        self, changes: Sequence[OrderChange], switches: Mapping[SwitchScope, KillSwitchCopy]
    ) -> Collection[str] | None:
        """Stores new orders like TradingTransaction.add, in a transaction of its own that holds kill switches FOR SHARE.

        Args:
            changes: the orders.
            switches: the kill switches that they were decided by.

        Returns:
            The ids of those stored; None if one of these switches has changed: nothing is stored then.
        """

    def transaction(self) -> AbstractAsyncContextManager[TradingTransaction]:
        """A transaction, committed at the end of the block unless that raises."""

    async def save(self, changes: Sequence[OrderChange]) -> Collection[str]:
        """Stores changed orders like TradingTransaction.save, in a transaction of its own."""

    async def next_epoch(self) -> int:
        """A new epoch for a process that starts, greater than every earlier one."""

    async def find(self, order_id: str) -> StoredOrder | None:
        """The order with this id; None if there is none."""

    async def find_all(self, order_ids: Collection[str]) -> Mapping[str, StoredOrder]:
        """The orders with these ids, by id; those that don't exist are left out."""

    async def find_by_signal(self, signal_id: str) -> StoredOrder | None:
        """The order of a signal; None if there is none."""

    async def has_tombstone(self, signal_id: str) -> bool:
        """Whether a signal has a tombstone, and so never gets an order."""

    async def open_orders(self) -> Sequence[str]:
        """Ids of the orders that have not ended, oldest first."""

    async def accepted_orders(self) -> Sequence[str]:
        """Ids of the open orders of which the broker has accepted a part that isn't filled, oldest first."""

    async def has_orders_under_way(self) -> bool:
        """Whether an open order has a next step that isn't the exchange's: it isn't sent, or its call has no answer yet."""

    async def orders_of_tags(self, tags: Sequence[str]) -> Sequence[str]:
        """Ids of the orders whose intents were sent with these tags, in the order of the tags."""

    async def without_verdict(self) -> Sequence[StoredOrder]:
        """The manual orders that wait for risk's verdict, oldest first."""

    async def absent_intents(self, since: datetime) -> Sequence[EndedIntent]:
        """The absent intents, not found since, of orders created since a wall time; oldest order first."""

    async def intents_ended_short(self, since: datetime) -> Sequence[EndedIntent]:
        """The intents that the broker ended with units left, of orders created since a wall time; oldest order first."""

    async def newest(self, wanted: OrderFilter, before: int | None, limit: int) -> Sequence[StoredOrder]:
        """At most `limit` orders, newest first, of those with a sequence below `before`."""

    async def kill_switch_copies(self, broker: str) -> Mapping[SwitchScope, KillSwitchCopy]:
        """The copies of a broker's kill switches that were ever set, the broker's own first, then by strategy."""

    async def account_revision(self, account: Account) -> int:
        """The revision of an account's orders; 0 if it never had one."""

    async def account_revisions(self) -> Mapping[Account, int]:
        """The revisions of all accounts."""

    async def changed(
        self, account: Account, strategy_id: str, after: int, limit: int
    ) -> Sequence[ChangedOrder]:
        """At most `limit` orders that changed after a revision, ordered by last change; an empty strategy means all."""
