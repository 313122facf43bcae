"""Compares the event log of a data directory with its database: neither may know of the future of the other.

An event that a service decided is a row of its outbox before it is a record of the log. So the newest published rows must be
on the log, or the log is older than the database; and the newest records must be rows, or the database is older than the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from alphapanda.contract.topics import TopicMap, TopicPartition, TopicSpec
from alphapanda.domain.frame import nanoseconds
from alphapanda.eventlog.port import EventLog, StoredRecord
from alphapanda.storage.outbox_history import OutboxHistory, PublishedRow
from alphapanda.strategy.store.recovery import snapshot_ends

OUTBOXES: Final = {
    "strategy": ("strategy_changed",),
    "risk": ("signal_validated", "signal_rejected", "kill_switch_changed"),
    "trading": ("order_submitted", "order_filled", "order_failed", "order_cancelled"),
    "portfolio": ("portfolio_snapshot",),
}
"""The schemas that have an outbox, and the payloads that come from it."""

_NEWEST_ROWS: Final = 20
_TAIL_RECORDS: Final = 2_000
_NEVER_NS: Final = 2**63 - 1
_MARGIN: Final = timedelta(hours=1)


class Agreement(Enum):
    """Whether log and database belong together, or which of them is older."""

    AGREE = "agree"
    LOG_OLDER = "the log is older"
    DATABASE_OLDER = "the database is older"


@dataclass(frozen=True, slots=True)
class Compared:
    """The result of a comparison, and what showed it, in one line; empty where they agree."""

    agreement: Agreement
    detail: str = ""


async def has_history(engine: AsyncEngine) -> bool:
    """Whether the database knows of anything that must have been on a log."""
    async with engine.connect() as connection:
        return await _any_history(connection)


async def _any_history(connection: AsyncConnection) -> bool:
    for schema in OUTBOXES:
        if await OutboxHistory(schema).newest(connection, 1):
            return True
    return bool(await snapshot_ends(connection, ""))


async def compare(engine: AsyncEngine, log: EventLog, topic_map: TopicMap, now: datetime) -> Compared:
    """Compares the newest of the log with the newest of the database; reads a bounded number of records and rows.

    Args:
        engine: the database.
        log: the log, started.
        topic_map: the topics of the deployment.
        now: wall time.

    Raises:
        LogUnavailable: the log can't be read.
    """
    existing = await log.topics()
    async with engine.connect() as connection:
        if behind := await _log_behind(connection, log, topic_map, existing, now):
            return Compared(Agreement.LOG_OLDER, behind)
        if unknown := await _unknown_records(connection, log, topic_map, existing):
            return Compared(Agreement.DATABASE_OLDER, unknown)
    return Compared(Agreement.AGREE)


async def _log_behind(
    connection: AsyncConnection,
    log: EventLog,
    topic_map: TopicMap,
    existing: Iterable[str],
    now: datetime,
) -> str:
    ticks = topic_map.topic("tick_frame")
    topics = frozenset(existing)
    ends = await log.end_offsets([ticks]) if ticks in topics else {}
    for at, seen in (await snapshot_ends(connection, ticks)).items():
        if seen > ends.get(at, 0):
            return (
                f"strategies have seen {ticks}/{at.partition} up to {seen}, but it ends at {ends.get(at, 0)}"
            )
    specs = {spec.name: spec for spec in topic_map.specs()}
    for schema in OUTBOXES:
        rows = await OutboxHistory(schema).newest(connection, _NEWEST_ROWS)
        newest = next((row for row in rows if _is_kept(row, specs, now)), None)
        if newest is not None and (newest.topic not in topics or not await _holds(log, newest)):
            published = f"{newest.published_at:%Y-%m-%d %H:%M:%S} UTC"
            return f"{newest.topic} lacks the event {newest.event_id} that {schema} published at {published}"
    return ""


def _is_kept(row: PublishedRow, specs: dict[str, TopicSpec], now: datetime) -> bool:
    """Whether the log keeps this row's record still; of a topic that isn't active any more nothing is known."""
    spec = specs.get(row.topic)
    if spec is None or spec.compacted:
        return False
    hours = spec.retention_hours
    return hours is None or row.published_at > now - timedelta(hours=hours) + _MARGIN


async def _holds(log: EventLog, row: PublishedRow) -> bool:
    """Whether the end of a partition's log has the record of a row."""
    at = TopicPartition(row.topic, row.partition)
    ends = await log.end_offsets([row.topic])
    end = ends.get(at, 0)
    reader = log.topic_reader([row.topic], dict(ends) | {at: max(0, end - _TAIL_RECORDS)})
    await reader.start()
    try:
        while reader.position(at) < end:
            if any(event_id_of(record) == row.event_id for record in await reader.fetch(_TAIL_RECORDS, 1.0)):
                return True
    finally:
        await reader.stop()
    return False


async def _unknown_records(
    connection: AsyncConnection,
    log: EventLog,
    topic_map: TopicMap,
    existing: Iterable[str],
) -> str:
    topics = frozenset(existing)
    for schema, payloads in OUTBOXES.items():
        newest: list[StoredRecord] = []
        for topic in topic_map.topics(*payloads):
            partitions: Sequence[TopicPartition] = topic_map.partitions(topic) if topic in topics else ()
            newest += [record for at in partitions if (record := await log.last(at)) is not None]
        record = await first_unknown(connection, schema, newest)
        if record is not None:
            return f"{record.topic} has the event {event_id_of(record)}, which {schema} never decided"
    return ""


async def first_unknown(
    connection: AsyncConnection, schema: str, records: Iterable[StoredRecord]
) -> StoredRecord | None:
    """The record, the one of the lowest id, that a service made and its outbox never held; None where there is none.

    What is older than the outbox's oldest row may have been deleted from it, and counts as known.
    """
    oldest_ns = await kept_since(connection, schema)
    asked = {
        event_id_of(record): record
        for record in records
        if record.appended_at_ns > oldest_ns and source_of(record) == schema and event_id_of(record)
    }
    unknown = asked.keys() - await OutboxHistory(schema).known(connection, asked)
    return asked[min(unknown)] if unknown else None


async def kept_since(connection: AsyncConnection, schema: str) -> int:
    """From when on an outbox keeps the row of every record, wall time in nanoseconds since the epoch.

    0 where the database has no history at all: then it never decided anything.
    """
    oldest = await OutboxHistory(schema).oldest(connection)
    if oldest is not None:
        return nanoseconds(oldest)
    return _NEVER_NS if await _any_history(connection) else 0


def event_id_of(record: StoredRecord) -> str:
    """Returns the id of a record's event; empty where the record has none."""
    try:
        return str(UUID(dict(record.headers).get("ce_id", b"").decode(errors="replace")))
    except ValueError:
        return ""


def source_of(record: StoredRecord) -> str:
    """Returns the service that made a record's event; empty where the record doesn't say."""
    return dict(record.headers).get("ce_source", b"").decode(errors="replace")
