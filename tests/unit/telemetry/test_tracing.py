"""Contexts of spans, what is sampled, and that the trace id and the correlation id are one."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain import ids
from alphapanda.telemetry import logs
from alphapanda.telemetry.correlation import current_correlation_id
from alphapanda.telemetry.tracing import (
    MOST_NOTES,
    OFF,
    Kind,
    Span,
    SpanContext,
    Tracer,
    header_context,
    parse_traceparent,
)

CONTEXT = SpanContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")


@given(st.uuids())
def test_trace_id_and_correlation_id_lead_to_each_other(any_uuid: UUID) -> None:
    """Every UUID but the zero one is a trace id of the same 128 bits, and back; no table is needed."""
    trace_id = ids.trace_id(str(any_uuid))
    assert (trace_id, ids.correlation_id(trace_id)) == (
        (any_uuid.hex, str(any_uuid)) if any_uuid.int else ("", "")
    )


@pytest.mark.parametrize(
    "text",
    ["", "c", "frame", str(UUID(int=0)), "4bf92f3577b34da6a3ce929d0e0e4736"],  # pragma: allowlist secret
)
def test_what_is_no_correlation_id_has_no_trace(text) -> None:
    """The functions are total: anything else has the empty trace id."""
    assert ids.trace_id(text) == ""


@pytest.mark.parametrize(
    "made", [ids.derived_id("a"), ids.frame_id("run", 0, 1), ids.command_id("c", "m", "r")]
)
def test_our_own_ids_are_trace_ids(made) -> None:
    """Whatever makes a correlation id makes one that is a trace id."""
    assert len(ids.trace_id(made)) == 32


def test_a_span_id_follows_from_what_it_tells_of() -> None:
    """Equal identity, equal id; another event or another thing that happened to it has another."""
    made = {ids.span_id(event, what) for event in ("a", "b") for what in ("published", "judged")}
    assert len(made) == 4
    assert all(len(one) == 16 and int(one, 16) for one in made)
    assert ids.span_id("a", "judged") == ids.span_id("a", "judged")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (CONTEXT.traceparent, (CONTEXT, True)),
        (CONTEXT.traceparent[:-1] + "0", (CONTEXT, False)),
        ("cc-" + CONTEXT.traceparent[3:] + "-more", (CONTEXT, True)),  # of a later version
        ("ff" + CONTEXT.traceparent[2:], None),
        (f"00-{32 * '0'}-{CONTEXT.span_id}-01", None),
        (f"00-{CONTEXT.trace_id}-{16 * '0'}-01", None),
        (CONTEXT.traceparent.upper(), None),
        ("", None),
    ],
)
def test_a_traceparent_is_read_as_w3c_says(text, found) -> None:
    """Zeros, capitals and the forbidden version are none; a later version may say more."""
    assert parse_traceparent(text) == found


@pytest.mark.parametrize(
    ("value", "found"), [(CONTEXT.traceparent.encode(), CONTEXT), (b"\xff", None), (b"", None)]
)
def test_a_record_s_context_is_in_its_header(value, found) -> None:
    """Bytes that are no text don't matter."""
    assert header_context((("ce_id", b"x"), ("traceparent", value))) == found


def test_what_is_off_does_nothing() -> None:
    """No sample, no time, no note, no span."""
    OFF.note("event", "span", {})
    OFF.record("name", Kind.CLIENT, CONTEXT, None, 1, {})
    assert (OFF.on, OFF.began(), OFF.noted("event")) == (False, 0, None)
    assert not OFF.samples_frame(str(UUID(int=0)))


def test_the_ratio_of_frames_is_kept() -> None:
    """About the asked share of frames is sampled, the same ones each time."""
    tracer = Tracer("marketdata", lambda _: None, market_data_ratio=0.1)
    frames = [ids.frame_id("run", 0, number) for number in range(5000)]
    sampled = [frame for frame in frames if tracer.samples_frame(frame)]
    assert 400 < len(sampled) < 600
    assert sampled == [frame for frame in frames if tracer.samples_frame(frame)]


def test_notes_are_bounded() -> None:
    """What nobody takes is dropped, the oldest first."""
    tracer = Tracer("risk", lambda _: None)
    for number in range(MOST_NOTES + 1):
        tracer.note(str(number), "span", {})
    assert tracer.noted("0") is None
    assert tracer.noted("1") == ("span", {})
    assert tracer.noted("1") is None


def test_a_span_ends_after_its_beginning() -> None:
    """A clock that is set back makes no negative span; what has no trace id is no span."""
    recorded: list[Span] = []
    tracer = Tracer("risk", recorded.append)
    tracer.record("name", Kind.CLIENT, CONTEXT, None, 2**62, {})
    tracer.record("name", Kind.CLIENT, SpanContext("", CONTEXT.span_id), None, 1, {})
    (span,) = recorded
    assert span.end_ns == span.start_ns == 2**62


def test_a_log_line_names_its_trace() -> None:
    """Whoever has a line has the trace, whether the line names its correlation id or the task does."""
    own, current = ids.derived_id("own"), ids.derived_id("current")
    before = current_correlation_id.set(current)
    try:
        said = logs.add_context("", None, "", {"event": "order.filled", "correlation_id": own})
        implied = logs.add_context("", None, "", {"event": "order.filled"})
    finally:
        current_correlation_id.reset(before)
    assert said["trace_id"] == own.replace("-", "")
    assert implied["trace_id"] == current.replace("-", "")
    assert "trace_id" not in logs.add_context("", None, "", {"event": "process.ready"})
