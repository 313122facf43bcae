"""Adopts a broker order that shows up after its intent ended as absent, as an order of its own (rule 2).

The absent order has had its one end, and others may have acted on it. So the fills that the broker made anyway are
published as another order under the same position, with ids derived from the intent.
"""

from __future__ import annotations

from datetime import datetime

from alphapanda.domain import ids
from alphapanda.domain.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.domain.order import OrderStatus, PositionEffect
from alphapanda.domain.order_events import OrderUpdate
from alphapanda.trading.core.intent import PRODUCER, Intent
from alphapanda.trading.core.order import Order


def is_absent(intent: Intent) -> bool:
    """Whether an intent may have been sent and ended as absent, and no broker order of it is known since."""
    return intent.is_absent and not intent.broker_order_id


def has_ended(intent: Intent, report: BrokerOrder) -> bool:
    """Whether the broker order is final and lists every trade."""
    if report.status is BrokerOrderStatus.COMPLETE:
        return sum(fill.quantity for fill in report.fills) == (report.quantity or intent.quantity)
    return report.status is not BrokerOrderStatus.OPEN


def is_all(intent: Intent, report: BrokerOrder) -> bool:
    """Whether no more trades of the broker order can come."""
    if report.status in (BrokerOrderStatus.REJECTED, BrokerOrderStatus.UNPAID):
        return not report.fills
    return sum(fill.quantity for fill in report.fills) == intent.quantity


def call_of(adopted: Order, intent: Intent) -> Intent:
    """The broker call of an order that was adopted before, as it stands."""
    return Intent(
        intent.order_id,
        intent.number,
        intent.quantity,
        adopted.status,
        intent.epoch,
        intent.broker_order_id,
        adopted.filled,
    )


def adopted_id(intent: Intent) -> str:
    """Id of the order as which a late arrival of this intent is adopted."""
    return ids.output_id(PRODUCER, intent.intent_id, "adopted")


def adopt(
    order: Order, intent: Intent, report: BrokerOrder, position: int, market_time: datetime | None
) -> tuple[Order, list[OrderUpdate]]:
    """The adopted order and its updates, up to and including its end.

    Args:
        order: the order whose intent ended as absent.
        intent: the absent intent.
        report: the broker's order, which has ended.
        position: units held under the order's key before these fills, signed.
        market_time: now; None where it is unknown.

    Raises:
        ImpossibleReport: the report can't be true of this intent.
    """
    call = Intent(intent.order_id, intent.number, intent.quantity, OrderStatus.SUBMITTING, intent.epoch)
    adopted = Order(
        order_id=adopted_id(intent),
        signal_id=ids.output_id(PRODUCER, intent.intent_id, "adopted signal"),
        correlation_id=order.correlation_id,
        causation_id=order.causation_id,
        key=order.key,
        instrument_token=order.instrument_token,
        config_revision=order.config_revision,
        side=order.side,
        quantity=intent.quantity,
        terms=order.terms,
        effect=PositionEffect.of(position, order.side.sign * intent.quantity),
        valid_until=order.valid_until,
        status=OrderStatus.SUBMITTING,
        intents=[call],
    )
    updates = adopted.report(call, report, market_time)
    adopted.intents = []  # one broker call is one intent, and that belongs to the absent order
    return adopted, updates
