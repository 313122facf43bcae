"""Trades at our account that no order of ours made: a person's by phone or app, the broker's own square-off (REAL_MONEY rule 9).

Such a trade changes what the account holds, so it is booked, and by this rule: it first closes what was opened elsewhere, then what
strategies hold against it, the largest position first, and whatever remains of it is held by the strategy named FOREIGN. Nothing here is
ever touched by an order of ours. A trade is booked as an order of its own, FILLED, for each position that it changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec import Struct, structs

from alphapanda.domain import ids
from alphapanda.domain.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.domain.charges import NO_CHARGES
from alphapanda.domain.money import to_paisa
from alphapanda.domain.order import OrderStatus, PositionEffect, Product, Side
from alphapanda.domain.order_events import Fill, OrderUpdate
from alphapanda.domain.signal import FOREIGN, PositionKey
from alphapanda.domain.terms import AT_MARKET
from alphapanda.trading.core.intent import PRODUCER, Intent
from alphapanda.trading.core.order import Order


class DayTrade(Struct, frozen=True, gc=False):
    """A trade in a broker's book of today, whoever's order made it.

    Attributes:
        account: our name of the account.
        broker_order_id: the broker's id of its order.
        tag: the order's tag; empty where it has none.
        placed_by: who placed the order, in the broker's words; empty where it doesn't say.
        symbol: such as "NSE:INFY".
        side: direction.
        product: None: one that isn't traded here, such as MTF.
        fill: as it is booked.
        day: the day in India, YYYY-MM-DD.
        identity: of the trade within its day.
    """

    account: str
    broker_order_id: str
    tag: str
    placed_by: str
    symbol: str
    side: Side
    product: Product | None
    fill: Fill
    day: str
    identity: str

    @property
    def units(self) -> int:
        """Signed units."""
        return self.side.sign * self.fill.quantity


class Part(Struct, frozen=True, gc=False):
    """A part of a trade: `units` (signed) under a position key that held `before` units."""

    key: PositionKey
    units: int
    before: int


def allocated(units: int, held: Mapping[PositionKey, int], foreign: PositionKey) -> list[Part]:
    """Which positions a foreign trade changes, and by how many units.

    Args:
        units: of the trade, signed.
        held: units held of its account, instrument and product, signed, by key.
        foreign: the key of what is held by nobody's order of ours.
    """
    left, parts = units, []
    against = [key for key, quantity in held.items() if quantity * units < 0]
    for key in sorted(against, key=lambda one: (one != foreign, -abs(held[one]), one.strategy_id)):
        taken = min(abs(held[key]), abs(left)) * (1 if units > 0 else -1)
        if taken:
            parts.append(Part(key, taken, held[key]))
            left -= taken
    if left:
        closed = sum(part.units for part in parts if part.key == foreign)
        parts = [part for part in parts if part.key != foreign]
        parts.append(Part(foreign, left + closed, held.get(foreign, 0)))
    return parts


def fills_of_parts(broker: str, trade: DayTrade, parts: Iterable[Part]) -> list[Fill]:
    """The fill of each part: the first has the trade's id and the rest of its charges, each other one an id and a share of its own."""
    sizes = [abs(part.units) for part in parts]
    fill = trade.fill
    if len(sizes) == 1:
        return [fill]
    shares = [to_paisa(fill.commission * size / fill.quantity) for size in sizes[1:]]
    first = structs.replace(
        fill, quantity=sizes[0], commission=fill.commission - sum(shares), charges=NO_CHARGES
    )
    return [first] + [
        structs.replace(
            fill,
            fill_id=ids.fill_id(broker, trade.account, trade.day, f"{trade.identity}/{number}"),
            quantity=size,
            commission=share,
            charges=NO_CHARGES,
        )
        for number, (size, share) in enumerate(zip(sizes[1:], shares, strict=True), 1)
    ]


def booked_id(fill_id: str) -> str:
    """The id of the order as which a foreign fill is booked."""
    return ids.output_id(PRODUCER, fill_id, "foreign order")


def booked(
    trade: DayTrade, part: Part, fill: Fill, instrument_token: int, market_time: datetime | None
) -> tuple[Order, list[OrderUpdate]]:
    """The order as which a part of a foreign trade is booked, and its updates up to its end."""
    order_id = booked_id(fill.fill_id)
    call = Intent(order_id, 0, fill.quantity, OrderStatus.SUBMITTING, 1)
    order = Order(
        order_id=order_id,
        signal_id=ids.output_id(PRODUCER, fill.fill_id, "foreign signal"),
        correlation_id=ids.output_id(PRODUCER, fill.fill_id, "foreign correlation"),
        causation_id=ids.output_id(PRODUCER, fill.fill_id, "foreign signal"),
        key=part.key,
        instrument_token=instrument_token,
        config_revision=0,
        side=trade.side,
        quantity=fill.quantity,
        terms=AT_MARKET,
        effect=PositionEffect.of(part.before, part.units),
        valid_until=fill.traded_at,
        status=OrderStatus.SUBMITTING,
        intents=[call],
    )
    report = BrokerOrder(trade.broker_order_id, BrokerOrderStatus.COMPLETE, (fill,))
    updates = order.report(call, report, market_time)
    order.intents = []  # it was no call of ours
    return order, updates


def foreign_key(broker: str, account: str, instrument_id: str, product: Product) -> PositionKey:
    """The key of what was traded elsewhere and belongs to no strategy."""
    return PositionKey(broker, account, FOREIGN, instrument_id, product)
