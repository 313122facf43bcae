"""What is held under a key, at its exact cost: running average, no lots.

Cost carries the position's sign: what was paid for a long one, minus what was received for a short one. So the market
value is quantity x price, the unrealised profit is market value - cost, on both sides alike.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.money import ZERO
from alphapanda.domain.signal import PositionKey

_SMALLEST = Decimal("0.0001")
_PER_RUPEE = 10_000
_PAISA_UNITS = _PER_RUPEE // 100


class Position(Struct, frozen=True):
    """A position; amounts in rupees, exact.

    Attributes:
        key: its broker, account, strategy, instrument and product.
        quantity: signed units.
        cost: of what is held, with the sign of `quantity`; 0 when flat.
        realised: profit of what was closed, before commission.
        charges: commission and charges paid, 0 or more.
    """

    key: PositionKey
    quantity: int = 0
    cost: Decimal = ZERO
    realised: Decimal = ZERO
    charges: Decimal = ZERO

    @property
    def average_price(self) -> Decimal | None:
        """Cost of one unit, in four decimals, for people to read; None when flat."""
        return (self.cost / self.quantity).quantize(_SMALLEST) if self.quantity else None

    def after(self, delta: int, price: Decimal, commission: Decimal) -> PositionChange:
        """The change that a fill of `delta` signed units (not 0) at `price` makes.

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
            removed, added = _part(self.cost, abs(delta), abs(held)), ZERO
            realised = -turnover - removed
            cost = self.cost - removed
        position = Position(self.key, quantity, cost, self.realised + realised, self.charges + commission)
        return PositionChange(position, removed, added, realised, turnover)


class PositionChange(NamedTuple):
    """What a fill did to a position; removed, added and turnover are signed, and turnover = added - removed - realised.

    Attributes:
        position: after it.
        removed: cost that left with the units closed.
        added: cost that came with the units opened.
        realised: profit of the units closed, before commission.
        turnover: signed units filled x price: what cash paid.
    """

    position: Position
    removed: Decimal
    added: Decimal
    realised: Decimal
    turnover: Decimal


def _check_amounts(price: Decimal, commission: Decimal) -> None:
    if not price > 0 or price != price.quantize(_SMALLEST):
        raise InvalidInput("fill.price", price, "a positive number of rupees with at most 4 decimals")
    if commission < 0 or commission != commission.quantize(_SMALLEST):
        raise InvalidInput("fill.commission", commission, "0 or more rupees with at most 4 decimals")


def _part(cost: Decimal, closed: int, held: int) -> Decimal:
    """Cost x closed / held in whole paise, halves away from zero; in integers, where no context's precision cuts."""
    whole = abs(int(cost * _PER_RUPEE)) * closed
    divisor = held * _PAISA_UNITS
    paise = (2 * whole + divisor) // (2 * divisor)
    return Decimal(paise if cost > 0 else -paise).scaleb(-2)
