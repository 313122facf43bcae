"""A paper exchange in memory, for replay and simulation: the fill model of `paper_exchange.py`, without a database."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec.structs import replace

from alphapanda.domain.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.market import MarketView
from alphapanda.domain.order_events import Fill
from alphapanda.domain.terms import Terms
from alphapanda.paper_exchange.core.arrival import arriving
from alphapanda.paper_exchange.core.held_order import (
    CANCELLED_AS_ASKED,
    NOT_WORKING,
    HeldOrder,
    NotChanged,
    PayableAtFill,
    recording_ended,
)
from alphapanda.paper_exchange.core.matching import (
    AT_LAST_PRICE,
    AT_ONCE,
    NEVER,
    Tradable,
    Way,
)
from alphapanda.paper_exchange.core.paper_charges import PaperOrder
from alphapanda.paper_exchange.core.paper_market import PaperMarket

_COMPLETE: Final = BrokerOrderStatus.COMPLETE


class PaperBook:
    """One broker's paper exchange. Not idempotent: placing twice makes two orders.

    Args:
        broker: name of the broker it stands for.
        market: the fill model.
        calendar: the exchange's sessions.

    Attributes:
        held: the orders that wait for a price, in the order in which they came.
        measures_volume: whether what is traded between two prices counts.
    """

    def __init__(self, broker: str, market: PaperMarket, calendar: TradingCalendar) -> None:
        self.held: dict[str, HeldOrder] = {}
        self._broker = broker
        self._market = market
        self.measures_volume = market.models.measures_volume
        self._calendar = calendar
        self._placed = 0
        self._fills: dict[str, tuple[Fill, ...]] = {}

    @property
    def needs_each_price(self) -> bool:
        """Whether each price has to be looked at, though it holds nothing: the volume until then, or the day's first one counts."""
        return self._market.models.needs_each_price

    @property
    def has_circuits(self) -> bool:
        """Whether the market's views need the day's first prices."""
        return self._market.models.circuit is not None

    def place(self, order: PaperOrder, came_at: datetime | None, market: MarketView) -> BrokerOrder:
        """Places an order.

        Args:
            order: what is ordered.
            came_at: market time at which the order came; None: now.
            market: prices and market time.

        Returns:
            Its state: filled, held until `settle` finds its price, or rejected where there is no price or no market time, or
            where an exchange wouldn't take it.
        """
        self._placed += 1
        number = str(self._placed)
        come = arriving(self._market, self._calendar, self._broker, "", order, came_at, market, number)
        held = come.order
        if come.found is not None:
            return self._filled(held, come.found, market)
        if come.status is BrokerOrderStatus.OPEN:
            return self._hold(held)
        return BrokerOrder(number, come.status, message=come.message)

    def way(self, number: str, market: MarketView) -> Way:
        """How far along the price path a held order is met; one that isn't is last, one that ends is as one at the open."""
        held = self.held[number]
        if (met := self._market.meets(held, market)) is not None:
            return met.way
        return AT_ONCE if held.ended_by(market) else NEVER

    def settle(self, number: str, market: MarketView, payable: PayableAtFill) -> BrokerOrder | None:
        """Lets a held order meet the market, or cancels it where its day is over; None if nothing happens to it.

        Args:
            number: the order's number.
            market: prices and market time.
            payable: what of it the account's funds pay.
        """
        order = self.held[number]
        met = self._market.meets(order, market)
        if met is None:
            if why := order.ended_by(market):
                return self._ended(order, BrokerOrderStatus.CANCELLED, why)
            self.held[number] = order.looked(market)
            return None
        if met.found is None:
            return self._hold(replace(order.seen(market), triggered=True))
        return self._filled(order, met.found, market, payable)

    def modify(self, number: str, quantity: int, terms: Terms, market: MarketView) -> BrokerOrder:
        """Modifies a held order; returns its state. It counts as an order that comes now.

        Args:
            number: the order's number.
            quantity: units in all, with those filled.
            terms: how it is priced from now on.
            market: prices and market time.

        Raises:
            NotChanged: it isn't held, or an exchange wouldn't take it so.
        """
        order = self._to_change(number)
        last = market.prices.get(order.order.instrument.instrument_token)
        changed = order.modified(quantity, terms, last, market.market_time)
        if isinstance(changed, str):
            raise NotChanged(changed)
        if changed.trades_now(last) and last is not None and market.market_time is not None:
            found = Tradable(last.price, market.market_time, model=AT_LAST_PRICE)
            return self._filled(changed, found, market)
        return self._hold(changed)

    def cancel(self, number: str) -> BrokerOrder:
        """Cancels what is left of a held order; returns its state.

        Raises:
            NotChanged: it isn't held.
        """
        return self._ended(self._to_change(number), BrokerOrderStatus.CANCELLED, CANCELLED_AS_ASKED)

    def end(self, number: str) -> BrokerOrder:
        """Cancels a held order, because the recording has ended."""
        order = self.held[number]
        return self._ended(order, BrokerOrderStatus.CANCELLED, recording_ended(order))

    def _to_change(self, number: str) -> HeldOrder:
        if (held := self.held.get(number)) is None:
            raise NotChanged(NOT_WORKING)
        return held

    def _hold(self, held: HeldOrder) -> BrokerOrder:
        self.held[held.number] = held
        fills = self._fills.get(held.number, ())
        order = held.order
        return BrokerOrder(
            held.number,
            BrokerOrderStatus.OPEN,
            fills,
            quantity=order.quantity,
            terms=order.terms,
            trigger_pending=held.trigger_pending,
        )

    def _ended(self, held: HeldOrder, status: BrokerOrderStatus, message: str) -> BrokerOrder:
        self.held.pop(held.number, None)
        fills = self._fills.pop(held.number, ())
        return BrokerOrder(held.number, status, fills, message, held.order.quantity)

    def _filled(
        self, held: HeldOrder, found: Tradable, market: MarketView, payable: PayableAtFill | None = None
    ) -> BrokerOrder:
        waits = payable is not None
        units = self._market.may_fill(held, market) if waits else held.left
        traded = held.traded(market) if self.measures_volume else None
        fill = self._fill(held, found, units, traded)
        if not waits and held.number not in self.held and units == held.order.quantity:
            return BrokerOrder(held.number, _COMPLETE, (fill,), quantity=units)
        if payable is not None:
            paid = payable(held, fill)
            if not paid.units:
                return self._ended(held, BrokerOrderStatus.UNPAID, paid.message)
            if paid.message:
                self._book(held, self._fill(held, found, paid.units, traded))
                return self._ended(held, BrokerOrderStatus.UNPAID, paid.message)
        self._book(held, fill)
        if fill.quantity < held.left:
            return self._hold(held.after(fill, market))
        return self._ended(held, _COMPLETE, "")

    def _book(self, held: HeldOrder, fill: Fill) -> None:
        self._fills[held.number] = (*self._fills.get(held.number, ()), fill)

    def _fill(self, held: HeldOrder, found: Tradable, units: int, traded: int | None) -> Fill:
        before = len(self._fills.get(held.number, ()))
        number = f"{held.number}-{before}" if before else held.number
        return self._market.fill_of(held, found, units, traded, number)
