"""A broker order that shows up after its intent was given up as absent: adopted as an order of its own (rule 2).

The order that was given up has had its one end, and others may have acted on it; so what the broker did all the same is
told as another order under the same position, with an identity that follows from the intent.
"""

from __future__ import annotations

from datetime import datetime

from alphapanda.domain import ids
from alphapanda.domain.order import OrderStatus, PositionEffect
from alphapanda.domain.order_events import OrderUpdate
from alphapanda.trading.core.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.trading.core.intent import PRODUCER, Intent
from alphapanda.trading.core.order import Order


def given_up(intent: Intent) -> bool:
    """Whether an intent was sent, or may have been, and ended as absent without the broker's number."""
    return intent.status is OrderStatus.FAILED and intent.epoch > 0 and not intent.broker_order_id


def has_ended(intent: Intent, told: BrokerOrder) -> bool:
    """Whether the broker is done with it and has listed every trade."""
    if told.status is BrokerOrderStatus.COMPLETE:
        return sum(fill.quantity for fill in told.fills) == intent.quantity
    return told.status is not BrokerOrderStatus.OPEN


def adopted_id(intent: Intent) -> str:
    """Id of the order that a late arrival of this intent is adopted as."""
    return ids.output_id(PRODUCER, intent.intent_id, "adopted")


def adopt(
    order: Order, intent: Intent, told: BrokerOrder, position: int, market_time: datetime | None
) -> tuple[Order, list[OrderUpdate]]:
    """The adopted order and what happened to it, its end included.

    Args:
        order: the one whose intent was given up.
        intent: that intent.
        told: the broker's order, which has ended.
        position: units held under the key before its fills, signed.
        market_time: now; None where it is unknown.

    Raises:
        ImpossibleReport: it can't be true of this intent.
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
        order_type=order.order_type,
        effect=PositionEffect.of(position, order.side.sign * intent.quantity),
        valid_until=order.valid_until,
        status=OrderStatus.SUBMITTING,
        intents=[call],
    )
    updates = adopted.report(call, told, market_time)
    adopted.intents = []  # one broker call is one intent, and that is the given-up order's
    return adopted, updates
