"""What a span says of the order or signal that an event tells of."""

from __future__ import annotations

from alphapanda.telemetry import spans
from alphapanda.telemetry.tracing import Attribute
from panda.events.v1.events_pb2 import Event


def subject_attributes(event: Event) -> dict[str, Attribute]:
    """Order, signal, strategy and instrument that an event tells of."""
    payload = event.WhichOneof("payload") or ""
    if payload.startswith("order_"):
        order = getattr(event, payload).order
        return {
            spans.ORDER_ID: order.order_id,
            spans.SIGNAL_ID: order.signal_id,
            spans.STRATEGY_ID: order.strategy_id,
            spans.ACCOUNT: order.account,
            spans.INSTRUMENT_ID: order.instrument_id,
            spans.ORDER_REVISION: order.order_revision,
        }
    if payload.startswith(("signal_", "trading_signal")):
        signal = getattr(event, payload)
        return {
            spans.SIGNAL_ID: event.event_id if payload == "trading_signal" else signal.signal_id,
            spans.STRATEGY_ID: signal.strategy_id,
            spans.ACCOUNT: signal.account,
            spans.INSTRUMENT_ID: signal.instrument_id,
        }
    return {}
