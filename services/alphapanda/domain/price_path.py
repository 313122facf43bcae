"""The path of the price inside a bar, of which only open, high, low and close are known.

Stated once, so that whoever has to know what came first (a stop or a limit inside a bar, ticks made from bars) assumes the same.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypeVar

from alphapanda.domain.order import Side

Price = TypeVar("Price", int, float, Decimal)


def price_path(
    open_: Price, high: Price, low: Price, close: Price, against: Side | None = None
) -> tuple[Price, Price, Price, Price]:
    """The four prices of a bar in the order in which they are assumed to have traded.

    Open, the extreme that is nearer to it, the other extreme, close. Where both are as near, the one on the other side of the
    close comes first: the low of a bar that rose or stood still, the high of one that fell.

    Args:
        open_: first price.
        high: highest price.
        low: lowest price.
        close: last price.
        against: assume the worst for whoever holds what this side has opened, so its adverse extreme comes first: the low
            against BUY, the high against SELL. None: as above.
    """
    if against is not None:
        low_first = against is Side.BUY
    elif open_ - low != high - open_:
        low_first = open_ - low < high - open_
    else:
        low_first = close >= open_
    return (open_, low, high, close) if low_first else (open_, high, low, close)
