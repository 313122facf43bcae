"""The port (interface) of risk's store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, NamedTuple, Protocol

from google.protobuf.message import Message

from alphapanda.domain.order import Product, TradingState
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.verdict import Verdict
from alphapanda.risk.core.book import RiskBook, Superseded
from alphapanda.risk.core.limit_changes import LimitChange
from alphapanda.risk.core.scoped_limits import ScopedLimits
from alphapanda.storage.requests import CommandKey
from panda.events.v1.events_pb2 import Event

ACCOUNTS_REMEMBERED: Final = 1_000
"""Accounts of which a process remembers what it read; with more, it forgets them all and reads them again."""


class SwitchScope(NamedTuple):
    """The scope of a kill switch: a broker, one strategy at it, or one account (whose daily loss sets it)."""

    broker: str
    strategy_id: str = ""
    account: str = ""

    @property
    def words(self) -> str:
        """Names whose switch it is, for a person."""
        if self.strategy_id:
            return f"strategy {self.strategy_id!r} at {self.broker!r}"
        return f"account {self.account!r} at {self.broker!r}" if self.account else f"broker {self.broker!r}"


@dataclass(frozen=True, slots=True)
class KillSwitch:
    """A kill switch.

    Attributes:
        scope: its scope.
        state: ACTIVE, REDUCING or HALTED.
        revision: 0 if it was never set, then 1, 2, 3 ….
        changed_by: who set it.
        reason: why.
        changed_at: wall time of the change; None if it was never set.
    """

    scope: SwitchScope
    state: TradingState = TradingState.ACTIVE
    revision: int = 0
    changed_by: str = ""
    reason: str = ""
    changed_at: datetime | None = None


class Arming(NamedTuple):
    """For which day of the exchange a live account is armed (None: it isn't), and who changed that last, why and when (wall time)."""

    day: date | None = None
    changed_by: str = ""
    reason: str = ""
    changed_at: datetime | None = None


class DueReconciliation(NamedTuple):
    """A broker is halted since a repair or a restore: why, its kill switch's state of before, and since when (wall time)."""

    cause: str
    state_before: TradingState
    due_since: datetime


class HeldPosition(NamedTuple):
    """A position that isn't flat, and the market time of the fill that opened it; None if unknown."""

    key: PositionKey
    opened_at: datetime | None


class Reservation(NamedTuple):
    """The reservation of an approved order, by position key and signal."""

    key: PositionKey
    signal_id: str


@dataclass(frozen=True, slots=True)
class VerdictFilter:
    """Which verdicts to list; an empty or None field doesn't filter.

    Attributes:
        broker: the verdict's broker.
        account: its account.
        strategy_id: its strategy.
        instrument_id: its instrument.
        approved: True for approvals, False for refusals.
        since: earliest market time of the decision, inclusive.
        until: latest market time of the decision, exclusive.
        correlation_id: its chain of events.
    """

    broker: str = ""
    account: str = ""
    strategy_id: str = ""
    instrument_id: str = ""
    approved: bool | None = None
    since: datetime | None = None
    until: datetime | None = None
    correlation_id: str = ""


class NumberedVerdict(NamedTuple):
    """A verdict and its ascending number, with gaps."""

    number: int
    verdict: Verdict


Change = Callable[[KillSwitch], tuple[KillSwitch, Event] | None]
"""Returns the next revision of a kill switch and its event; None changes nothing."""

Answer = Callable[[KillSwitch], Message]
"""Makes the answer to a command from the kill switch after it."""


class AccountFacts(Protocol):
    """What a decision reads from the store besides the book."""

    @property
    def trading_state(self) -> TradingState:
        """The broker's kill switch."""

    @property
    def strategy_switches(self) -> Mapping[str, TradingState]:
        """The kill switches of single strategies at the broker, by strategy id."""

    @property
    def unknown_positions(self) -> frozenset[tuple[str, int]]:
        """(strategy id, instrument token) of positions whose records are parked because of a bug."""

    @property
    def limits(self) -> ScopedLimits:
        """The limits set for the account."""

    @property
    def armed_day(self) -> date | None:
        """The exchange's day for which a live account is armed; None if it isn't."""


class AccountReading(AccountFacts, Protocol):
    """An account as it was read without a lock, for `RiskStore.save_if_unchanged`."""

    def book(self) -> RiskBook:
        """Makes a book of what was read; each call makes a new one."""


class DecisionUnit(AccountFacts, Protocol):
    """A transaction under an account's lock; it commits if its block ends without an error.

    `trading_state` and `strategy_switches` may be read after `book`, and can't change before the unit ends.
    """

    async def book(
        self, keys: Collection[PositionKey], signal_ids: Collection[str], *, whole: bool = False
    ) -> RiskBook:
        """Reads positions, orders, verdicts and the newest day counters.

        Args:
            keys: positions of the unit's account to read.
            signal_ids: signals and orders to read.
            whole: whether to read all positions of the account that are held or have an open order, too.
        """

    async def verdict(self, signal_id: str) -> Verdict | None:
        """The verdict on a signal; None if there is none."""

    async def save(self, book: RiskBook, verdicts: Sequence[Verdict], events: Sequence[Event]) -> None:
        """Stores the book's changes, the new verdicts and their events."""

    async def account_switch(self) -> KillSwitch:
        """Reads the account's own kill switch."""

    async def save_account_switch(self, switch: KillSwitch, event: Event) -> None:
        """Stores the account's own kill switch and its event."""

    async def save_limits(self, change: LimitChange) -> None:
        """Stores a change of the account's limits as the version after that of `limits`."""

    async def arming(self) -> Arming:
        """Reads for which day the account is armed, and who said so."""

    async def save_arming(self, arming: Arming) -> None:
        """Stores for which day the account is armed; decisions that were made on the account before are made again."""

    async def save_halts(self, revision: int, halts: Mapping[str, str]) -> None:
        """Stores in which instruments entries are refused, and why, in place of all before."""

    async def claim(self, key: CommandKey, request: Message) -> bytes | None:
        """Claims a command, so that it is carried out once.

        Returns:
            None if the command is new; otherwise the stored answer.

        Raises:
            RequestReused: its request_id came with a different body.
        """

    async def remember(self, key: CommandKey, answer: Message) -> None:
        """Stores the answer to a claimed command."""


class RiskStore(Protocol):
    """Stores risk's accounts, positions, orders, verdicts, limits and kill switches."""

    async def prepare(self, brokers: Sequence[str]) -> None:
        """Adds the row of each broker's kill switch that has none; existing rows stay as they are."""

    def unit(
        self, broker: str, account: str, *, dry: bool = False
    ) -> AbstractAsyncContextManager[DecisionUnit]:
        """Begins a transaction that locks an account, waiting for the lock; a dry one locks and stores nothing."""

    async def read(
        self,
        broker: str,
        account: str,
        keys: Collection[PositionKey],
        signal_ids: Collection[str],
        *,
        whole: bool = False,
    ) -> AccountReading | None:
        """Reads an account from one snapshot, without a lock.

        Args:
            broker: the account's broker.
            account: the account.
            keys: positions to read.
            signal_ids: signals and orders to read.
            whole: whether to read all positions of the account that are held or have an open order, too.

        Returns:
            None if the account or its broker's kill switch has no row yet to compare with.
        """

    async def save_if_unchanged(
        self, reading: AccountReading, book: RiskBook, verdicts: Sequence[Verdict], events: Sequence[Event]
    ) -> bool:
        """Stores a decision made on a reading, by compare-and-set; waits for a transaction that holds the account's lock.

        Returns:
            False if the account or a kill switch has changed since the reading; nothing is stored then.
        """

    async def verdict(self, signal_id: str) -> Verdict | Signal | None:
        """The verdict on a signal, the signal itself while it waits, or None if it isn't known."""

    async def verdicts(
        self, wanted: VerdictFilter, before: int | None, limit: int
    ) -> Sequence[NumberedVerdict]:
        """Lists at most `limit` verdicts, newest first, with numbers below `before` (None: any)."""

    async def held_intraday(self, brokers: Collection[str]) -> Sequence[HeldPosition]:
        """Lists the MIS positions at these brokers that aren't flat."""

    async def held_contracts(self, brokers: Collection[str]) -> Sequence[HeldPosition]:
        """Lists the NRML positions at these brokers that aren't flat."""

    async def overdue_reservations(
        self, brokers: Collection[str], entries_before: datetime, exits_before: datetime
    ) -> Sequence[Reservation]:
        """Lists approved orders at these brokers of which no order event has come in time.

        Args:
            brokers: the brokers.
            entries_before: market time; entries are listed if their valid_until is before it.
            exits_before: market time; exits are listed if their valid_until is before it.
        """

    async def superseded(self, brokers: Collection[str]) -> Sequence[Superseded]:
        """Lists the orders at these brokers that rest at the exchange while a target waits for their end."""

    async def accounts(self, broker: str) -> Collection[str]:
        """The accounts at a broker in which something was decided or a limit set."""

    async def kill_switch(self, scope: SwitchScope) -> KillSwitch:
        """Reads a kill switch; one without a row was never set."""

    async def strategy_switches(self, brokers: Collection[str]) -> Sequence[KillSwitch]:
        """Lists the kill switches of single strategies at these brokers that were ever set."""

    async def reconciliation_due(self, broker: str) -> DueReconciliation | None:
        """Why a broker is halted until it was reconciled; None where it isn't."""

    async def end_reconciliation(self, broker: str) -> None:
        """Notes that a broker was reconciled."""

    async def held(self, broker: str) -> Mapping[tuple[str, str, Product], int]:
        """Units held by (account, instrument id, product) at a broker, over all strategies; flat ones are left out."""

    async def set_kill_switch(
        self, key: CommandKey, request: Message, scope: SwitchScope, change: Change, answer: Answer
    ) -> bytes:
        """Carries out a command once: stores row, event and answer in one transaction.

        It waits for decisions in progress; decisions that begin after it has returned see the new state.

        Returns:
            The answer, serialised; for a repeated command the stored answer.

        Raises:
            RequestReused: the request_id came with a different body.
        """
