"""Which span an event is published under: the one that tells of the decision it comes from.

Decisions of several records share a transaction, so this follows from the event itself, not from the task that stores it. What a
command decided is published under the command's own span.
"""

from __future__ import annotations

from alphapanda.domain import ids
from alphapanda.telemetry import spans
from alphapanda.telemetry.tracing import SpanContext, current_span
from panda.events.v1.events_pb2 import Event

_VERDICTS = frozenset({"signal_validated", "signal_rejected"})


def publishing_parent(event: Event) -> str:
    """The traceparent of the span that an event belongs under; empty where none is recorded of its decision."""
    trace_id = ids.trace_id(event.correlation_id)
    deciding = _deciding_span(event, trace_id) if trace_id else ""
    return SpanContext(trace_id, deciding).traceparent if deciding else ""


def _deciding_span(event: Event, trace_id: str) -> str:
    payload, span = event.WhichOneof("payload") or "", current_span.get()
    if payload in _VERDICTS:
        return spans.judged(event.causation_id)
    if payload.startswith("order_"):
        return spans.driven(getattr(event, payload).order.order_id)
    if payload == "portfolio_snapshot":
        # A frame is its own correlation: what market time alone makes due belongs to no order.
        return "" if event.causation_id == event.correlation_id else spans.booked(event.causation_id)
    if span is not None and span.trace_id == trace_id:
        return span.span_id
    return spans.decided(event.event_id) if payload == "trading_signal" else ""  # the timer's


def untraced(_: Event) -> str:
    """No event is published under a span: tracing is off."""
    return ""
