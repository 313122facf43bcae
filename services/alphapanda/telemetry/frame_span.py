"""The span of a frame's publishing: recorded by market data where it is sampled, else by the strategy that it led to a signal."""

from __future__ import annotations

from alphapanda.domain import ids
from alphapanda.telemetry import spans
from alphapanda.telemetry.tracing import Attribute, Kind, SpanContext, Tracer


def frame_context(frame_id: str) -> SpanContext:
    """The context of a frame's span: the frame's id is its correlation id."""
    return SpanContext(ids.trace_id(frame_id), spans.published(frame_id))


def record_frame(
    tracer: Tracer, topic: str, partition: int | None, frame_id: str, ticks: int, begin_ns: int, end_ns: int
) -> None:
    """Records the publishing of a frame: the root of a trace."""
    attributes: dict[str, Attribute] = {
        spans.MESSAGING_SYSTEM: tracer.messaging_system,
        spans.MESSAGING_DESTINATION: topic,
        spans.MESSAGING_OPERATION_NAME: spans.PUBLISH,
        spans.MESSAGING_OPERATION_TYPE: "send",
        spans.MESSAGING_MESSAGE_ID: frame_id,
        spans.MESSAGING_CONVERSATION_ID: frame_id,
        spans.FRAME_ID: frame_id,
        spans.TICKS: ticks,
    }
    if partition is not None:
        attributes[spans.MESSAGING_PARTITION] = str(partition)
    tracer.record(
        f"{spans.PUBLISH} {topic}",
        Kind.PRODUCER,
        frame_context(frame_id),
        None,
        begin_ns,
        attributes,
        end_ns=end_ns,
    )
