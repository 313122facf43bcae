"""Ends approved signals whose orders a restored database has forgotten, if it ever had them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from alphapanda.contract.wire import approved_from
from alphapanda.domain.order import FailureReason
from alphapanda.trading.core.order import Order
from alphapanda.trading.execution_context import event_of
from alphapanda.trading.store.port import OrderChange, TradingStore
from panda.events.v1.events_pb2 import Event

WHY: Final = (
    "the database was restored to a time before this order: whether the broker executed it shows in the"
    " reconciliation"
)
_AT_ONCE: Final = 500


async def discard_forgotten(store: TradingStore, validated: Sequence[Event], now: datetime) -> int:
    """Stores an order that ended as FAILED(DISCARDED) for each approved signal that has none; returns how many.

    So risk releases what it holds for them, and nobody sends them: the broker may have had them in the time that was taken
    back.

    Args:
        store: trading's, of a platform that is stopped.
        validated: SignalValidated events that trading doesn't read again.
        now: wall time.
    """
    discarded = 0
    for first in range(0, len(validated), _AT_ONCE):
        changes = []
        for event in validated[first : first + _AT_ONCE]:
            approved = approved_from(event)
            order = Order.approved(approved, event.event_id, [approved.quantity])
            updates = order.not_sent(FailureReason.DISCARDED, WHY, None)
            changes.append(OrderChange(order, (), [event_of(order, update, now) for update in updates]))
        async with store.transaction() as transaction:
            discarded += len(await transaction.add(changes))
    return discarded
