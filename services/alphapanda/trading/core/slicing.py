"""Splits an order into slices, because the exchange refuses more than its freeze quantity in one order."""

from __future__ import annotations

from alphapanda.domain.errors import InvalidInput

MOST_SLICES = 10
"""Kite's own limit for a sliced order."""


def slices(quantity: int, lot_size: int, freeze_quantity: int) -> tuple[int, ...]:
    """The quantities of the broker calls that make up an order, each a multiple of the lot.

    Args:
        quantity: units, > 0.
        lot_size: units of one lot, > 0.
        freeze_quantity: most units of one broker order; 0 if no limit is known.

    Raises:
        InvalidInput: the quantity isn't a multiple of the lot, or needs more than MOST_SLICES slices.
    """
    if quantity <= 0 or quantity % lot_size:
        raise InvalidInput("quantity", quantity, f"a positive multiple of the lot of {lot_size} units")
    if freeze_quantity == 0 or quantity <= freeze_quantity:
        return (quantity,)
    most = freeze_quantity - freeze_quantity % lot_size
    if most == 0 or quantity > most * MOST_SLICES:
        allowed = f"at most {most * MOST_SLICES} units: {MOST_SLICES} slices of {most}"
        raise InvalidInput("quantity", quantity, allowed)
    whole, rest = divmod(quantity, most)
    return (most,) * whole + ((rest,) if rest else ())
