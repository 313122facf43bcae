"""The port of risk's store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from google.protobuf.message import Message

from alphapanda.domain.order import TradingState
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.verdict import Verdict
from alphapanda.risk.core.book import RiskBook
from alphapanda.risk.core.limit_changes import LimitChange
from alphapanda.risk.core.scoped_limits import ScopedLimits
from alphapanda.storage.requests import CommandKey
from panda.events.v1.events_pb2 import Event


class SwitchScope(NamedTuple):
    """What a kill switch is for: a broker, one strategy at it, or (set by its daily loss) one account."""

    broker: str
    strategy_id: str = ""
    account: str = ""


@dataclass(frozen=True, slots=True)
class KillSwitch:
    """A kill switch.

    Attributes:
        scope: what it is for.
        state: what may be traded.
        revision: 0 where it was never set, then 1, 2, 3 ….
        changed_by: who set it.
        reason: why.
        changed_at: wall time of the change; None where it was never set.
    """

    scope: SwitchScope
    state: TradingState = TradingState.ACTIVE
    revision: int = 0
    changed_by: str = ""
    reason: str = ""
    changed_at: datetime | None = None


class HeldPosition(NamedTuple):
    """A position that isn't flat, and the market time of the fill that opened it (None: unknown)."""

    key: PositionKey
    opened_at: datetime | None


class Reservation(NamedTuple):
    """An order that was let through, by its signal."""

    key: PositionKey
    signal_id: str


@dataclass(frozen=True, slots=True)
class VerdictFilter:
    """Which verdicts to list; an empty field, or None, lets all pass.

    Attributes:
        since: least market time of the decision.
        until: market time that it is before.
    """

    broker: str = ""
    account: str = ""
    strategy_id: str = ""
    instrument_id: str = ""
    approved: bool | None = None
    since: datetime | None = None
    until: datetime | None = None


class NumberedVerdict(NamedTuple):
    """A verdict and its place in the list of all, 1, 2, 3 … with gaps."""

    number: int
    verdict: Verdict


Change = Callable[[KillSwitch], tuple[KillSwitch, Event] | None]
"""From the current kill switch to its next revision and the event of it; None changes nothing."""

Answer = Callable[[KillSwitch], Message]


class AccountFacts(Protocol):
    """What the store knows of an account besides its book."""

    @property
    def trading_state(self) -> TradingState:
        """The broker's kill switch."""

    @property
    def strategy_switches(self) -> Mapping[str, TradingState]:
        """The kill switches of single strategies at the broker, by strategy id."""

    @property
    def unknown_positions(self) -> frozenset[tuple[str, int]]:
        """(strategy id, instrument token) of positions whose records are parked behind a bug."""

    @property
    def limits(self) -> ScopedLimits:
        """What is set for the account."""


class AccountReading(AccountFacts, Protocol):
    """An account as it was read without a lock, for `RiskStore.save_if_unchanged`."""

    def book(self) -> RiskBook:
        """A book to decide on, with what was asked for; each call makes one."""


class DecisionUnit(AccountFacts, Protocol):
    """One transaction under an account's lock. It commits when its block ends without an error.

    `trading_state` and `strategy_switches` are known once `book` was read, and can't change before the unit has ended.
    """

    async def book(
        self, keys: Collection[PositionKey], signal_ids: Collection[str], *, whole: bool = False
    ) -> RiskBook:
        """The positions under these keys, the orders and verdicts of these signals, the newest day's counters.

        Args:
            keys: of the unit's account.
            signal_ids: of signals and orders.
            whole: all positions of the account that are held or have an open order, too.
        """

    async def verdict(self, signal_id: str) -> Verdict | None:
        """The verdict given on a signal."""

    async def save(self, book: RiskBook, verdicts: Sequence[Verdict], events: Sequence[Event]) -> None:
        """Stores what changed in the book, the verdicts given on it, and the events that tell of them."""

    async def account_switch(self) -> KillSwitch:
        """The account's own kill switch, for `save_account_switch`."""

    async def save_account_switch(self, switch: KillSwitch, event: Event) -> None:
        """Stores the account's own kill switch and the event that tells of it."""

    async def save_limits(self, change: LimitChange) -> None:
        """Stores a change of the account's limits, as the version that follows `limits`."""

    async def claim(self, key: CommandKey, request: Message) -> bytes | None:
        """None where the command is new and now the caller's; else the answer remembered.

        Raises:
            RequestReused: its request_id came with another body.
        """

    async def remember(self, key: CommandKey, answer: Message) -> None:
        """Stores the answer to a claimed command."""


class RiskStore(Protocol):
    """Risk's own schema."""

    async def prepare(self, brokers: Sequence[str]) -> None:
        """Makes a row for each broker's kill switch that has none; those that are there stay as they are."""

    def unit(
        self, broker: str, account: str, *, dry: bool = False
    ) -> AbstractAsyncContextManager[DecisionUnit]:
        """A transaction on an account; it waits for the one that holds the account's lock. A dry one leaves nothing."""

    async def read(
        self,
        broker: str,
        account: str,
        keys: Collection[PositionKey],
        signal_ids: Collection[str],
        *,
        whole: bool = False,
    ) -> AccountReading | None:
        """An account without a lock, of one snapshot; None where there is nothing yet that could be compared.

        Args:
            broker: its broker.
            account: it.
            keys: of its positions.
            signal_ids: of signals and orders.
            whole: all positions of the account that are held or have an open order, too.
        """

    async def save_if_unchanged(
        self, reading: AccountReading, book: RiskBook, verdicts: Sequence[Verdict], events: Sequence[Event]
    ) -> bool:
        """Stores what was decided on a reading: one compare-and-set, which waits for who holds the account's lock.

        Returns:
            False where something was stored on the account, or a switch was set, since: nothing is stored then.
        """

    async def verdict(self, signal_id: str) -> Verdict | Signal | None:
        """The verdict on a signal, the signal itself while it waits, or None where it isn't known."""

    async def verdicts(
        self, wanted: VerdictFilter, before: int | None, limit: int
    ) -> Sequence[NumberedVerdict]:
        """At most `limit` verdicts, newest first, of those with a number below `before` (None: all)."""

    async def held_intraday(self, brokers: Collection[str]) -> Sequence[HeldPosition]:
        """The MIS positions of these brokers that aren't flat."""

    async def overdue_reservations(
        self, brokers: Collection[str], entries_before: datetime, exits_before: datetime
    ) -> Sequence[Reservation]:
        """Approved orders at these brokers of which no order event has come.

        Args:
            brokers: whose.
            entries_before: market time; only those entries whose valid_until is before it.
            exits_before: market time; the same for exits.
        """

    async def kill_switch(self, scope: SwitchScope) -> KillSwitch:
        """A kill switch; as never set where it has no row."""

    async def strategy_switches(self, brokers: Collection[str]) -> Sequence[KillSwitch]:
        """The kill switches of single strategies at these brokers that were ever set."""

    async def set_kill_switch(
        self, key: CommandKey, request: Message, scope: SwitchScope, change: Change, answer: Answer
    ) -> bytes:
        """Carries out a command once: row, event and remembered answer in one transaction.

        It waits for the decisions under way; those that begin after it has returned see the new state.

        Returns:
            The answer, serialised; the one given before where the command was carried out before.

        Raises:
            RequestReused: the request_id came with another body.
        """
