"""Turns Kite's rows of an order into a broker's report: fills by trade id, and no end before all trades are listed (REAL_MONEY rule 7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from alphapanda.domain import ids
from alphapanda.domain.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.domain.charge_rates import PRICE_UNITS
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.money import ZERO
from alphapanda.domain.order import OrderType, Product, Side, Validity
from alphapanda.domain.order_events import Fill
from alphapanda.domain.terms import HAS_LIMIT, HAS_TRIGGER, Terms
from alphapanda.kite.order_rows import KiteOrder, KiteTrade
from alphapanda.kite.orders import TracedOrder
from alphapanda.paper_exchange.core.paper_charges import PaperCharges, PaperOrder
from alphapanda.trading.core.foreign import DayTrade

KITE_TYPES: Final = {one: one.name.replace("_", "-") for one in OrderType}
"""How Kite names the order types."""


def report_of(found: TracedOrder, fills: Sequence[Fill], *, shows_terms: bool = True) -> BrokerOrder:
    """The report on an order. Until all trades that it counts are listed, it is open.

    Args:
        found: the order with its trades.
        fills: of the trades.
        shows_terms: whether quantity and terms are told; not where they may be older than a modification.
    """
    order = found.order
    return BrokerOrder(
        order.order_id,
        _status(found),
        tuple(fills),
        order.message,
        quantity=order.quantity if shows_terms else 0,
        terms=terms_of(order) if shows_terms else None,
        trigger_pending=order.trigger_pending,
    )


def terms_of(order: KiteOrder) -> Terms | None:
    """The terms that an order shows; None where they are Zerodha's own conversion of a market order, or of no type known here."""
    order_type = _TYPES.get(order.order_type)
    validity = _VALIDITIES.get(order.validity or Validity.DAY.name)
    if order.is_converted or order_type is None or validity is None:
        return None
    return Terms(
        order_type,
        validity,
        limit_price=order.price if order_type in HAS_LIMIT else None,
        trigger_price=order.trigger_price if order_type in HAS_TRIGGER else None,
    )


def fills_of(
    broker: str,
    account: str,
    found: TracedOrder,
    instrument: Instrument | None,
    charges: PaperCharges,
) -> list[Fill]:
    """The fills of an order's trades, oldest first, each with the charges of its day.

    Args:
        broker: its name.
        account: our name of the account.
        found: the order with its trades.
        instrument: what was traded; None where it isn't known: then the fills have no charges yet.
        charges: computes them.
    """
    order, product = found.order, _PRODUCTS.get(found.order.product)
    made: list[Fill] = []
    turnover = 0
    for trade in found.trades:
        if instrument is None or product is None:
            made.append(_fill(broker, account, trade))
            continue
        one = PaperOrder(account, "", instrument, product, Side[order.side], order.quantity)
        commission, lines = charges.of(one, trade.quantity, trade.price, trade.traded_at, turnover)
        turnover += int(trade.price * PRICE_UNITS) * trade.quantity
        made.append(
            Fill(
                fill_id_of(broker, account, trade),
                trade.trade_id,
                trade.quantity,
                trade.price,
                commission,
                trade.traded_at,
                lines,
            )
        )
    return made


def day_trades_of(account: str, found: TracedOrder, fills: Sequence[Fill]) -> list[DayTrade]:
    """The trades of an order, as what a broker's book of today has, each with its fill."""
    order = found.order
    return [
        DayTrade(
            account,
            order.order_id,
            order.tag,
            order.placed_by,
            order.symbol,
            Side[order.side],
            _PRODUCTS.get(order.product),
            fill,
            trade.day,
            trade.identity,
        )
        for trade, fill in zip(found.trades, fills, strict=True)
    ]


def fill_id_of(broker: str, account: str, trade: KiteTrade) -> str:
    """The id of a fill: of its day, exchange and trade id."""
    return ids.fill_id(broker, account, trade.day, trade.identity)


_PRODUCTS: Final = {product.name: product for product in Product}
_TYPES: Final = {KITE_TYPES[order_type]: order_type for order_type in OrderType}
_VALIDITIES: Final = {validity.name: validity for validity in Validity}


def _fill(broker: str, account: str, trade: KiteTrade) -> Fill:
    return Fill(
        fill_id_of(broker, account, trade),
        trade.trade_id,
        trade.quantity,
        trade.price,
        ZERO,
        trade.traded_at,
    )


def _status(found: TracedOrder) -> BrokerOrderStatus:
    order = found.order
    if not order.ended or not found.is_whole:
        return BrokerOrderStatus.OPEN
    if order.rejected:
        return BrokerOrderStatus.REJECTED
    return BrokerOrderStatus.CANCELLED if order.cancelled else BrokerOrderStatus.COMPLETE
