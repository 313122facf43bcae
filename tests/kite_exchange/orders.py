"""An order: what it asks for, how far it has come, and its rows in the order book and its history."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from tests.kite_exchange.clock import SECOND_NS, stamp
from tests.kite_exchange.listed import Listed

RECEIVED: Final = "PUT ORDER REQ RECEIVED"
VALIDATING: Final = "VALIDATION PENDING"
OPENING: Final = "OPEN PENDING"
TRIGGER: Final = "TRIGGER PENDING"
OPEN: Final = "OPEN"
COMPLETE: Final = "COMPLETE"
CANCELLED: Final = "CANCELLED"
REJECTED: Final = "REJECTED"
AMO: Final = "AMO REQ RECEIVED"
UPDATE: Final = "UPDATE"
"""What an order update says of a partial fill or a modification."""
ENDED: Final = frozenset({COMPLETE, CANCELLED, REJECTED})
_MINUTE_NS: Final = 60 * SECOND_NS


@dataclass(frozen=True, slots=True)
class Trade:
    """One execution of an order."""

    trade_id: str
    order: Order
    quantity: int
    price: Decimal
    at_ns: int

    def row(self) -> dict[str, Any]:
        """Its row in /trades."""
        order = self.order
        return {
            "trade_id": self.trade_id,
            "order_id": order.order_id,
            "exchange": order.listed.exchange,
            "tradingsymbol": order.listed.tradingsymbol,
            "instrument_token": order.listed.instrument_token,
            "product": order.product,
            "average_price": self.price,
            "quantity": self.quantity,
            "exchange_order_id": order.exchange_order_id,
            "transaction_type": order.side,
            "fill_timestamp": stamp(self.at_ns),
            "order_timestamp": stamp(self.at_ns)[11:],
            "exchange_timestamp": stamp(self.at_ns),
        }


@dataclass(slots=True, eq=False)
class Order:
    """An order of a user.

    Attributes:
        order_id: 19 digits.
        user_id: whose it is.
        api_key: the app that placed it; empty: a person at the phone, or the broker's risk desk.
        side: BUY or SELL.
        price: limit, rupees; 0 for a market order.
        trigger_price: rupees; 0 without one.
        protection: the market protection in percent; 0 without one.
        placed_ns: when it came.
        hidden_until_ns: the order book doesn't show it before.
        stuck_until_ns: it isn't worked on before.
        at_each_price: most units traded at one price; None: any number.
        stop_lost: whether it is cancelled when it triggers, its price being outside the protection range.
        quiet: whether no order updates are sent of it.
        legs: quantities of the legs of an iceberg that are still to come.
    """

    order_id: str
    user_id: str
    api_key: str
    listed: Listed
    variety: str
    side: str
    order_type: str
    product: str
    validity: str
    quantity: int
    price: Decimal
    trigger_price: Decimal
    disclosed_quantity: int
    protection: Decimal
    tag: str | None
    validity_ttl: int
    placed_ns: int
    tags: list[str] = field(default_factory=list)
    parent_order_id: str | None = None
    status: str = RECEIVED
    status_message: str | None = None
    exchange_order_id: str | None = None
    exchange_ns: int = 0
    filled: int = 0
    value: Decimal = Decimal(0)
    cancelled: int = 0
    modifications: int = 0
    arriving: bool = True
    history: list[dict[str, Any]] = field(default_factory=list)
    hidden_until_ns: int = 0
    stuck_until_ns: int = 0
    at_each_price: int | None = None
    stop_lost: bool = False
    quiet: bool = False
    legs: list[int] = field(default_factory=list)

    @property
    def left(self) -> int:
        """Units that can still be traded."""
        return 0 if self.status in ENDED else self.quantity - self.filled

    @property
    def sign(self) -> int:
        """1 for a purchase, -1 for a sale."""
        return 1 if self.side == "BUY" else -1

    @property
    def average(self) -> Decimal:
        """Average price of the fills, rounded as the API does; 0 without any."""
        return round(self.value / self.filled, 6) if self.filled else Decimal(0)

    @property
    def ends_ns(self) -> int | None:
        """When it runs out; None: with the day."""
        return self.placed_ns + self.validity_ttl * _MINUTE_NS if self.validity == "TTL" else None

    def step(self, status: str, at_ns: int, message: str | None = None) -> None:
        """Goes on to a status, which its history keeps."""
        self.status = status
        if message is not None:
            self.status_message = message
        if status not in {RECEIVED, VALIDATING, OPENING, AMO} and self.exchange_order_id is not None:
            self.exchange_ns = at_ns
        self.history.append(self.row())

    def row(self) -> dict[str, Any]:
        """Its row in /orders. A cancelled order's pending quantity isn't 0, as in Kite's own answers."""
        listed = self.listed
        ended = self.status in {COMPLETE, REJECTED}
        exchange_time = stamp(self.exchange_ns) if self.exchange_ns else None
        row = {
            "placed_by": self.user_id if self.api_key or not self.quiet else "RMS",
            "order_id": self.order_id,
            "exchange_order_id": self.exchange_order_id,
            "parent_order_id": self.parent_order_id,
            "status": self.status,
            "status_message": self.status_message,
            "status_message_raw": self.status_message,
            "order_timestamp": stamp(self.exchange_ns or self.placed_ns),
            "exchange_update_timestamp": exchange_time,
            "exchange_timestamp": exchange_time,
            "variety": self.variety,
            "modified": self.modifications > 0,
            "exchange": listed.exchange,
            "tradingsymbol": listed.tradingsymbol,
            "instrument_token": listed.instrument_token,
            "order_type": self.order_type,
            "transaction_type": self.side,
            "validity": self.validity,
            "validity_ttl": self.validity_ttl,
            "product": self.product,
            "quantity": self.quantity,
            "disclosed_quantity": self.disclosed_quantity,
            "price": self.price,
            "trigger_price": self.trigger_price,
            "average_price": self.average,
            "filled_quantity": self.filled,
            "pending_quantity": 0 if ended else self.quantity - self.filled,
            "cancelled_quantity": self.cancelled,
            "market_protection": 0,
            "meta": {},
            "tag": self.tag,
            "guid": "XXXXX",
        }
        return {**row, "tags": list(self.tags)} if self.tags else row
