"""A paper exchange in memory, for replay and simulation: the fill model of `paper_exchange.py`, without a database."""

from __future__ import annotations

from datetime import datetime

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.market import MarketView
from alphapanda.trading.core.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.trading.core.held_order import HeldOrder
from alphapanda.trading.core.paper_charges import PaperOrder
from alphapanda.trading.core.paper_market import NO_MARKET, NO_NEXT_OPEN, PaperMarket, held_until


class PaperBook:
    """One broker's paper exchange. Not idempotent: placing twice makes two orders.

    Args:
        broker: name of the broker it stands for.
        market: the fill model.
        calendar: the exchange's sessions.

    Attributes:
        held: the orders that wait for the next open, in the order in which they came.
    """

    def __init__(self, broker: str, market: PaperMarket, calendar: TradingCalendar) -> None:
        self.held: dict[str, HeldOrder] = {}
        self._broker = broker
        self._market = market
        self._calendar = calendar
        self._placed = 0

    def place(self, order: PaperOrder, came_at: datetime | None, market: MarketView) -> BrokerOrder:
        """Places a market order.

        Args:
            order: what is ordered.
            came_at: market time at which the order came; None: now.
            market: prices and market time.

        Returns:
            Its state: filled, held until the next open, or rejected where there is no price or no market time.
        """
        self._placed += 1
        number = str(self._placed)
        last = market.prices.get(order.instrument.instrument_token)
        if last is None or market.market_time is None:
            return BrokerOrder(number, BrokerOrderStatus.REJECTED, message=NO_MARKET)
        came_at = came_at or market.market_time
        segment = order.instrument.session_segment
        expires_at = held_until(came_at, segment, self._calendar) if last.bar else came_at
        held = HeldOrder(number, self._broker, order, came_at, expires_at)
        placed = self._filled(held, market)
        if placed is not None:
            return placed
        self.held[number] = held
        return BrokerOrder(number, BrokerOrderStatus.OPEN)

    def settle(self, number: str, market: MarketView) -> BrokerOrder | None:
        """Fills a held order where it has a price now, or cancels it where its day is over; None if it is held on."""
        order = self.held[number]
        settled = self._filled(order, market)
        if settled is None:
            if not order.is_over(market):
                return None
            settled = BrokerOrder(number, BrokerOrderStatus.CANCELLED, message=NO_NEXT_OPEN)
        del self.held[number]
        return settled

    def _filled(self, held: HeldOrder, market: MarketView) -> BrokerOrder | None:
        found = held.tradable(market)
        if found is None:
            return None
        fill = self._market.fill(self._broker, held.order, held.number, found.price, found.at)
        return BrokerOrder(held.number, BrokerOrderStatus.COMPLETE, (fill,))
