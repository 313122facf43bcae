"""An order that the paper exchange holds until the instrument's next bar opens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from alphapanda.domain.funds import Payable
from alphapanda.domain.market import MarketView
from alphapanda.domain.order_events import Fill
from alphapanda.domain.signal import PositionKey
from alphapanda.trading.core.paper_charges import PaperOrder
from alphapanda.trading.core.paper_market import Tradable, tradable

PayableAtFill = Callable[["HeldOrder", Fill], Payable]
"""Returns what an account's funds pay of a held order, whose fill it is given."""


@dataclass(frozen=True, slots=True)
class HeldOrder:
    """A market order that waits for a price; or one that has just come, and may have it.

    Attributes:
        number: its number at the exchange; empty while it has none.
        broker: the broker's name.
        order: what is ordered.
        came_at: aware market time at which it came.
        expires_at: aware market time after which it is cancelled.
        tag: the tag that it was sent with; empty if there is none.
    """

    number: str
    broker: str
    order: PaperOrder
    came_at: datetime
    expires_at: datetime
    tag: str = ""

    def tradable(self, market: MarketView) -> Tradable | None:
        """The price at which it fills now; None if it has none yet, or none before it expires."""
        last = market.prices.get(self.order.instrument.instrument_token)
        if last is None or market.market_time is None:
            return None
        found = tradable(last, self.came_at, market.market_time)
        return None if found is None or found.at > self.expires_at else found

    @property
    def key(self) -> PositionKey:
        """The position that it changes."""
        order = self.order
        return PositionKey(
            self.broker, order.account, order.strategy_id, order.instrument.instrument_id, order.product
        )

    def is_over(self, market: MarketView) -> bool:
        """Whether its trading day has ended."""
        return market.market_time is not None and market.market_time > self.expires_at
