"""What is known of the market at the moment of a decision: read once, together, from the price cache."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

from msgspec import Struct


class LastPrice(Struct, frozen=True):
    """Last traded price, rupees, and the market time of that trade (aware)."""

    price: Decimal
    traded_at: datetime


class MarketView(Struct, frozen=True):
    """Prices and the market's clock, of one reading.

    Attributes:
        market_time: aware; None where it is unknown (no clock, or a real-time feed whose clock is too old: rule 9).
        feed_run: run of the feed that wrote it; empty where unknown.
        prices: by instrument token; an instrument without a price is absent.
        frame_id: the frame that brought the clock here: what a timer that is due by then is caused by; empty where
            unknown.
    """

    market_time: datetime | None
    feed_run: str
    prices: Mapping[int, LastPrice]
    frame_id: str = ""


NOTHING_KNOWN: Final = MarketView(market_time=None, feed_run="", prices={})
"""What is known while the price cache is away."""
