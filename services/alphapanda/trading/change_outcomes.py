"""What a broker's report and an order's end mean for the order's changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from alphapanda.domain.broker_order import BrokerOrder
from alphapanda.domain.order import OrderStatus
from alphapanda.domain.order_events import OrderUpdate
from alphapanda.trading.core.intent import Intent
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.order_change import ChangeKind, ChangeRequest, words_of
from alphapanda.trading.execution_context import reported
from alphapanda.trading.store.port import TradingTransaction


def told(
    order: Order,
    intent: Intent,
    report: BrokerOrder,
    market_time: datetime | None,
    changes: Sequence[ChangeRequest],
) -> list[OrderUpdate]:
    """Applies a broker's report to an order. Where its slice has ended and it is to be cancelled, no further one is sent."""
    events = reported(order, intent, report, market_time)
    current = order.current
    if current is not None and current.status is OrderStatus.PENDING_SUBMIT:
        for change in changes:
            if change.kind is ChangeKind.CANCEL:
                return events + order.cancelled_unsent(words_of(change), market_time)
    return events


async def settled(
    transaction: TradingTransaction, order: Order, changes: Sequence[ChangeRequest] | None = None
) -> list[ChangeRequest]:
    """Saves changes of a locked order, those ended that its state ends; None: all that are unresolved.

    Returns:
        Those that have ended.
    """
    if changes is None:
        changes = await transaction.changes.unresolved(order.order_id)
    for change in changes:
        if not change.status.is_final:
            change.settle(order)
    await transaction.changes.save(changes)
    return [change for change in changes if change.status.is_final]


def by_id(changes: Iterable[ChangeRequest]) -> dict[str, ChangeRequest]:
    """Changes by their ids."""
    return {change.change_id: change for change in changes}
