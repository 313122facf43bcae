"""Exact money: Decimal rupees, rounded only where a rule says so."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal

CURRENCY = "INR"
PAISA = Decimal("0.01")
ZERO = Decimal(0)


def to_paisa(amount: Decimal) -> Decimal:
    """The amount in whole paise, halves away from zero."""
    return amount.quantize(PAISA, rounding=ROUND_HALF_UP)


def up_to_paisa(amount: Decimal) -> Decimal:
    """The next whole paisa at or above."""
    return amount.quantize(PAISA, rounding=ROUND_CEILING)


def down_to_paisa(amount: Decimal) -> Decimal:
    """The next whole paisa at or below."""
    return amount.quantize(PAISA, rounding=ROUND_FLOOR)
