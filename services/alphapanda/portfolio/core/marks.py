"""Last prices from frames, kept as scaled integers; a Decimal is made only when a price is read."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from math import lcm

from alphapanda.domain.frame import Frame, instant, nanoseconds
from alphapanda.domain.market import LastPrice


class Marks:
    """The last price of each instrument token, by market time."""

    def __init__(self) -> None:
        self._scale = 100
        self._price: dict[int, int] = {}
        self._time: dict[int, int] = {}

    def apply(self, frame: Frame) -> None:
        """Applies a frame's prices; a price older than the known one is ignored, one of the same instant replaces it."""
        factor = 1 if frame.price_scale == self._scale else self._aligned(frame.price_scale)
        prices, times = self._price, self._time
        for token, price, traded in zip(
            frame.instrument_token, frame.last_price, frame.exchange_time, strict=True
        ):
            if times.get(token, 0) <= traded:
                times[token] = traded
                prices[token] = price * factor

    def seed(self, prices: Mapping[int, LastPrice]) -> None:
        """Applies prices read from the cache, if they are newer than the known ones."""
        for token, last in prices.items():
            traded = nanoseconds(last.traded_at)
            if self._time.get(token, 0) < traded:
                numerator, denominator = last.price.as_integer_ratio()
                factor = self._aligned(denominator)
                self._time[token] = traded
                self._price[token] = numerator * factor

    def last(self, token: int) -> LastPrice | None:
        """The last price of a token; None if there was none."""
        scaled = self._price.get(token)
        if scaled is None:
            return None
        return LastPrice(Decimal(scaled) / self._scale, instant(self._time[token]))

    def _aligned(self, scale: int) -> int:
        """The factor that converts prices in 1/scale rupees to the common scale, which grows if necessary."""
        common = lcm(self._scale, scale)
        if common != self._scale:
            growth = common // self._scale
            for token in self._price:
                self._price[token] *= growth
            self._scale = common
        return self._scale // scale
