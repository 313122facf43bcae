"""Converts log records to OpsService's messages, and tails topics."""

from __future__ import annotations

from collections.abc import AsyncIterator

from google.protobuf.message import DecodeError

from alphapanda.contract.topics import TopicPartition
from alphapanda.contract.validation import not_keepable
from alphapanda.contract.wire import timestamp
from alphapanda.domain.frame import instant
from alphapanda.eventlog.port import EventLog, Start, StoredRecord
from alphapanda.mesh.deadlines import watch_established
from panda.events.v1.events_pb2 import Event
from panda.ops.v1 import ops_pb2 as pb

_AT_ONCE = 200
_FETCH_SECONDS = 30.0


def log_record(record: StoredRecord) -> pb.LogRecord:
    """Converts a record: raw, and decoded where that is possible."""
    return pb.LogRecord(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        value=record.value,
        headers=[pb.RecordHeader(name=name, value=value) for name, value in record.headers],
        appended_at=timestamp(instant(record.appended_at_ns)),
        event=_event(record.value),
    )


def _event(value: bytes) -> Event | None:
    try:
        event = Event.FromString(value)
    except DecodeError:
        return None
    # JSON can't represent such values either, for example a time after the year 9999.
    return event if event.WhichOneof("payload") and not not_keepable(event) else None


async def tail(log: EventLog, topic: str, start: Start | int, limit: int) -> AsyncIterator[StoredRecord]:
    """Yields a topic's records from a position on, and then new ones as they are published.

    Args:
        log: the log.
        topic: the topic.
        start: the first record kept, after the last, or this offset in each partition.
        limit: number of records after which it ends; 0: it doesn't end.
    """
    places: Start | dict[TopicPartition, int] = (
        dict.fromkeys(await log.end_offsets([topic]), start) if isinstance(start, int) else start
    )
    reader = log.topic_reader([topic], places)
    await reader.start()
    watch_established()
    sent = 0
    try:
        while True:
            for record in await reader.fetch(_AT_ONCE, _FETCH_SECONDS):
                yield record
                sent += 1
                if sent == limit:
                    return
    finally:
        await reader.stop()
