"""Changes of positions that no trade explains: units that move to another position, or another number of units at the same cost.

What moves takes its cost along and realises nothing where it comes from; it realises where it meets units of the other side. So cash
never changes, and nothing is lost to rounding.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.money import ZERO
from alphapanda.domain.order_events import Filled
from alphapanda.portfolio.core.ledger import LedgerAccount, LedgerEntry, LedgerTransaction
from alphapanda.portfolio.core.positions import Position, PositionChange, part


class Adjusted(Struct, frozen=True, gc=False):
    """The booking of an adjustment.

    Attributes:
        filled: the event.
        changes: of its position, and of the other one where there is one.
        revision: the account's revision after it.
        first_sequence: number of its first entry in the account's ledger, from 1.
    """

    filled: Filled
    changes: tuple[PositionChange, ...]
    revision: int
    first_sequence: int

    @property
    def transaction(self) -> LedgerTransaction:
        """Its ledger transaction; without entries where it moves no cost."""
        return transaction_of(self.filled, self.changes)


def moved(
    source: Position, target: Position, units: int, at: datetime
) -> tuple[PositionChange, PositionChange]:
    """The changes of two positions where `units` (signed, of the source's sign) move from one to the other at market time `at`.

    Raises:
        InvalidInput: the source doesn't hold them.
    """
    held = source.quantity
    if units * held <= 0 or abs(units) > abs(held):
        raise InvalidInput("quantity", units, f"at most the {held} units that {source.key} holds")
    cost = source.cost if units == held else part(source.cost, abs(units), abs(held))
    left = Position(source.key, held - units, source.cost - cost, source.realised, source.charges, at)
    return PositionChange(left, cost, ZERO, ZERO, -cost), _received(target, units, cost, at)


def _received(target: Position, units: int, cost: Decimal, at: datetime) -> PositionChange:
    """The change of a position that gets `units` at `cost` rupees, both signed alike."""
    held = target.quantity
    quantity = held + units
    if held * units >= 0:
        removed, added, realised = ZERO, cost, ZERO
    elif abs(units) <= abs(held):
        removed = target.cost if not quantity else part(target.cost, abs(units), abs(held))
        added, realised = ZERO, -cost - removed
    else:
        closing = part(cost, abs(held), abs(units))
        removed, added = target.cost, cost - closing
        realised = -closing - removed
    after = Position(
        target.key, quantity, target.cost - removed + added, target.realised + realised, target.charges, at
    )
    return PositionChange(after, removed, added, realised, cost)


def rescaled(position: Position, delta: int, at: datetime) -> PositionChange:
    """The change of a position to `delta` more (or fewer) units at the same cost, at market time `at`.

    Raises:
        InvalidInput: nothing is held, or nothing would be left.
    """
    quantity = position.quantity + delta
    if quantity * position.quantity <= 0:
        raise InvalidInput(
            "quantity",
            delta,
            f"a change that leaves units of the {position.quantity} that {position.key} holds",
        )
    after = Position(position.key, quantity, position.cost, position.realised, position.charges, at)
    return PositionChange(after, position.cost, position.cost, ZERO, ZERO)


def transaction_of(filled: Filled, changes: tuple[PositionChange, ...]) -> LedgerTransaction:
    """The ledger transaction of an adjustment: cost leaves a position, and enters one."""
    entries = []
    for change in changes:
        key = change.position.key
        for account, amount in (
            (LedgerAccount.POSITIONS, -change.removed),
            (LedgerAccount.POSITIONS, change.added),
            (LedgerAccount.REALISED_PNL, -change.realised),
        ):
            if amount:
                entries.append(LedgerEntry(account, amount, key=key))
    key, fill = filled.order.key, filled.fill
    return LedgerTransaction(
        fill.fill_id, key.broker, key.account, key, fill.traded_at, tuple(entries), is_fill=False
    )
