"""A broker's rejections in a row, of an account in an instrument as a product, on a day of the exchange."""

from __future__ import annotations

from datetime import date

from msgspec import Struct

from alphapanda.domain.order import FailureReason, Product
from alphapanda.domain.order_events import Failed, OrderUpdate
from alphapanda.domain.signal import PositionKey

RejectionKey = tuple[str, str, str, Product]
"""(broker, account, instrument id, product)."""


class Rejections(Struct, frozen=True, gc=False):
    """Rejections in a row.

    Attributes:
        day: the exchange's day of the last one.
        count: how many; 0 after an order that the broker took.
        message: the broker's words on the last one.
    """

    day: date
    count: int
    message: str


def rejection_key(key: PositionKey) -> RejectionKey:
    """Whose rejections a position's orders count to: those of all strategies of the account."""
    return key.broker, key.account, key.instrument_id, key.product


def rejection_of(update: OrderUpdate) -> str | None:
    """The broker's words where it rejected the order; None for any other update."""
    if isinstance(update, Failed) and update.reason is FailureReason.BROKER_REJECTED:
        return update.message or "no reason given"
    return None
