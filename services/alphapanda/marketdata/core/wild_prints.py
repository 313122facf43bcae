"""Wild prints: prices so far from the last one that they wait for a second that agrees before they are believed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from alphapanda.marketdata.core.ticks import Tick

DEFAULT_PERCENT: Final = 20.0
AGREEMENT: Final = 0.5
"""A second price agrees within this part of the distance at which a price is wild."""


class WildPrints:
    """Judges prices far from the last one.

    A wild price is held back. The next price of its instrument decides: if it is as far away and near the held one, both
    are believed, the held one first (a gap over night, a split); if it is near the last price, the held one is forgotten.

    Args:
        percent: distance from the last price from which on a price is wild; 0: none is.

    Attributes:
        limit: the distance as a part of the last price.
        held: the prices that wait, by instrument token.
    """

    def __init__(self, percent: float) -> None:
        self.limit: Final = percent / 100
        self.held: Final[dict[int, Tick]] = {}

    def is_wild(self, price: int, last: int) -> bool:
        """Whether a price is too far from the last one to be believed at once."""
        return abs(price - last) > self.limit * last

    def repeats(self, tick: Tick) -> bool:
        """Whether a wild tick is the held one again, or older."""
        held = self.held.get(tick[0])
        return held is not None and (
            tick[2] < held[2] or (tick[2] == held[2] and tick[1] == held[1] and tick[3] == held[3])
        )

    def believed(self, tick: Tick) -> Sequence[Tick]:
        """The ticks to believe now that a wild one came: none, or the held one and this."""
        held = self.held.pop(tick[0], None)
        if held is not None and abs(tick[1] - held[1]) <= self.limit * AGREEMENT * held[1]:
            return (held, tick)
        self.held[tick[0]] = tick
        return ()

    def tamed(self, bar: Tick, last: int | None) -> Tick:
        """A bar without a wild open, high or low.

        Nothing in the bar could agree with such a price: an open far from the last price and the close becomes the last price,
        as far as the bar goes; a high far above all others becomes the higher of open and close, a low likewise.

        Args:
            bar: with open, high and low.
            last: the last price; None if there was none.
        """
        close, first, high, low = bar.price, bar.open, bar.high, bar.low
        if first is None or high is None or low is None or high - low <= self.limit * low:
            return bar
        near = close if last is None or self.is_wild(close, last) else last
        if self.is_wild(first, close) and self.is_wild(first, near):
            first = near
        if high > (1 + self.limit) * max(first, close, near):
            high = max(first, close)
        if low < (1 - self.limit) * min(first, close, near):
            low = min(first, close)
        return bar._replace(open=first, high=max(first, high, close), low=min(first, low, close))
