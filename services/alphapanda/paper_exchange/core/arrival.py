"""What becomes of an order when it comes to the paper exchange: it fills at once, waits, or is rejected."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from alphapanda.domain.broker_order import BrokerOrderStatus
from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.market import MarketView
from alphapanda.domain.order import Validity
from alphapanda.domain.terms import AT_MARKET
from alphapanda.paper_exchange.core.held_order import NO_MARKET, HeldOrder
from alphapanda.paper_exchange.core.matching import AT_LAST_PRICE, IOC_UNFILLED, Tradable, at_once, refusal
from alphapanda.paper_exchange.core.paper_charges import PaperOrder
from alphapanda.paper_exchange.core.paper_market import PaperMarket, held_until

_COMPLETE: Final = BrokerOrderStatus.COMPLETE
_NO_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Arrival(Struct, frozen=True, gc=False):
    """An order that has come.

    Attributes:
        status: COMPLETE: all of it fills at `found`; OPEN: it waits; else it has ended.
        order: the order, with its times.
        found: the price at which it fills; None if it doesn't.
        message: why it has ended.
    """

    status: BrokerOrderStatus
    order: HeldOrder
    found: Tradable | None = None
    message: str = ""


def arriving(
    model: PaperMarket,
    calendar: TradingCalendar,
    broker: str,
    tag: str,
    order: PaperOrder,
    came_at: datetime | None,
    market: MarketView,
    number: str = "",
) -> Arrival:
    """What becomes of an order that comes.

    Args:
        model: the fill models.
        calendar: the exchange's sessions.
        broker: the broker's name.
        tag: the tag that it is sent with.
        order: what is ordered.
        came_at: aware market time at which it was sent, of an order on recorded bars; None: now.
        market: prices and market time.
        number: its number at the exchange; empty while it has none.
    """
    last, now = market.prices.get(order.instrument.instrument_token), market.market_time
    if last is None or now is None:
        return Arrival(
            BrokerOrderStatus.REJECTED,
            HeldOrder(number, broker, order, _NO_TIME, _NO_TIME, tag),
            None,
            NO_MARKET,
        )
    at = now if last.bar is None or came_at is None else came_at
    if model.models.latency:
        at = model.arrival(at)
    band = model.band(order.instrument, last, now) if model.models.circuit is not None else None
    came = HeldOrder(number, broker, order, at, at, tag, volume=last.volume, band=band)
    bound = band is not None or order.terms is not AT_MARKET
    why = "" if band is None else band.refusal(order.terms)
    if bound and (why := why or refusal(order.terms, order.side, last.price)):
        return Arrival(BrokerOrderStatus.REJECTED, came, None, why)
    if last.bar is None and not model.models.latency:
        if not bound or at_once(order.terms, order.side, last.price, band=band):
            return Arrival(_COMPLETE, came, Tradable(last.price, now, model=AT_LAST_PRICE))
        if order.terms.validity is Validity.IOC:
            return Arrival(BrokerOrderStatus.CANCELLED, came, None, IOC_UNFILLED)
    expires_at = held_until(at, order.instrument.session_segment, calendar)
    return Arrival(BrokerOrderStatus.OPEN, replace(came, expires_at=expires_at))
