"""Positions at exact cost: running average, no lots.

Cost has the sign of the position: the amount paid for a long one, minus the amount received for a short one. So on both
sides market value is quantity x price, and unrealised profit is market value - cost.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.money import ZERO
from alphapanda.domain.signal import PositionKey

_SMALLEST = Decimal("0.0001")
_PER_RUPEE = 10_000
_PAISA_UNITS = _PER_RUPEE // 100


class Position(Struct, frozen=True, gc=False):
    """A position; amounts in rupees, exact.

    Attributes:
        key: broker, account, strategy, instrument and product.
        quantity: units held, signed.
        cost: of the units held, with the sign of `quantity`; 0 when flat.
        realised: profit of closed units, before commission.
        charges: commission and charges paid, 0 or more.
        changed_at: market time of the fill that changed it last; None if none did, or it isn't known.
    """

    key: PositionKey
    quantity: int = 0
    cost: Decimal = ZERO
    realised: Decimal = ZERO
    charges: Decimal = ZERO
    changed_at: datetime | None = None

    @property
    def average_price(self) -> Decimal | None:
        """Cost of one unit, rounded to four decimals for display; None when flat."""
        return (self.cost / self.quantity).quantize(_SMALLEST) if self.quantity else None

    def after(
        self, delta: int, price: Decimal, commission: Decimal, at: datetime | None = None
    ) -> PositionChange:
        """The change made by a fill of `delta` signed units (not 0) at `price` rupees, at market time `at`.

        A partial close removes cost x closed / held, rounded to the paisa (halves away from zero); a full close
        removes all of it; a flip closes all and opens the rest. Realised = proceeds - cost removed, so that nothing
        is lost to rounding.

        Raises:
            InvalidInput: a price that isn't positive, a negative commission, or either finer than 0.0001 rupees.
        """
        _check_amounts(price, commission)
        held = self.quantity
        quantity = held + delta
        turnover = delta * price
        if held * delta >= 0:
            removed, added, realised = ZERO, turnover, ZERO
            cost = self.cost + turnover
        elif abs(delta) >= abs(held):
            removed, added = self.cost, quantity * price
            realised = held * price - removed
            cost = added
        else:
            removed, added = part(self.cost, abs(delta), abs(held)), ZERO
            realised = -turnover - removed
            cost = self.cost - removed
        position = Position(self.key, quantity, cost, self.realised + realised, self.charges + commission, at)
        return PositionChange(position, removed, added, realised, turnover)


class PositionChange(Struct, frozen=True, gc=False):
    """The change of a position by a fill; all amounts are signed rupees, and turnover = added - removed - realised.

    Attributes:
        position: after the fill.
        removed: cost of the units closed.
        added: cost of the units opened.
        realised: profit of the units closed, before commission.
        turnover: signed units filled x price, which is the cash paid before commission.
    """

    position: Position
    removed: Decimal
    added: Decimal
    realised: Decimal
    turnover: Decimal

    def charged(self, more: Decimal) -> PositionChange:
        """The change with `more` charges than the fill's commission, in rupees; may be negative."""
        held = self.position
        position = Position(
            held.key, held.quantity, held.cost, held.realised, held.charges + more, held.changed_at
        )
        return PositionChange(position, self.removed, self.added, self.realised, self.turnover)


def _check_amounts(price: Decimal, commission: Decimal) -> None:
    if not price > 0 or price != price.quantize(_SMALLEST):
        raise InvalidInput("fill.price", price, "a positive number of rupees with at most 4 decimals")
    if commission and (commission < 0 or commission != commission.quantize(_SMALLEST)):
        raise InvalidInput("fill.commission", commission, "0 or more rupees with at most 4 decimals")


def part(cost: Decimal, closed: int, held: int) -> Decimal:
    """Cost x closed / held in whole paise, halves away from zero; integers avoid the Decimal context's precision limit."""
    whole = abs(int(cost * _PER_RUPEE)) * closed
    divisor = held * _PAISA_UNITS
    paise = (2 * whole + divisor) // (2 * divisor)
    return Decimal(paise if cost > 0 else -paise).scaleb(-2)
