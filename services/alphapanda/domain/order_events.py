"""What happened to an order. Each event carries the order whole, so order between topics doesn't matter (rule 6)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from alphapanda.domain.order import FailureReason, OrderStatus, OrderType, PositionEffect, Side
from alphapanda.domain.signal import PositionKey


class OrderState(Struct, frozen=True):
    """An order as it stood after a change.

    Attributes:
        order_id: ours.
        signal_id: the signal (or manual intent) it executes.
        key: whose position it moves.
        instrument_token: the broker's token.
        side: direction.
        quantity: units ordered, > 0.
        order_type: how it is priced.
        effect: what it did to the position it was decided against; None where the event has no word known here.
        status: after the change.
        revision: 1, 2, 3 … of the published changes.
        filled: units filled so far.
        leaves: units that may still fill; 0 in a final status.
        average_price: rupees, None while nothing is filled.
        market_time: of the change; None where it was unknown.
    """

    order_id: str
    signal_id: str
    key: PositionKey
    instrument_token: int
    side: Side
    quantity: int
    order_type: OrderType
    effect: PositionEffect | None
    status: OrderStatus
    revision: int
    filled: int
    leaves: int
    average_price: Decimal | None
    market_time: datetime | None


class Fill(Struct, frozen=True):
    """One trade of an order: `quantity` units at `price` rupees, `commission` rupees (0 or more, in paise)."""

    fill_id: str
    exchange_trade_id: str
    quantity: int
    price: Decimal
    commission: Decimal
    traded_at: datetime


class Submitted(Struct, frozen=True):
    """The broker accepted the order, or its first slice."""

    order: OrderState


class Filled(Struct, frozen=True):
    """One fill."""

    order: OrderState
    fill: Fill


@dataclass(frozen=True, slots=True)
class Failed:
    """It ended unexecuted, or executed in part. Final. `reason` is None where the event has no word known here."""

    order: OrderState
    reason: FailureReason | None
    message: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """It was cancelled at the broker. Final."""

    order: OrderState
    message: str


OrderUpdate = Submitted | Filled | Failed | Cancelled
