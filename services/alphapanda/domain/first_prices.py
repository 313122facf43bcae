"""The first price of each instrument's day, from frames in their order."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from alphapanda.domain.frame import SECOND_NS, Frame

_DAY_NS: Final = 86_400 * SECOND_NS
_INDIA_NS: Final = 19_800 * SECOND_NS


class FirstPrices:
    """The day of each instrument's last price, and its first price in that day; a recorded bar's is its open.

    Attributes:
        by_token: the day's number in India, and the price in units of a frame.
    """

    def __init__(self) -> None:
        self.by_token: dict[int, tuple[int, int]] = {}

    def take(self, frame: Frame) -> None:
        """Takes the prices of a frame that comes after all before."""
        by_token, prices = self.by_token, frame.open or frame.last_price
        for token, price, at in zip(frame.instrument_token, prices, frame.exchange_time, strict=True):
            day = day_number(at)
            if (known := by_token.get(token)) is None or known[0] < day:
                by_token[token] = (day, price)

    def of(self, token: int, price_scale: int) -> Decimal | None:
        """The first price of the day of an instrument's last price, rupees; None if none is known."""
        known = self.by_token.get(token)
        return None if known is None else Decimal(known[1]) / price_scale


def day_number(at_ns: int) -> int:
    """The number of the day in India of a moment, in nanoseconds since the epoch."""
    return (at_ns + _INDIA_NS) // _DAY_NS
