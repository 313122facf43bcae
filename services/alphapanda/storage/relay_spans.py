"""The spans of the events that a relay publishes, and the headers that carry their contexts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from google.protobuf.message import DecodeError
from sqlalchemy import Row

from alphapanda.domain import ids
from alphapanda.eventlog.decode import headers
from alphapanda.eventlog.port import Headers
from alphapanda.storage.recovered_spans import record_stand_ins
from alphapanda.telemetry import spans
from alphapanda.telemetry.tracing import Kind, SpanContext, Tracer, parse_traceparent
from panda.events.v1.events_pb2 import Event


def headers_of(row: Row[Any]) -> Headers:
    """The headers of an outbox row's record: the context of its own PRODUCER span, where its decision was recorded."""
    event_id = str(row.event_id)
    parent = parse_traceparent(row.traceparent)
    own = "" if parent is None else SpanContext(parent[0].trace_id, spans.published(event_id)).traceparent
    return headers(event_id, row.event_type, row.source, row.occurred_at, own)


class RelaySpans:
    """Records the PRODUCER spans of published rows, under the spans that tell of the decisions.

    A span lasts from the event's time to the acknowledgement, so it shows how long the row lay in the outbox.

    Args:
        tracer: the service's tracer.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def published(self, rows: Sequence[Row[Any]], at: datetime) -> None:
        """Records the publishing of rows that the log has acknowledged."""
        if not self._tracer.on:
            return
        end_ns = nanoseconds(at)
        for row in rows:
            found = parse_traceparent(row.traceparent)
            if found is not None:
                self._record(row, found[0], end_ns)

    def recover(self, rows: Sequence[Row[Any]]) -> None:
        """Records again what tells of these rows; an earlier process may have been killed before it was sent."""
        for row in rows:
            found = parse_traceparent(row.traceparent)
            if found is None:
                continue
            try:
                event = Event.FromString(bytes(row.value))
                record_stand_ins(self._tracer, event, found[0], nanoseconds(row.occurred_at))
            except (DecodeError, ValueError, KeyError):  # of another version: its trace stays as it is
                continue
            if row.published_at is not None:
                self._record(row, found[0], nanoseconds(row.published_at))

    def _record(self, row: Row[Any], parent: SpanContext, end_ns: int) -> None:
        event_id, broker = str(row.event_id), row.topic.partition(".")[0]
        attributes: dict[str, str | int | float | bool] = {
            spans.MESSAGING_SYSTEM: self._tracer.messaging_system,
            spans.MESSAGING_DESTINATION: row.topic,
            spans.MESSAGING_PARTITION: str(row.partition),
            spans.MESSAGING_OPERATION_NAME: spans.PUBLISH,
            spans.MESSAGING_OPERATION_TYPE: "send",
            spans.MESSAGING_MESSAGE_ID: event_id,
            spans.MESSAGING_CONVERSATION_ID: ids.correlation_id(parent.trace_id),
            spans.MESSAGING_KEY: bytes(row.key).decode(errors="replace"),
            spans.EVENT_TYPE: row.event_type,
        }
        if broker != "control":
            attributes[spans.BROKER] = broker
        self._tracer.record(
            f"{spans.PUBLISH} {row.topic}",
            Kind.PRODUCER,
            SpanContext(parent.trace_id, spans.published(event_id)),
            parent,
            nanoseconds(row.occurred_at),
            attributes,
            end_ns=end_ns,
        )


def nanoseconds(at: datetime) -> int:
    """An aware time as nanoseconds since the epoch, exact to the microsecond."""
    return int(at.timestamp()) * 1_000_000_000 + at.microsecond * 1000
