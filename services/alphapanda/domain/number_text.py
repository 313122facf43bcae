"""Writes numbers as people in India do (10,00,000; lakh and crore), or in thousands (1,000,000)."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from math import isfinite
from typing import Final

RUPEE: Final = "₹"
LAKH: Final = 100_000
CRORE: Final = 10_000_000
_WIDE: Final = Context(prec=400, rounding=ROUND_HALF_EVEN)
"""Holds the digits of any float with places."""
_MOST_DIGITS: Final = 320


def grouped(value: float | Decimal, places: int = 0, *, indian: bool, signed: bool = False) -> str:
    """A number with its digits in groups: the last three, then by two (Indian), or by three.

    Args:
        value: any number.
        places: decimal places.
        indian: whether groups after the first have two digits.
        signed: whether a positive number has a sign, too.
    """
    if not isfinite(value):
        return str(value)
    exact = _WIDE.create_decimal(value)
    if exact.adjusted() > _MOST_DIGITS:
        return f"{exact:.3e}"
    rounded = _WIDE.quantize(exact, Decimal(1).scaleb(-places))
    sign = "-" if rounded < 0 else "+" if signed and rounded > 0 else ""
    whole, _, fraction = f"{abs(rounded):f}".partition(".")
    return f"{sign}{_groups(whole, 2 if indian else 3)}{'.' if fraction else ''}{fraction}"


def rupees(value: float | Decimal, places: int = 2, *, indian: bool, signed: bool = False) -> str:
    """An amount with the rupee's sign: ₹10,00,000.00, -₹12.50; in thousands without it: 1,000,000.00."""
    text = grouped(value, places, indian=indian, signed=signed)
    if not indian:
        return text
    return f"{text[0]}{RUPEE}{text[1:]}" if text[:1] in {"-", "+"} else f"{RUPEE}{text}"


def short_rupees(value: float | Decimal, *, indian: bool) -> str:
    """An amount in lakh or crore where it is that large: ₹10 lakh, ₹1.25 crore, ₹45,000; in thousands: 1,000,000."""
    if indian and isfinite(value):
        for unit, name in ((CRORE, "crore"), (LAKH, "lakh")):
            units = _WIDE.divide(_WIDE.create_decimal(value), unit)
            if abs(units) >= 1:
                text = rupees(units, 2, indian=True)
                return f"{text.rstrip('0').rstrip('.')} {name}"
    return rupees(value, 0, indian=indian)


def _groups(digits: str, size: int) -> str:
    head, tail = digits[:-3], digits[-3:]
    parts = [head[max(0, end - size) : end] for end in range(len(head), 0, -size)]
    return ",".join([*reversed(parts), tail])
