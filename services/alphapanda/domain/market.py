"""The market as a decision sees it: prices and market time, read together from the price cache."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

from msgspec import Struct


class BarOpen(Struct, frozen=True, gc=False):
    """A recorded bar but for its close.

    Attributes:
        start: aware market time.
        price: its first price, rupees.
        high: its highest price, rupees; None if it isn't known.
        low: its lowest price; None if `high` is.
    """

    start: datetime
    price: Decimal
    high: Decimal | None = None
    low: Decimal | None = None


class LastPrice(Struct, frozen=True, gc=False):
    """Last traded price in rupees, and the aware market time of that trade.

    Attributes:
        price: a recorded bar's close.
        traded_at: a recorded bar's end.
        bar: the recorded bar's open, where orders on bars fill at the next open; None where orders fill at `price`.
        volume: units traded in the day so far; None if it isn't known.
        first: the first price of the day of `traded_at`, rupees; None where nothing needs it, or it isn't known.
    """

    price: Decimal
    traded_at: datetime
    bar: BarOpen | None = None
    volume: int | None = None
    first: Decimal | None = None


class MarketView(Struct, frozen=True, gc=False):
    """Prices and market time from one read of the price cache.

    Attributes:
        market_time: aware; None if unknown (none stored, or a real-time feed's market time is too old: rule 9).
        feed_run: id of the feed's run that wrote it; empty if unknown.
        prices: last prices by instrument token; an instrument without a price is absent.
        frame_id: the frame that set this market time, the cause of timers that are due by then; empty if unknown.
    """

    market_time: datetime | None
    feed_run: str
    prices: Mapping[int, LastPrice]
    frame_id: str = ""


NOTHING_KNOWN: Final = MarketView(market_time=None, feed_run="", prices={})
"""The view while the price cache can't be read."""
