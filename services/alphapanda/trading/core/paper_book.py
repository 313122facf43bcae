"""A paper exchange in memory, for replay and simulation: the fill model of `paper_exchange.py`, without a database."""

from __future__ import annotations

from alphapanda.domain.market import MarketView
from alphapanda.domain.order import Side
from alphapanda.trading.core.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.trading.core.paper_market import NO_MARKET, PaperMarket


class PaperBook:
    """One broker's paper exchange. Not idempotent: placing twice makes two orders.

    Args:
        broker: name of the broker it stands for.
        market: the fill model.
    """

    def __init__(self, broker: str, market: PaperMarket) -> None:
        self._broker = broker
        self._market = market
        self._placed = 0

    def place(
        self, account: str, instrument_token: int, side: Side, quantity: int, market: MarketView
    ) -> BrokerOrder:
        """Places a market order, which fills at once, or is rejected where there is no price or no market time."""
        self._placed += 1
        number = str(self._placed)
        last = market.prices.get(instrument_token)
        if last is None or market.market_time is None:
            return BrokerOrder(number, BrokerOrderStatus.REJECTED, message=NO_MARKET)
        fill = self._market.fill(
            self._broker, account, number, side, quantity, last.price, market.market_time
        )
        return BrokerOrder(number, BrokerOrderStatus.COMPLETE, (fill,))
