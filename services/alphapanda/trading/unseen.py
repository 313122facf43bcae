"""Orders of ours that may be working at a live broker though its book doesn't show them (REAL_MONEY rules 2 and 9).

They count as working: what is sent beside them leaves them their units. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final

from alphapanda.domain.order import OrderStatus
from alphapanda.trading.core.order import Order
from alphapanda.trading.inquiry import day_in_india
from alphapanda.trading.store.port import StoredOrder

AT_THE_BROKER: Final = (
    OrderStatus.SUBMITTING,
    OrderStatus.UNKNOWN,
    OrderStatus.OPEN,
    OrderStatus.PARTIALLY_FILLED,
)
"""Statuses of an order of which the broker has a part, or may have one."""


def beside(order: Order, found: Sequence[StoredOrder], today: date) -> dict[str, int]:
    """Units that other orders of an order's account, instrument, product and side may still trade, by the tags of their intents.

    Of two orders whose calls are under way, the one that was committed later leaves the other one its units.

    Args:
        order: as it was committed just before its call.
        found: the account's orders in the instrument that are, or may be, at the broker.
        today: in India; an order of an earlier day can't be working.
    """
    units = {}
    for stored in found:
        other = stored.order
        intent = other.current
        alike = (other.key.product, other.side) == (order.key.product, order.side)
        if other.order_id == order.order_id or not alike or intent is None:
            continue
        comes_later = intent.status is OrderStatus.SUBMITTING and other.version > order.version
        is_sent = intent.status is not OrderStatus.PENDING_SUBMIT
        if is_sent and not comes_later and day_in_india(stored.created_at) == today:
            units[intent.tag] = intent.quantity - intent.filled
    return units
