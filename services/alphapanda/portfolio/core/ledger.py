"""Double entry: every transaction's entries add up to exactly zero. Debit is positive, credit negative.

A fill moves cost between CASH and POSITIONS; what a close brought above (or below) the cost it removed is
REALISED_PNL; commission goes from CASH to CHARGES. An account begins with one transaction, CASH against CAPITAL.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from enum import IntEnum
from typing import NamedTuple

from msgspec import Struct

from alphapanda.domain import ids
from alphapanda.domain.order_events import Filled
from alphapanda.domain.signal import PositionKey
from alphapanda.portfolio.core.positions import PositionChange

PRODUCER = "portfolio"


class LedgerAccount(IntEnum):
    """The accounts of the ledger; numbered as in panda.portfolio.v1."""

    CASH = 1
    POSITIONS = 2
    REALISED_PNL = 3
    CHARGES = 4
    CAPITAL = 5


class LedgerEntry(NamedTuple):
    """One line: an amount in rupees, not 0, debit positive."""

    ledger_account: LedgerAccount
    amount: Decimal


class LedgerTransaction(Struct, frozen=True):
    """Entries that belong together and add up to zero.

    Attributes:
        cause_id: the fill, or the opening of the account.
        broker: its broker.
        account: its account at the broker.
        key: the position that moved; None where cash came in.
        market_time: of the cause; None for an opening.
        entries: at least two, in the order of booking; none in the opening of an account that begins with nothing.
    """

    cause_id: str
    broker: str
    account: str
    key: PositionKey | None
    market_time: datetime | None
    entries: tuple[LedgerEntry, ...]

    @property
    def transaction_id(self) -> str:
        """Its identity, which follows from the cause."""
        return ids.output_id(PRODUCER, self.cause_id, "transaction")

    def entry_id(self, n: int) -> str:
        """Identity of the n-th entry, from 0."""
        return ids.output_id(PRODUCER, self.cause_id, "entry", n)


def opening_id(broker: str, account: str) -> str:
    """The cause of an account's first transaction."""
    return ids.derived_id("portfolio opening", broker, account)


def opening(broker: str, account: str, starting_cash: Decimal) -> LedgerTransaction:
    """The first transaction of an account; `starting_cash` in rupees. One that begins with 0 has no entries."""
    return LedgerTransaction(
        cause_id=opening_id(broker, account),
        broker=broker,
        account=account,
        key=None,
        market_time=None,
        entries=(
            LedgerEntry(LedgerAccount.CASH, starting_cash),
            LedgerEntry(LedgerAccount.CAPITAL, -starting_cash),
        )
        if starting_cash
        else (),
    )


def fill_transaction(filled: Filled, change: PositionChange) -> LedgerTransaction:
    """The transaction of a fill that changed its position by `change`: what it closed, what it opened, its commission."""
    order, fill = filled.order, filled.fill
    entries = []
    if change.removed:
        entries.append(LedgerEntry(LedgerAccount.POSITIONS, -change.removed))
    if change.added:
        entries.append(LedgerEntry(LedgerAccount.POSITIONS, change.added))
    entries.append(LedgerEntry(LedgerAccount.CASH, -change.turnover))
    if change.realised:
        entries.append(LedgerEntry(LedgerAccount.REALISED_PNL, -change.realised))
    if fill.commission:
        entries.append(LedgerEntry(LedgerAccount.CHARGES, fill.commission))
        entries.append(LedgerEntry(LedgerAccount.CASH, -fill.commission))
    key = order.key
    return LedgerTransaction(fill.fill_id, key.broker, key.account, key, fill.traded_at, tuple(entries))


def entry_count(filled: Filled, change: PositionChange) -> int:
    """How many entries the transaction of a fill has, without making it."""
    count = 1 + bool(change.removed) + bool(change.added) + bool(change.realised)
    return count + 2 if filled.fill.commission else count


def balance(entries: Iterable[LedgerEntry]) -> Decimal:
    """What the entries add up to: zero in a transaction."""
    return sum((entry.amount for entry in entries), Decimal(0))
