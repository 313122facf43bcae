"""Logs order events once they are committed: one line for each, with the same fields."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from alphapanda.domain.order import OrderStatus, Side
from panda.events.v1.events_pb2 import Event
from panda.events.v1.orders_pb2 import FailureReason, OrderState

_log = structlog.get_logger(__name__)


def log_orders(events: Sequence[Event]) -> None:
    """Logs one line for each order event; other events are skipped."""
    for event in events:
        match event.WhichOneof("payload"):
            case "order_submitted":
                _log.info("order.submitted", **_order(event, event.order_submitted.order))
            case "order_filled":
                filled = event.order_filled
                _log.info(
                    "order.filled",
                    fill_quantity=filled.quantity,
                    price=filled.price.value,
                    **_order(event, filled.order),
                )
            case "order_failed":
                failed = event.order_failed
                reason = FailureReason.Name(failed.reason).removeprefix("FAILURE_REASON_")
                _log.info(
                    "order.failed", reason=reason, message=failed.message, **_order(event, failed.order)
                )
            case "order_cancelled":
                cancelled = event.order_cancelled
                _log.info("order.cancelled", message=cancelled.message, **_order(event, cancelled.order))
            case _:
                continue


def _order(event: Event, order: OrderState) -> dict[str, object]:
    """The fields that each line has."""
    return {
        "order_id": order.order_id,
        "signal_id": order.signal_id,
        "correlation_id": event.correlation_id,
        "broker": event.broker,
        "account": order.account,
        "strategy_id": order.strategy_id,
        "instrument_id": order.instrument_id,
        "side": Side(order.side).name,
        "quantity": order.quantity,
        "status": OrderStatus(order.status).name,
        "filled": order.filled_quantity,
    }
