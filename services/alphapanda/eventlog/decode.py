"""Encodes events into records and decodes them. Each unreadable record gets a reason, for its dead letter."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final

from google.protobuf.message import DecodeError

from alphapanda.contract.topics import TopicMap
from alphapanda.contract.validation import not_keepable, violations
from alphapanda.domain import ids
from alphapanda.eventlog.port import Headers, Record, StoredRecord
from panda.events.v1.events_pb2 import Event
from panda.events.v1.frame_pb2 import TickFrame

CONTENT_TYPE = b"application/protobuf"
_DETAIL_VIOLATIONS = 3
_MOST_PRICE_SCALE = 10_000_000
_FRAME_REQUIRED = ("last_price", "exchange_time")
_FRAME_OPTIONAL = (
    "bar_start",
    "open",
    "volume",
    "last_quantity",
    "buy_quantity",
    "sell_quantity",
    "average_price",
    "open_interest",
)


class Reason(StrEnum):
    """Why a record became a dead letter."""

    UNDECODABLE = "UNDECODABLE"
    UNKNOWN_TYPE = "UNKNOWN_TYPE"
    INVALID = "INVALID"
    WRONG_TOPIC = "WRONG_TOPIC"
    WRONG_BROKER = "WRONG_BROKER"
    WRONG_KEY = "WRONG_KEY"
    BUG = "BUG"
    PARKED = "PARKED"  # an earlier record of its key is parked


class Unreadable(Exception):
    """A record can't be decoded, and no retry changes that."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


@lru_cache(maxsize=1)
def _types() -> Mapping[str, bytes]:
    """Returns the full message name by payload field."""
    return {
        field.name: field.message_type.full_name.encode()
        for field in Event.DESCRIPTOR.oneofs_by_name["payload"].fields
        if field.message_type is not None
    }


def headers(
    event_id: str, payload: str, source: str, occurred_at: datetime, traceparent: str = ""
) -> Headers:
    """Builds the CloudEvents headers of an event, so that a reader can route and trace it without decoding.

    Args:
        event_id: the event's id.
        payload: its payload's field name.
        source: the service that made it.
        occurred_at: wall time, aware.
        traceparent: W3C trace context; empty leaves the header out.
    """
    made = (
        ("ce_id", event_id.encode()),
        ("ce_type", _types()[payload]),
        ("ce_source", source.encode()),
        ("ce_time", occurred_at.isoformat().encode()),
        ("content-type", CONTENT_TYPE),
    )
    return (*made, ("traceparent", traceparent.encode())) if traceparent else made


def to_record(event: Event, topic_map: TopicMap, traceparent: str = "") -> Record:
    """Encodes an event into a record, with topic, partition and key from the contract.

    Raises:
        ValueError: the event has no payload.
    """
    route = topic_map.route(event)
    return Record(
        route.topic,
        route.partition,
        route.key,
        event.SerializeToString(deterministic=True),
        headers(
            event.event_id,
            event.WhichOneof("payload") or "",
            event.source,
            event.occurred_at.ToDatetime(UTC),
            traceparent,
        ),
    )


_newest_frames: Final[dict[tuple[str, int], tuple[StoredRecord, TopicMap, Event]]] = {}
"""The last decoded frame of each partition: a frame has several readers in one process, and most get the same record object."""


def from_record(record: StoredRecord, topic_map: TopicMap) -> Event:
    """Decodes and validates the event of a record. Readers share a frame's event, so nobody changes it.

    Raises:
        Unreadable: the record can't be parsed, breaks a rule of the contract, or doesn't belong on this topic.
    """
    newest = _newest_frames.get((record.topic, record.partition))
    if newest is not None and newest[0] is record and newest[1] is topic_map:
        return newest[2]
    event = _decoded(record, topic_map)
    if event.HasField("tick_frame"):
        _newest_frames[record.topic, record.partition] = record, topic_map, event
    return event


def _decoded(record: StoredRecord, topic_map: TopicMap) -> Event:
    try:
        event = Event.FromString(record.value)
    except DecodeError as error:
        raise Unreadable(Reason.UNDECODABLE, str(error) or "the bytes are not an event") from None
    payload = event.WhichOneof("payload")
    if payload is None:
        raise _without_payload(record)
    expected = topic_map.policy(record.topic).payload
    if payload != expected:
        raise Unreadable(Reason.WRONG_TOPIC, f"payload {payload} on a topic of {expected}")
    broker = topic_map.broker(record.topic)
    if event.broker != broker:
        raise Unreadable(Reason.WRONG_BROKER, f"broker {event.broker!r} on a topic of {broker!r}")
    if payload == "tick_frame":
        _check_frame(event)
    elif found := not_keepable(event) or violations(event):
        raise Unreadable(
            Reason.INVALID, "; ".join(f"{v.field}: {v.message}" for v in found[:_DETAIL_VIOLATIONS])
        )
    # What isn't its own key's would wait for, and hold up, the records of another position.
    if (key := topic_map.key(event)) != record.key:
        raise Unreadable(Reason.WRONG_KEY, f"key {record.key!r} of an event whose key is {key!r}")
    return event


def _without_payload(record: StoredRecord) -> Unreadable:
    kind = dict(record.headers).get("ce_type", b"")
    if kind and kind not in _types().values():
        return Unreadable(
            Reason.UNKNOWN_TYPE, f"ce_type {kind.decode(errors='replace')!r} is unknown to this version"
        )
    return Unreadable(Reason.INVALID, "payload: the event has none")


def _check_frame(event: Event) -> None:
    """Checks a frame with work that doesn't grow with its number of ticks (rule 7)."""
    frame = event.tick_frame
    if problem := _frame_problem(event, frame):
        raise Unreadable(Reason.INVALID, f"tick_frame.{problem}")


def _frame_problem(event: Event, frame: TickFrame) -> str:
    ticks = len(frame.instrument_token)
    for name in _FRAME_REQUIRED:
        if len(getattr(frame, name)) != ticks:
            return f"{name}: {len(getattr(frame, name))} values for {ticks} ticks"
    for name in _FRAME_OPTIONAL:
        if len(getattr(frame, name)) not in {0, ticks}:
            return f"{name}: {len(getattr(frame, name))} values for {ticks} ticks"
    for name in ("high", "low"):
        if len(getattr(frame, name)) != len(frame.open):
            return f"{name}: {len(getattr(frame, name))} values for {len(frame.open)} opens"
    if not 1 <= frame.price_scale <= _MOST_PRICE_SCALE:
        return f"price_scale: {frame.price_scale} is not allowed; 1 to {_MOST_PRICE_SCALE}"
    if event.event_id != ids.frame_id(frame.feed_run, frame.shard, frame.sequence):
        return f"sequence: event_id {event.event_id!r} is not the id of frame {frame.sequence}"
    return ""
