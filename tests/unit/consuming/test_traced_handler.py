"""The span of a record's handling: under the span that published it, linked to it, marked where it came again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from alphapanda.consuming.delivery import Delivery
from alphapanda.consuming.traced_handler import TracedHandler
from alphapanda.contract.topics import TopicMap
from alphapanda.contract.wire import envelope, frame_event
from alphapanda.domain import ids
from alphapanda.domain.frame import Frame
from alphapanda.eventlog.decode import to_record
from alphapanda.eventlog.port import StoredRecord
from alphapanda.resilience.failures import TransientFailure
from alphapanda.telemetry import spans
from alphapanda.telemetry.tracing import Kind, Span, SpanContext, Tracer
from panda.events.v1.events_pb2 import Event

TOPICS = TopicMap(("paper",))
NOW = datetime(2026, 3, 2, 4, tzinfo=UTC)
CHAIN = ids.derived_id("a chain")
PUBLISHED = SpanContext(ids.trace_id(CHAIN), "00000000000000b1")


def delivery(event: Event, traceparent: str = "") -> Delivery:
    made = to_record(event, TOPICS, traceparent)
    return Delivery(
        event,
        event.broker,
        StoredRecord(made.topic, made.partition, 7, made.key, made.value, made.headers, 0),
    )


def fill(traceparent: str = PUBLISHED.traceparent) -> Delivery:
    """An order event; it says order, signal and strategy."""
    event = envelope(
        event_id=ids.derived_id("a fill"), correlation_id=CHAIN, causation_id=CHAIN, broker="paper",
        source="trading", occurred_at=NOW,
    )  # fmt: skip
    order = event.order_filled.order
    order.order_id, order.signal_id, order.strategy_id, order.account = "o", "s", "ema", "default"
    return delivery(event, traceparent)


class Handling:
    """A handler that notes, or fails as it is told, in its wrapper."""

    def __init__(self, *, decides: bool = False, successes: bool = True) -> None:
        self.recorded: list[Span] = []
        self.tracer = Tracer("portfolio", self.recorded.append, "kafka")
        self.traced = TracedHandler(
            self, self.tracer, "portfolio", TOPICS, decides=decides, successes=successes
        )
        self.error: Exception | None = None
        self.notes: dict[str, tuple[str, dict[str, str]]] = {}

    async def handle(self, batch: Sequence[Delivery]) -> None:
        """Does what it is told."""
        if self.error is not None:
            raise self.error
        for event_id, (span_id, attributes) in self.notes.items():
            self.tracer.note(event_id, span_id, attributes)


async def test_a_record_s_span_hangs_under_its_publishing() -> None:
    """Its parent, which is its link as well, comes by the header; topic, group and order are attributes."""
    handling, one = Handling(), fill()
    await handling.traced.handle([one])
    (span,) = handling.recorded
    assert (span.service, span.name, span.kind) == (
        "portfolio",
        "process paper.orders.filled",
        Kind.CONSUMER,
    )
    assert (span.parent, span.links) == (PUBLISHED, (PUBLISHED,))
    assert span.context.trace_id == ids.trace_id(CHAIN)
    said = {
        spans.MESSAGING_SYSTEM: "kafka",
        spans.MESSAGING_DESTINATION: "paper.orders.filled",
        spans.MESSAGING_OPERATION_TYPE: "process",
        spans.MESSAGING_GROUP: "portfolio",
        spans.MESSAGING_MESSAGE_ID: one.event.event_id,
        spans.MESSAGING_CONVERSATION_ID: CHAIN,
        spans.MESSAGING_OFFSET: 7,
        spans.BROKER: "paper",
        spans.ORDER_ID: "o",
        spans.SIGNAL_ID: "s",
        spans.STRATEGY_ID: "ema",
    }
    assert said.items() <= span.attributes.items()


async def test_what_was_decided_is_in_the_span() -> None:
    """A note gives the span its id, under which what follows hangs, and its attributes."""
    handling, one = Handling(decides=True), fill()
    handling.notes[one.event.event_id] = spans.booked(one.event.event_id), {spans.FILL_ID: "f"}
    await handling.traced.handle([one])
    (span,) = handling.recorded
    assert span.context.span_id == spans.booked(one.event.event_id)
    assert span.attributes[spans.FILL_ID] == "f"
    assert spans.REDELIVERED not in span.attributes


async def test_a_record_that_comes_again_adds_a_span_to_the_old_trace() -> None:
    """Nothing was decided on it: its span has an id of its own and says so; no parent of others is overwritten."""
    handling, one = Handling(decides=True), fill()
    await handling.traced.handle([one])
    (span,) = handling.recorded
    assert span.attributes[spans.REDELIVERED] is True
    assert (span.parent, span.context.trace_id) == (PUBLISHED, ids.trace_id(CHAIN))
    assert span.context.span_id != spans.booked(one.event.event_id)


async def test_a_record_without_a_context_begins_its_trace_s_branch() -> None:
    """A producer that recorded nothing is no parent; the trace is the correlation id's all the same."""
    handling = Handling()
    await handling.traced.handle([fill("")])
    (span,) = handling.recorded
    assert (span.parent, span.links, span.context.trace_id) == (None, (), ids.trace_id(CHAIN))


async def test_a_bug_is_recorded_with_its_error() -> None:
    """A record that can't be handled has a failed span; one that has to wait is tried again, and has none."""
    handling = Handling()
    handling.error = TransientFailure("away")
    with pytest.raises(TransientFailure):
        await handling.traced.handle([fill()])
    assert handling.recorded == []
    handling.error = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError):
        await handling.traced.handle([fill()])
    (span,) = handling.recorded
    assert (span.parent, span.attributes[spans.ERROR_TYPE]) == (PUBLISHED, "ZeroDivisionError")
    assert "a bug" in span.error


async def test_frames_have_a_span_only_where_they_are_sampled() -> None:
    """Market data carries no money: of its records only those whose publishing was recorded have one."""
    handling = Handling()
    event = frame_event(Frame("run", 0, 1, 0, 100), "marketdata", NOW)
    sampled = SpanContext(ids.trace_id(event.event_id), spans.published(event.event_id))
    await handling.traced.handle([delivery(event)])
    assert handling.recorded == []
    await handling.traced.handle([delivery(event, sampled.traceparent)])
    assert [one.parent for one in handling.recorded] == [sampled]


async def test_a_handler_that_records_its_own_spans_has_no_second_ones() -> None:
    """An order's span is recorded by who drives it."""
    handling = Handling(successes=False)
    await handling.traced.handle([fill()])
    assert handling.recorded == []
