"""A paper exchange in memory, for replay and simulation: the fill model of `paper_exchange.py`, without a database."""

from __future__ import annotations

from datetime import datetime

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.market import MarketView
from alphapanda.trading.core.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.trading.core.held_order import HeldOrder, PayableAtFill
from alphapanda.trading.core.paper_charges import PaperOrder
from alphapanda.trading.core.paper_market import (
    NO_MARKET,
    NO_NEXT_OPEN,
    RECORDING_ENDED,
    PaperMarket,
    Tradable,
    held_until,
)


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
            Its state: filled, held until `settle` finds an open for it, or rejected where there is no price or no market
            time.
        """
        self._placed += 1
        number = str(self._placed)
        last = market.prices.get(order.instrument.instrument_token)
        if last is None or market.market_time is None:
            return BrokerOrder(number, BrokerOrderStatus.REJECTED, message=NO_MARKET)
        came_at = came_at or market.market_time
        if last.bar is None:
            at_once = HeldOrder(number, self._broker, order, came_at, came_at)
            return self._filled(at_once, Tradable(last.price, market.market_time))
        expires_at = held_until(came_at, order.instrument.session_segment, self._calendar)
        self.held[number] = HeldOrder(number, self._broker, order, came_at, expires_at)
        return BrokerOrder(number, BrokerOrderStatus.OPEN)

    def settle(self, number: str, market: MarketView, payable: PayableAtFill) -> BrokerOrder | None:
        """Fills a held order where it has a price now, or cancels it where its day is over; None if it is held on.

        Args:
            number: the order's number.
            market: prices and market time.
            payable: what of it the account's funds pay.
        """
        order = self.held[number]
        found = order.tradable(market)
        if found is not None:
            settled = self._filled(order, found, payable)
        elif order.is_over(market):
            settled = BrokerOrder(number, BrokerOrderStatus.CANCELLED, message=NO_NEXT_OPEN)
        else:
            return None
        del self.held[number]
        return settled

    def end(self, number: str) -> BrokerOrder:
        """Cancels a held order, because the recording has ended."""
        del self.held[number]
        return BrokerOrder(number, BrokerOrderStatus.CANCELLED, message=RECORDING_ENDED)

    def _filled(self, held: HeldOrder, found: Tradable, payable: PayableAtFill | None = None) -> BrokerOrder:
        fill = self._market.fill(self._broker, held.order, held.number, found.price, found.at)
        if payable is not None:
            paid = payable(held, fill)
            if not paid.units:
                return BrokerOrder(held.number, BrokerOrderStatus.UNPAID, message=paid.message)
            if paid.message:
                fill = self._market.fill(
                    self._broker, held.order, held.number, found.price, found.at, paid.units
                )
                return BrokerOrder(held.number, BrokerOrderStatus.UNPAID, (fill,), paid.message)
        return BrokerOrder(held.number, BrokerOrderStatus.COMPLETE, (fill,))
