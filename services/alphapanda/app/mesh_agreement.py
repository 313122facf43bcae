"""Compares Kafka with the mesh's database: a database that was restored to an earlier time must not decide again.

An event that a service decided is a row of its outbox before it is a record of the log. So a record that no outbox knows was
decided by a later time of the database, which a restore took back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from alphapanda.app.log_agreement import OUTBOXES, event_id_of, first_unknown
from alphapanda.contract.topics import TopicMap, TopicPartition
from alphapanda.domain.frame import nanoseconds
from alphapanda.eventlog.decode import Unreadable, from_record
from alphapanda.eventlog.port import EventLog, LogUnavailable, StoredRecord

RESTORED: Final = "alphapanda db restored"
"""The command that takes over a restored database, as the audit names it."""

_READ_SECONDS: Final = 30.0
_FETCHED: Final = 1_000
_TAKEN_OVER: Final = text(
    "SELECT max(started_at) FROM audit.entries WHERE method = :method AND outcome = 'OK'"
)


async def what_was_taken_back(
    engine: AsyncEngine, log: EventLog, topic_map: TopicMap, services: Iterable[str]
) -> str:
    """An event on the log that a service decided and its database doesn't know, in one line; empty where there is none.

    Records from before the last `alphapanda db restored` are passed over: it has dealt with them. Only the newest record of
    each partition is read.

    Args:
        engine: the database.
        log: the log, started.
        topic_map: the topics of the deployment.
        services: whose events are compared; those without an outbox have none.

    Raises:
        LogUnavailable: the log can't be read.
    """
    for schema in OUTBOXES.keys() & set(services):
        newest = await newest_records(log, topic_map.topics(*OUTBOXES[schema]))
        async with engine.connect() as connection:
            since_ns = await taken_over_ns(connection)
            told = [one for one in newest if one.appended_at_ns > since_ns and is_event(one, topic_map)]
            record = await first_unknown(connection, schema, told)
        if record is not None:
            return f"{record.topic} has the event {event_id_of(record)}, which {schema} never decided"
    return ""


async def taken_over_ns(connection: AsyncConnection) -> int:
    """When the database was last taken over after a restore, wall time in nanoseconds since the epoch; 0: never."""
    taken_over = (await connection.execute(_TAKEN_OVER, {"method": RESTORED})).scalar_one()
    return 0 if taken_over is None else nanoseconds(taken_over)


def is_event(record: StoredRecord, topic_map: TopicMap) -> bool:
    """Whether a record is an event of its topic: what nobody can read says nothing about the database."""
    try:
        return from_record(record, topic_map).event_id == event_id_of(record)
    except Unreadable:
        return False


async def newest_records(log: EventLog, topics: Sequence[str]) -> Sequence[StoredRecord]:
    """The newest record of each partition of some topics, read at once."""
    ends = await log.end_offsets(topics)
    start = {at: max(0, end - 1) for at, end in ends.items()}
    return [record async for record in records_from(log, topics, start, ends)]


async def records_from(
    log: EventLog,
    topics: Sequence[str],
    start: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
) -> AsyncIterator[StoredRecord]:
    """Reads topics from some offsets up to others.

    Raises:
        LogUnavailable: for _READ_SECONDS no record came, though some are left.
    """
    firsts = await log.offsets_at(topics, 0)
    left = {at for at, end in ends.items() if end > max(start.get(at, 0), firsts[at])}
    if not left:
        return
    loop = asyncio.get_running_loop()
    reader = log.topic_reader(topics, dict(ends) | {at: start.get(at, 0) for at in left})
    await reader.start()
    try:
        deadline = loop.time() + _READ_SECONDS
        while left := {at for at in left if reader.position(at) < ends[at]}:
            found = await reader.fetch(_FETCHED, 0.2)
            if found:
                deadline = loop.time() + _READ_SECONDS
            elif loop.time() > deadline:
                raise LogUnavailable(f"the end of {min(left).topic} didn't come within {_READ_SECONDS:g} s")
            for record in found:
                yield record
    finally:
        await reader.stop()
