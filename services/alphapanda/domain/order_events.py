"""Events of an order. Each one contains the whole order state, so the sequence across topics doesn't matter (rule 6)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import IntEnum

from msgspec import Struct

from alphapanda.domain.charges import NO_CHARGES, Charges
from alphapanda.domain.order import FailureReason, OrderStatus, PositionEffect, Side
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import Terms


class OrderState(Struct, frozen=True, gc=False):
    """The state of an order after a change.

    Attributes:
        order_id: our id.
        signal_id: the signal (or manual intent) that it executes.
        key: the position that it changes.
        instrument_token: the broker's token.
        side: direction.
        quantity: units ordered, > 0.
        terms: how it is priced, and how long it works.
        effect: what it does to the position it was decided against; None if the event has a value unknown to this version.
        status: after the change.
        revision: number of the published change: 1, 2, 3 ….
        filled: units filled so far.
        leaves: units that may still fill; 0 in a final status.
        average_price: rupees; None while nothing is filled.
        market_time: of the change; None if it was unknown.
        charges: commission and charges of all fills so far, rupees; None if the event doesn't say.
        trigger_pending: whether its stop waits at the exchange for its trigger.
        protective: whether trading itself made it to protect the position; no signal asked for it.
    """

    order_id: str
    signal_id: str
    key: PositionKey
    instrument_token: int
    side: Side
    quantity: int
    terms: Terms
    effect: PositionEffect | None
    status: OrderStatus
    revision: int
    filled: int
    leaves: int
    average_price: Decimal | None
    market_time: datetime | None
    charges: Decimal | None = None
    trigger_pending: bool = False
    protective: bool = False


class AdjustmentKind(IntEnum):
    """Why units changed without a trade; numbered as in panda.events.v1."""

    CONVERSION = 1
    CORPORATE_ACTION = 2
    ALLOCATION = 3


class Adjustment(Struct, frozen=True, gc=False):
    """Units that changed without a trade: they moved between two positions, or there are more or fewer of them at the same cost.

    Attributes:
        kind: why.
        books: whether the ledger books it with this fill; of two positions it is the one that units leave.
        other: the other position; None where there is none.
    """

    kind: AdjustmentKind
    books: bool
    other: PositionKey | None = None


class Fill(Struct, frozen=True, gc=False):
    """One trade of an order: `quantity` units at `price` rupees, `commission` rupees (0 or more, in paise).

    `charges` are the exact lines that the commission is the sum of, rounded; without lines, only the sum is known. With an
    `adjustment` nothing was traded, and the price is what a unit costs then, rounded.
    """

    fill_id: str
    exchange_trade_id: str
    quantity: int
    price: Decimal
    commission: Decimal
    traded_at: datetime
    charges: Charges = NO_CHARGES
    adjustment: Adjustment | None = None


class Submitted(Struct, frozen=True, gc=False):
    """The broker accepted the order, or its first slice, or a modification of it."""

    order: OrderState


class Filled(Struct, frozen=True, gc=False):
    """A fill of the order."""

    order: OrderState
    fill: Fill


@dataclass(frozen=True, slots=True)
class Failed:
    """The order ended unexecuted or executed in part. Final. `reason` is None if its value is unknown to this version."""

    order: OrderState
    reason: FailureReason | None
    message: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The order was cancelled at the broker. Final."""

    order: OrderState
    message: str


OrderUpdate = Submitted | Filled | Failed | Cancelled
