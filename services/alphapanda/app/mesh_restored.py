"""`alphapanda db restored`: takes over a mesh's database that was restored to an earlier time than its Kafka is of.

The database is right (rule 3); Kafka stays as it is, so that offsets never mean two things:

- Who decides goes on at the end of its topics, and strategies at the end of the ticks: what was decided in the time that was
  taken back is not decided again, since the broker may have executed it. An approved signal whose order the database has
  forgotten ends as FAILED(DISCARDED), so that risk holds nothing for it.
- Who books goes on at the end, too, and is told every order event of the database again, under the same ids: what it had
  booked then is recognised, what it lost with the restore is booked.
- A strategy that Kafka knows in a later revision gets one above it, as it is in the database: readers follow the newest.
- What an outbox still has to publish and Kafka has already is not published twice.
- Every broker is halted until it was reconciled: what it did in the time that was taken back shows there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from alphapanda.app.clocks import wall_clock
from alphapanda.app.groups import GROUPS
from alphapanda.app.halting import halt_brokers
from alphapanda.app.local_audit import record_local
from alphapanda.app.log_agreement import OUTBOXES, event_id_of, kept_since, source_of
from alphapanda.app.mesh_agreement import (
    RESTORED,
    is_event,
    records_from,
    taken_over_ns,
    what_was_taken_back,
)
from alphapanda.app.serve import NotReady, mesh_log
from alphapanda.app.topics import topics_of
from alphapanda.consuming.known_strategies import PAYLOAD as STRATEGIES
from alphapanda.contract.topics import TopicMap
from alphapanda.domain.frame import nanoseconds
from alphapanda.eventlog.decode import from_record
from alphapanda.eventlog.kafka.log import KafkaEventLog
from alphapanda.risk.store.recovery import announce_switches
from alphapanda.settings.model import Settings
from alphapanda.storage.engine import open_engine
from alphapanda.storage.outbox import Outbox
from alphapanda.storage.outbox_history import OutboxHistory
from alphapanda.storage.schema import schema_version
from alphapanda.strategy.store.postgres import PostgresStrategyStore
from alphapanda.strategy.store.recovery import (
    announce_strategies,
    raise_revisions,
    skip_inputs,
    skip_ticks,
)
from alphapanda.trading.store.postgres import PostgresTradingStore
from alphapanda.trading.taken_back import discard_forgotten
from alphapanda.trading.traders.brokers import BROKERS
from alphapanda.trading.traders.registry import BrokerRegistry
from panda.events.v1.events_pb2 import Event

CAUSE: Final = "PostgreSQL was restored to an earlier time"
BOOKED: Final = "trading"
"""The schema whose events are booked: by risk, by portfolio, and by strategies that read their position."""

APPROVED: Final = "signal_validated"

_MARGIN: Final = timedelta(hours=1)


@dataclass(slots=True)
class TakenOver:
    """What was done.

    Attributes:
        why: the event that shows that the database is the older one; empty where none did and it was forced.
        left_out: ids of the events that the database never decided, by payload.
        discarded: approved signals without an order that trading doesn't read again.
        published_again: order events that trading publishes again at its next start.
        skipped: strategies' snapshots that were moved to the end of the ticks.
        halted: the brokers that are halted until they are reconciled.
    """

    why: str
    left_out: dict[str, list[str]] = field(default_factory=dict)
    discarded: int = 0
    published_again: int = 0
    skipped: int = 0
    halted: tuple[str, ...] = ()


async def take_over_restored(
    settings: Settings, progress: Callable[[str], None], *, force: bool
) -> TakenOver | None:
    """Takes over a restored database, with every service stopped; None where it agrees with Kafka and isn't forced.

    Repeated, it does the same again.

    Raises:
        NotReady: the schema isn't this version's.
        GroupRuns: a service still runs; nothing was changed in the database.
        LogUnavailable, SQLAlchemyError, OSError: Kafka or the database can't be used.
    """
    topic_map = topics_of(settings, BrokerRegistry(BROKERS))
    async with AsyncExitStack() as stack:
        engine = open_engine(settings.database.url, settings.database.pool_size)
        stack.push_async_callback(engine.dispose)
        version = await schema_version(engine)
        if not version.up_to_date:
            raise NotReady(
                f"the database's schema is at {version.current or 'nothing'}, {version.needed} is needed:"
                " run `alphapanda db upgrade` first"
            )
        log = mesh_log(settings, topic_map)
        await log.start()
        stack.push_async_callback(log.stop)
        progress("comparing Kafka with the database")
        why = await what_was_taken_back(engine, log, topic_map, OUTBOXES)
        if not why and not force:
            return None
        return await _take_over(engine, log, topic_map, why, progress)


async def _take_over(
    engine: AsyncEngine,
    log: KafkaEventLog,
    topic_map: TopicMap,
    why: str,
    progress: Callable[[str], None],
) -> TakenOver:
    started_at = wall_clock()
    done = TakenOver(why)
    progress("reading what Kafka has of the time that was taken back")
    held = await _read_held(engine, log, topic_map, done)
    progress("moving the groups to the end of their topics")
    for group, payloads in GROUPS.items():
        await log.move_group(group, await log.end_offsets(topic_map.topics(*payloads)))
    ticks = await log.end_offsets([topic_map.topic("tick_frame")])
    orders = await log.end_offsets(topic_map.topics(*OUTBOXES[BOOKED]))
    progress("ending signals whose orders are forgotten")
    trading = PostgresTradingStore(engine, Outbox(BOOKED, topic_map), wall_clock)
    done.discarded = await discard_forgotten(trading, held.validated, started_at)
    seen = await _revisions_on(log, topic_map)
    async with engine.begin() as connection:
        await raise_revisions(connection, seen, CAUSE)
    progress("halting the brokers")
    async with engine.begin() as connection:
        for schema in OUTBOXES.keys() - {BOOKED}:
            await OutboxHistory(schema).mark_published(connection, held.ids[schema], started_at)
        done.published_again = await OutboxHistory(BOOKED).publish_again(connection, ())
        for at, end in ticks.items():
            done.skipped += await skip_ticks(connection, at, end)
        await skip_inputs(connection, orders)
        outbox = Outbox("strategy", topic_map)
        await announce_strategies(connection, PostgresStrategyStore(engine, outbox), outbox)
        await announce_switches(connection, Outbox("risk", topic_map))
        done.halted = tuple(await halt_brokers(connection, topic_map, CAUSE, started_at))
        # After it a start passes over what is on Kafka now.
        await record_local(connection, RESTORED, {"why": why}, started_at)
    return done


@dataclass(slots=True)
class _Held:
    """What Kafka holds since shortly before the newest that the database published.

    Attributes:
        ids: of the events, by the schema that made them.
        validated: the approved signals that the database knows.
    """

    ids: dict[str, set[str]] = field(default_factory=dict)
    validated: list[Event] = field(default_factory=list)


async def _read_held(engine: AsyncEngine, log: KafkaEventLog, topic_map: TopicMap, done: TakenOver) -> _Held:
    held = _Held()
    async with engine.connect() as connection:
        handled_ns = await taken_over_ns(connection)
        for schema, payloads in OUTBOXES.items():
            known = await OutboxHistory(schema).event_ids(connection)
            oldest_ns = max(await kept_since(connection, schema), handled_ns)
            since_ns = await _since_ns(connection, schema)
            ids = held.ids[schema] = set()
            for payload in payloads:
                topics = topic_map.topics(payload)
                start = await log.offsets_at(topics, since_ns)
                async for record in records_from(log, topics, start, await log.end_offsets(topics)):
                    if source_of(record) != schema or not is_event(record, topic_map):
                        continue
                    event_id = event_id_of(record)
                    ids.add(event_id)
                    if event_id in known and payload == APPROVED:
                        held.validated.append(from_record(record, topic_map))
                    elif event_id not in known and record.appended_at_ns > oldest_ns:
                        done.left_out.setdefault(payload, []).append(event_id)
    return held


async def _revisions_on(log: KafkaEventLog, topic_map: TopicMap) -> dict[str, int]:
    """The highest revision of each strategy on its topic, which is read whole."""
    topics = topic_map.topics(STRATEGIES)
    seen: dict[str, int] = {}
    async for record in records_from(log, topics, {}, await log.end_offsets(topics)):
        if is_event(record, topic_map):
            changed = from_record(record, topic_map).strategy_changed
            seen[changed.strategy_id] = max(changed.revision, seen.get(changed.strategy_id, 0))
    return seen


async def _since_ns(connection: AsyncConnection, schema: str) -> int:
    """From when on records may be ones that the outbox believes unpublished, wall time in nanoseconds; 0: from the first."""
    newest = await OutboxHistory(schema).newest(connection, 1)
    earliest: datetime | None = newest[0].published_at - _MARGIN if newest else None
    return 0 if earliest is None else nanoseconds(earliest)
