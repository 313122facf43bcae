"""Exact money: rupees as Decimal, with explicit rounding."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal

CURRENCY = "INR"
PAISA = Decimal("0.01")
ZERO = Decimal(0)


def to_paisa(amount: Decimal) -> Decimal:
    """Rounds an amount to whole paise, halves away from zero."""
    return amount.quantize(PAISA, ROUND_HALF_UP)


def up_to_paisa(amount: Decimal) -> Decimal:
    """Rounds an amount up to whole paise."""
    return amount.quantize(PAISA, ROUND_CEILING)


def down_to_paisa(amount: Decimal) -> Decimal:
    """Rounds an amount down to whole paise."""
    return amount.quantize(PAISA, ROUND_FLOOR)
