"""Wild prints: prices so far from the last one that they wait for a second that agrees before they are believed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from alphapanda.marketdata.core.ticks import Tick

DEFAULT_PERCENT: Final = 20.0
AGREEMENT: Final = 0.5
"""A second price agrees within this part of the distance at which a price is wild."""
FEWEST_STEPS: Final = 10
"""A price within so many steps of the grid is never wild: a stock at 35 paise moves by a seventh with one step."""
LONG_BAR_NS: Final = 6 * 3600 * 1_000_000_000
LONG_BAR_FACTOR: Final = 3
"""A bar of a day may be so many times as far away: a day without a price band falls by half."""


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

    def is_wild(self, tick: Tick, last: int, step: int) -> bool:
        """Whether a price is too far from the last one to be believed at once; `step` is the grid's, in units of a price."""
        distance = abs(tick[1] - last)
        return distance > FEWEST_STEPS * step and distance > self._limit_of(tick) * last

    def repeats(self, tick: Tick) -> bool:
        """Whether a wild tick is the held one again, or older."""
        held = self.held.get(tick[0])
        return held is not None and (
            tick[2] < held[2] or (tick[2] == held[2] and tick[1] == held[1] and tick[3] == held[3])
        )

    def believed(self, tick: Tick) -> Sequence[Tick]:
        """The ticks to believe now that a wild one came: none, or the held one and this."""
        held = self.held.pop(tick[0], None)
        if held is not None and _apart(held, tick) <= self.limit * AGREEMENT * held[1]:
            return (held, tick)
        self.held[tick[0]] = tick
        return ()

    def tamed(self, bar: Tick, last: int | None, step: int) -> Tick:
        """A bar without a wild open, high or low.

        Nothing in the bar could agree with such a price: an open far from the last price and the close becomes the last price,
        as far as the bar goes; a high far above all others becomes the higher of open and close, a low likewise.

        Args:
            bar: with open, high and low.
            last: the last price; None if there was none.
            step: of the price grid, in units of a price.
        """
        close, first, high, low = bar.price, bar.open, bar.high, bar.low
        limit = self._limit_of(bar)
        if (
            first is None
            or high is None
            or low is None
            or high - low <= max(limit * low, FEWEST_STEPS * step)
        ):
            return bar
        near = close if last is None or self.is_wild(bar, last, step) else last
        if abs(first - close) > limit * close and abs(first - near) > limit * near:
            first = near
        if high > (1 + limit) * max(first, close, near):
            high = max(first, close)
        if low < (1 - limit) * min(first, close, near):
            low = min(first, close)
        return bar._replace(open=first, high=max(first, high, close), low=min(first, low, close))

    def _limit_of(self, tick: Tick) -> float:
        start = tick[4]
        long = start is not None and tick[2] - start > LONG_BAR_NS
        return self.limit * LONG_BAR_FACTOR if long else self.limit


def _apart(one: Tick, other: Tick) -> int:
    """The distance between two prices, or between the ranges of two bars; 0 if they overlap."""
    highest = [tick[1] if tick[6] is None else tick[6] for tick in (one, other)]
    lowest = [tick[1] if tick[7] is None else tick[7] for tick in (one, other)]
    return max(0, max(lowest) - min(highest))
