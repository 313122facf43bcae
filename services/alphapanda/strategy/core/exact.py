"""Prices as whole units, so that sums, averages and thresholds are compared exactly.

Floats decide ties by rounding noise: the mean of 100.1, 100.2 and 100.3 isn't 100.2. Sums of whole units have no noise, and
two quotients are compared by multiplying them crosswise.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

UNITS_PER_RUPEE: Final = 10_000
"""Units of a price in one rupee; every price of a feed is a whole number of them."""


def in_units(rupees: float) -> int:
    """A price in units."""
    return round(rupees * UNITS_PER_RUPEE)


def as_ratio(number: float) -> tuple[int, int]:
    """A parameter as it is written in decimals, as (numerator, denominator > 0): 0.1 is one tenth."""
    return Fraction(repr(number)).as_integer_ratio()
