"""Changes of positions that no trade explains: a conversion of products, a split, units that go to another strategy (REAL_MONEY rule 8).

Such a change is stored as an order of its own, FILLED without a call, for each position that it changes, so that every copy of
positions follows it like a fill. Its events say that nothing was traded; the ledger books it as what it is.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from alphapanda.domain import ids
from alphapanda.domain.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.domain.money import ZERO
from alphapanda.domain.order import OrderStatus, PositionEffect, Side
from alphapanda.domain.order_events import Adjustment, AdjustmentKind, Fill, OrderUpdate
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import AT_MARKET
from alphapanda.trading.core.intent import PRODUCER, Intent
from alphapanda.trading.core.order import Order


class Move(Struct, frozen=True, gc=False):
    """A change of a position.

    Attributes:
        key: its key.
        held: units that whoever asks for it has of it, signed.
        units: the signed change, not 0.
        price: what a unit costs then, rupees, > 0, for display.
        to: the position to which the units go; None: there are more or fewer of them.
    """

    key: PositionKey
    held: int
    units: int
    price: Decimal
    to: PositionKey | None = None


class Leg(Struct, frozen=True, gc=False):
    """One position's side of a change: its signed units, and what its event says."""

    key: PositionKey
    units: int
    price: Decimal
    adjustment: Adjustment
    name: str


def legs(kind: AdjustmentKind, moves: list[Move]) -> list[Leg]:
    """The sides of changes: one of another number of units, two of units that go to another position."""
    found = []
    for number, move in enumerate(moves):
        found.append(
            Leg(move.key, move.units, move.price, Adjustment(kind, books=True, other=move.to), f"{number}")
        )
        if move.to is not None:
            came = Adjustment(kind, books=False, other=move.key)
            found.append(Leg(move.to, -move.units, move.price, came, f"{number} to"))
    return found


def adjusted_id(command_id: str, leg: Leg) -> str:
    """The id of the order as which a side is stored."""
    return ids.output_id(PRODUCER, command_id, f"adjusted {leg.name}")


def adjusted(
    command_id: str, leg: Leg, held: int, instrument_token: int, reason: str, at: datetime
) -> tuple[Order, list[OrderUpdate]]:
    """The order as which a side of a change is stored, and its updates up to its end.

    Args:
        command_id: id of the command.
        leg: the side.
        held: units that its position holds before, signed.
        instrument_token: the broker's token.
        reason: why, one sentence.
        at: aware time of the change.
    """
    order_id, quantity = adjusted_id(command_id, leg), abs(leg.units)
    call = Intent(order_id, 0, quantity, OrderStatus.SUBMITTING, 1)
    order = Order(
        order_id=order_id,
        signal_id=ids.output_id(PRODUCER, order_id, "adjusted signal"),
        correlation_id=command_id,
        causation_id=command_id,
        key=leg.key,
        instrument_token=instrument_token,
        config_revision=0,
        side=Side.of(leg.units),
        quantity=quantity,
        terms=AT_MARKET,
        effect=PositionEffect.of(held, leg.units),
        valid_until=at,
        status=OrderStatus.SUBMITTING,
        intents=[call],
        message=f"{leg.adjustment.kind.name.lower().replace('_', ' ')}, nothing was traded: {reason}"[:1000],
    )
    fill = Fill(
        ids.output_id(PRODUCER, order_id, "adjustment"),
        f"{leg.adjustment.kind.name} {order_id}",
        quantity,
        leg.price,
        ZERO,
        at,
        adjustment=leg.adjustment,
    )
    updates = order.report(call, BrokerOrder(order_id, BrokerOrderStatus.COMPLETE, (fill,)), at)
    order.intents = []  # nothing was called
    return order, updates
