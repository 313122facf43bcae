"""When a market order fills that was decided at the close of a recorded bar."""

from __future__ import annotations

from enum import StrEnum


class FillRule(StrEnum):
    """When the paper exchange fills a market order on bars. On ticks an order fills at once, at the tick's price.

    NEXT_OPEN: at the open of the instrument's next bar. The exchange holds the order until then; the session's end cancels it.
    CLOSE: at once, at the close of the bar that is known.
    """

    NEXT_OPEN = "next_open"
    CLOSE = "close"
