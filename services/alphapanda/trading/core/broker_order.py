"""What a broker says of one call: the same words for every broker."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from alphapanda.domain.order_events import Fill


class BrokerOrderStatus(Enum):
    """How an order stands at the broker. COMPLETE may run ahead of the trades that the broker lists."""

    OPEN = "open"
    COMPLETE = "complete"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


class BrokerOrder(Struct, frozen=True):
    """One broker order as it stands.

    Attributes:
        broker_order_id: the broker's; empty where it refused before giving one.
        status: how it stands.
        fills: every trade so far, oldest first; ones reported before may be among them.
        message: the broker's words; empty where it has none.
    """

    broker_order_id: str
    status: BrokerOrderStatus
    fills: tuple[Fill, ...] = ()
    message: str = ""
