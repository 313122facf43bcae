"""Double entry: every transaction's entries add up to exactly zero. Debit is positive, credit negative.

A fill moves cost between CASH and POSITIONS. The proceeds of a close less the cost it removes are REALISED_PNL.
Charges go from CASH to CHARGES. An account begins with one transaction, CASH against CAPITAL.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from enum import IntEnum
from typing import NamedTuple

from msgspec import Struct

from alphapanda.domain import ids
from alphapanda.domain.charges import NO_CHARGES, Charges
from alphapanda.domain.order_events import Filled
from alphapanda.domain.signal import PositionKey
from alphapanda.portfolio.core.positions import PositionChange

PRODUCER = "portfolio"


class LedgerAccount(IntEnum):
    """The ledger's accounts; numbered as in panda.portfolio.v1."""

    CASH = 1
    POSITIONS = 2
    REALISED_PNL = 3
    CHARGES = 4
    CAPITAL = 5


class LedgerEntry(NamedTuple):
    """One entry: an amount in rupees, not 0, debit positive; an entry of CHARGES is the sum of its lines, if it has any.

    `key` is its position where that isn't the transaction's.
    """

    ledger_account: LedgerAccount
    amount: Decimal
    charges: Charges = NO_CHARGES
    key: PositionKey | None = None


class LedgerTransaction(Struct, frozen=True, gc=False):
    """Entries that belong together and add up to zero.

    Attributes:
        cause_id: id of the fill, or of the account's opening.
        broker: the account's broker.
        account: the account's name at the broker.
        key: the fill's position key; None for an opening.
        market_time: of the fill; None for an opening.
        entries: at least two, in the order of booking; none if an account is opened with 0 cash.
        is_fill: whether the cause is a fill, where there is a key; otherwise it is a correction.
    """

    cause_id: str
    broker: str
    account: str
    key: PositionKey | None
    market_time: datetime | None
    entries: tuple[LedgerEntry, ...]
    is_fill: bool = True

    @property
    def transaction_id(self) -> str:
        """The transaction's id, derived from the cause."""
        return ids.output_id(PRODUCER, self.cause_id, "transaction")

    def entry_id(self, n: int) -> str:
        """The id of the n-th entry, from 0."""
        return ids.output_id(PRODUCER, self.cause_id, "entry", n)


def opening_id(broker: str, account: str) -> str:
    """The cause id of an account's opening transaction."""
    return ids.derived_id("portfolio opening", broker, account)


def opening(broker: str, account: str, starting_cash: Decimal) -> LedgerTransaction:
    """The opening transaction of an account; `starting_cash` in rupees. With 0 it has no entries."""
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


def fill_transaction(
    filled: Filled, change: PositionChange, paid: Decimal, charges: Charges = NO_CHARGES
) -> LedgerTransaction:
    """The transaction of a fill: closed cost, opened cost, cash, profit, charges.

    Args:
        filled: the event.
        change: of its position.
        paid: rupees of charges.
        charges: their lines; none where only the sum is known.
    """
    order, fill = filled.order, filled.fill
    entries = []
    if change.removed:
        entries.append(LedgerEntry(LedgerAccount.POSITIONS, -change.removed))
    if change.added:
        entries.append(LedgerEntry(LedgerAccount.POSITIONS, change.added))
    entries.append(LedgerEntry(LedgerAccount.CASH, -change.turnover))
    if change.realised:
        entries.append(LedgerEntry(LedgerAccount.REALISED_PNL, -change.realised))
    if paid:
        entries.append(LedgerEntry(LedgerAccount.CHARGES, paid, charges))
        entries.append(LedgerEntry(LedgerAccount.CASH, -paid))
    key = order.key
    return LedgerTransaction(fill.fill_id, key.broker, key.account, key, fill.traded_at, tuple(entries))


def correction(key: PositionKey, cause_id: str, at: datetime, paid: Decimal) -> LedgerTransaction:
    """The transaction that puts a position's charges right: `paid` rupees more, or less where it is negative; not 0."""
    entries = (LedgerEntry(LedgerAccount.CHARGES, paid), LedgerEntry(LedgerAccount.CASH, -paid))
    return LedgerTransaction(cause_id, key.broker, key.account, key, at, entries, is_fill=False)


def entry_count(change: PositionChange, paid: Decimal) -> int:
    """The number of entries in a fill's transaction, without making the transaction."""
    count = 1 + bool(change.removed) + bool(change.added) + bool(change.realised)
    return count + 2 if paid else count


def balance(entries: Iterable[LedgerEntry]) -> Decimal:
    """The sum of entries; zero for a whole transaction."""
    return sum((entry.amount for entry in entries), Decimal(0))
