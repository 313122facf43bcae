"""A broker's report of one order, in the same form for every broker."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from alphapanda.domain.order_events import Fill
from alphapanda.domain.terms import Terms


class BrokerOrderStatus(StrEnum):
    """Status of an order at the broker. COMPLETE may come before the broker lists all trades.

    UNPAID is a rejection of what the account's funds don't pay.
    """

    OPEN = "open"
    COMPLETE = "complete"
    REJECTED = "rejected"
    UNPAID = "unpaid"
    CANCELLED = "cancelled"


class BrokerOrder(Struct, frozen=True, gc=False):
    """An order at the broker, in its present state.

    Attributes:
        broker_order_id: the broker's id; empty if it rejected the order before giving one.
        status: at the broker.
        fills: every trade so far, oldest first, including those reported before.
        message: the broker's message; empty if there is none.
        quantity: units in all, as the broker shows it; 0 if it doesn't say.
        terms: type, validity and prices as the broker shows them; None if it doesn't say.
        trigger_pending: whether its stop waits for its trigger.

    Whatever quantity and terms it shows are applied to our order. So a trader leaves them out where they may be older than
    a modification that it has confirmed, or are the broker's own conversion of the type that was asked for.
    """

    broker_order_id: str
    status: BrokerOrderStatus
    fills: tuple[Fill, ...] = ()
    message: str = ""
    quantity: int = 0
    terms: Terms | None = None
    trigger_pending: bool = False
