"""Under which span an event is published, and what stands in for that span after a kill."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from alphapanda.contract.wire import envelope
from alphapanda.domain import ids
from alphapanda.domain.order import OrderStatus
from alphapanda.storage.recovered_spans import record_stand_ins, stand_ins
from alphapanda.storage.trace_parents import publishing_parent, untraced
from alphapanda.telemetry import spans
from alphapanda.telemetry.tracing import (
    CurrentSpan,
    Kind,
    Span,
    SpanContext,
    Tracer,
    current_span,
    parse_traceparent,
)
from panda.common.v1 import common_pb2 as common
from panda.events.v1.events_pb2 import Event

CHAIN, CAUSE, EVENT = (ids.derived_id(one) for one in ("chain", "cause", "event"))
TRACE = ids.trace_id(CHAIN)


def event(payload: str, *, correlation_id: str = CHAIN, causation_id: str = CAUSE, **fields) -> Event:
    made = envelope(
        event_id=EVENT, correlation_id=correlation_id, causation_id=causation_id, broker="paper", source="",
        occurred_at=datetime(2026, 3, 2, tzinfo=UTC),
    )  # fmt: skip
    message = getattr(made, payload)
    message.SetInParent()
    for name, value in fields.items():
        if name == "order":
            for key, each in value.items():
                setattr(message.order, key, each)
        else:
            setattr(message, name, value)
    return made


FILLED = {"order_id": "o", "signal_id": "s", "strategy_id": "ema", "status": int(OrderStatus.FILLED)}


@pytest.mark.parametrize(
    ("published", "under"),
    [
        (event("signal_validated", signal_id=CAUSE), spans.judged(CAUSE)),
        (event("signal_rejected", signal_id=CAUSE), spans.judged(CAUSE)),
        (event("order_submitted", order=FILLED), spans.driven("o")),
        (event("order_filled", order=FILLED), spans.driven("o")),
        (event("order_failed", order=FILLED), spans.driven("o")),
        (event("order_cancelled", order=FILLED), spans.driven("o")),
        (event("portfolio_snapshot"), spans.booked(CAUSE)),
        (event("trading_signal"), spans.decided(EVENT)),
    ],
)
def test_an_event_is_published_under_its_decision(published, under) -> None:
    """It follows from the event alone, whichever task stores it."""
    assert parse_traceparent(publishing_parent(published)) == (SpanContext(TRACE, under), True)


@pytest.mark.parametrize(
    "published",
    [
        event("portfolio_snapshot", causation_id=CHAIN),  # by market time: its cause is a frame
        event("strategy_changed"),
        event("signal_validated", correlation_id="c"),
    ],
)
def test_what_no_span_tells_of_has_no_parent(published) -> None:
    """A frame's snapshot, a change outside of a recorded command, and an event without a trace are published under nothing."""
    assert publishing_parent(published) == ""
    assert untraced(event("signal_validated")) == ""


def test_what_a_command_decides_is_under_the_command() -> None:
    """Within a recorded call its own events are under its span; those of another chain are not."""
    before = current_span.set(CurrentSpan(TRACE, "00000000000000e1"))
    try:
        own = publishing_parent(event("kill_switch_changed"))
        other = publishing_parent(event("kill_switch_changed", correlation_id=EVENT))
    finally:
        current_span.reset(before)
    assert parse_traceparent(own) == (SpanContext(TRACE, "00000000000000e1"), True)
    assert other == ""


@pytest.mark.parametrize(
    ("published", "expected"),
    [
        (
            event("signal_validated", signal_id=CAUSE, strategy_id="ema"),
            [("process paper.signals.raw", Kind.CONSUMER, spans.judged(CAUSE), spans.published(CAUSE))],
        ),
        (
            event("signal_rejected", signal_id=CAUSE, strategy_id="manual"),
            [("decide signal", Kind.INTERNAL, spans.judged(CAUSE), spans.placed(CAUSE))],
        ),
        (
            event("order_filled", order=FILLED),
            [("process paper.signals.validated", Kind.CONSUMER, spans.driven("o"), spans.published(CAUSE))],
        ),
        (event("order_submitted", order=FILLED | {"status": common.ORDER_STATUS_OPEN}), []),  # driven on
        (
            event("order_failed", order=FILLED | {"strategy_id": "manual"}),
            [
                ("panda.trading.v1.TradingService/PlaceOrder", Kind.SERVER, spans.placed("s"), ""),
                ("drive order", Kind.INTERNAL, spans.driven("o"), spans.placed("s")),
            ],
        ),
        (
            event("portfolio_snapshot"),
            [("process paper.orders.filled", Kind.CONSUMER, spans.booked(CAUSE), spans.published(CAUSE))],
        ),
        (event("trading_signal"), [("square off due", Kind.INTERNAL, spans.decided(EVENT), "")]),
        (event("strategy_changed"), []),
    ],
)
def test_the_stand_ins_have_the_ids_that_others_hang_under(published, expected) -> None:
    """After a kill each decision is recorded again under the id that its event was published under."""
    found = [(one.name, one.kind, one.span_id, one.parent) for one in stand_ins(published)]
    assert found == expected


def test_a_stand_in_is_marked_and_short() -> None:
    """It says that it is one, and of what; an event that a command published has none, as nobody knows that span."""
    recorded: list[Span] = []
    tracer = Tracer("risk", recorded.append)
    verdict = event("signal_validated", signal_id=CAUSE, strategy_id="ema")
    record_stand_ins(tracer, verdict, SpanContext(TRACE, spans.judged(CAUSE)), 5)
    record_stand_ins(tracer, event("trading_signal"), SpanContext(TRACE, "00000000000000e1"), 5)
    (span,) = recorded
    assert (span.start_ns, span.end_ns, span.links) == (5, 5, (span.parent,))
    assert span.attributes[spans.RESUMED] is True
    assert span.attributes[spans.SIGNAL_ID] == CAUSE
    assert span.attributes[spans.VERDICT] == "APPROVED"
