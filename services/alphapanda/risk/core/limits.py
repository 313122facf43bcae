"""What the rules measure against."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time, timedelta

FREEZE_SLICES = 10
"""Most slices of an instrument's freeze quantity that trading cuts one entry into."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of an account.

    Attributes:
        max_order_quantity: units in one order; None where it isn't enforced.
        max_position_quantity: units held under one position key; None where it isn't enforced.
        price_max_age: market time after which a price is stale.
        mis_cut_off: market's local time from which MIS positions may only shrink.
    """

    max_order_quantity: int | None
    max_position_quantity: int | None
    price_max_age: timedelta
    mis_cut_off: time
