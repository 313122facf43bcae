"""`alphapanda log repair`: writes a new event log from what can be read of the old one and from the database.

The database is right (rule 3), and the log follows it:

- Records keep their offsets, and a partition never gives an offset again that the database remembers, so strategies'
  snapshots and parked records stay true.
- An outbox row whose event isn't on the new log is published again, under its id: every reader recognises what it has.
- An event that no outbox knows comes from a later time of the database. It is left out; what was decided then is not decided
  again: signals that wait are skipped, and strategies go on at the end of the ticks.
- The market's clock doesn't go back: a heartbeat frame holds the latest market time that the database knows.
- Every broker is halted until it was reconciled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from alphapanda.app.groups import GROUPS
from alphapanda.app.halting import halt_brokers
from alphapanda.app.local_audit import record_local
from alphapanda.app.log_agreement import OUTBOXES, event_id_of, kept_since, source_of
from alphapanda.consuming.postgres_parking import parked_ends
from alphapanda.contract.topics import TopicMap, TopicPartition
from alphapanda.contract.wire import frame_event, frame_from
from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.embedded.layout import Layout
from alphapanda.eventlog.decode import Unreadable, from_record, to_record
from alphapanda.eventlog.port import StoredRecord
from alphapanda.eventlog.sqlite.database import GroupOffsets
from alphapanda.eventlog.sqlite.new_log import NewLog, files_of
from alphapanda.eventlog.sqlite.salvaging import SalvagedLog
from alphapanda.risk import consumer as risk_topics
from alphapanda.risk.store.recovery import announce_switches, newest_decision
from alphapanda.storage.outbox import Outbox
from alphapanda.storage.outbox_history import OutboxHistory
from alphapanda.strategy import consumer as strategy_topics
from alphapanda.strategy.store.postgres import PostgresStrategyStore
from alphapanda.strategy.store.recovery import announce_strategies, remembered_ends, skip_ticks
from alphapanda.trading import consumer as trading_topics
from alphapanda.trading.store.recovery import newest_market_time

PARKING: Final = ("risk", "trading", "portfolio")
DECIDERS: Final = (strategy_topics.GROUP, f"{risk_topics.GROUP}.signals", trading_topics.GROUP)
"""The groups that decide something from a record; the others book and release what was decided."""

_CLOCK_RUN: Final = "repair"


@dataclass(slots=True)
class Repaired:
    """The result of a repair.

    Attributes:
        salvaged: records taken over from the old log.
        unreadable: records of the old log that could not be read.
        left_out: ids of events that the database never decided, by payload of their topic.
        published_again: outbox rows that the next start publishes, under their ids.
        skipped: strategies' snapshots that were moved to the end of the ticks.
        halted: the brokers that are halted until they were reconciled.
        kept_as: where the old log is now; None where there was none.
    """

    salvaged: int = 0
    unreadable: int = 0
    left_out: dict[str, list[str]] = field(default_factory=dict)
    published_again: int = 0
    skipped: int = 0
    halted: tuple[str, ...] = ()
    kept_as: Path | None = None


async def repair_log(
    layout: Layout, engine: AsyncEngine, topic_map: TopicMap, cause: str, now: datetime
) -> Repaired:
    """Puts a new log in the place of a data directory's; repeated, it does the same again.

    Args:
        layout: the data directory, locked; its platform is stopped and its PostgreSQL runs.
        engine: the database, with the schema of this version.
        topic_map: the topics of the deployment.
        cause: why the brokers are halted.
        now: wall time.

    Raises:
        SQLAlchemyError, OSError, sqlite3.Error: database or folder can't be used; then the old log is in its place.
    """
    made = layout.event_log / "repaired.sqlite"
    repaired = Repaired()
    async with engine.begin() as connection:
        rebuild = _Rebuild(topic_map, await _read_known(connection, topic_map, now), repaired)
        await asyncio.to_thread(rebuild.write, layout.events, made)
        for schema in OUTBOXES:
            history = OutboxHistory(schema)
            await history.mark_published(connection, rebuild.held, now)
            repaired.published_again += await history.publish_again(connection, rebuild.held)
        for at, end in rebuild.skip_to.items():
            repaired.skipped += await skip_ticks(connection, at, end)
        outbox = Outbox("strategy", topic_map)
        await announce_strategies(connection, PostgresStrategyStore(engine, outbox), outbox)
        await announce_switches(connection, Outbox("risk", topic_map))
        repaired.halted = tuple(await halt_brokers(connection, topic_map, cause, now))
        asked = {"cause": cause, "log": str(layout.events)}
        await record_local(connection, "alphapanda log repair", asked, now)
    repaired.kept_as = _put_in_place(made, layout.events, now)
    return repaired


@dataclass(frozen=True, slots=True)
class _Known:
    """What the database knows: events by schema and since when they are kept, ends of partitions, the latest market time.

    `now` is wall time.
    """

    events: Mapping[str, set[str]]
    kept_since: Mapping[str, int]
    ends: Mapping[TopicPartition, int]
    market_time: datetime | None
    now: datetime


async def _read_known(connection: AsyncConnection, topic_map: TopicMap, now: datetime) -> _Known:
    ends = dict(await remembered_ends(connection, topic_map.topic("tick_frame")))
    for schema in PARKING:
        for at, end in (await parked_ends(connection, schema)).items():
            ends[at] = max(end, ends.get(at, 0))
    times = (await newest_market_time(connection), await newest_decision(connection))
    return _Known(
        {schema: await OutboxHistory(schema).event_ids(connection) for schema in OUTBOXES},
        {schema: await kept_since(connection, schema) for schema in OUTBOXES},
        ends,
        max((moment for moment in times if moment is not None), default=None),
        now,
    )


class _Rebuild:
    """Writes the new log's file.

    Args:
        topic_map: the topics of the deployment.
        known: what the database knows.
        repaired: is told what was done.

    Attributes:
        held: ids of the outboxes' events that the new log holds.
        skip_to: where strategies go on, by partition of the ticks; empty where they go on at their snapshots.
    """

    def __init__(self, topic_map: TopicMap, known: _Known, repaired: Repaired) -> None:
        self.held: set[str] = set()
        self.skip_to: dict[TopicPartition, int] = {}
        self._topic_map = topic_map
        self._known = known
        self._repaired = repaired
        self._payloads = {
            topic: (schema, payload)
            for schema, payloads in OUTBOXES.items()
            for payload in payloads
            for topic in topic_map.topics(payload)
        }
        self._ticks = topic_map.topic("tick_frame")
        self._frames: dict[int, StoredRecord] = {}
        self._lost = False

    def write(self, old_path: Path, new_path: Path) -> None:
        """Writes the file `new_path` from `old_path` and from what the database knows."""
        old, new = SalvagedLog(old_path), NewLog(new_path)
        try:
            new.create(self._topic_map.specs())
            for row in old.partitions:
                if new.has(row.at):
                    self._take(old.records(row), new)
                    self._lost |= new.end(row.at) < row.next_offset
                    new.raise_end(row.at, row.next_offset)
            for at, end in self._known.ends.items():
                if new.has(at):
                    self._lost |= new.end(at) < end
                    new.raise_end(at, end)
            if self._lost or old.unreadable or not self._frames:
                self._hold_the_clock(new)
            new.flush(self._offsets(old.group_offsets, new))
            self._repaired.unreadable = old.unreadable
        finally:
            old.close()
            new.close()

    def _take(self, records: Iterable[StoredRecord], new: NewLog) -> None:
        for record in records:
            if self._is_unknown(record):
                _, payload = self._payloads[record.topic]
                self._repaired.left_out.setdefault(payload, []).append(event_id_of(record))
                continue
            new.add(record)
            self._repaired.salvaged += 1
            if record.topic == self._ticks:
                self._frames[record.partition] = record
            if record.topic in self._payloads:
                self.held.add(event_id_of(record) or "")
        self.held.discard("")

    def _is_unknown(self, record: StoredRecord) -> bool:
        """Whether the database never decided a record's event, although its outbox would still hold it."""
        schema, _ = self._payloads.get(record.topic, ("", ""))
        event_id = event_id_of(record)
        return bool(
            schema
            and event_id
            and source_of(record) == schema
            and record.appended_at_ns > self._known.kept_since[schema]
            and event_id not in self._known.events[schema]
        )

    def _hold_the_clock(self, new: NewLog) -> None:
        """Adds a frame without ticks, of a run of its own, at the latest market time known.

        Without it a feed would make frames again that strategies have seen, or begin earlier than the database's orders.
        """
        times = [] if self._known.market_time is None else [nanoseconds(self._known.market_time)]
        for record in self._frames.values():
            with suppress(Unreadable):
                event = from_record(record, self._topic_map)
                times.append(frame_from(event.tick_frame).market_time_ns)
        if not times:
            return
        frame = Frame(f"{_CLOCK_RUN}-{self._known.now:%Y%m%dT%H%M%S%f}", 0, 1, max(times), 100)
        made = to_record(frame_event(frame, "marketdata", self._known.now), self._topic_map)
        at = TopicPartition(made.topic, made.partition)
        now_ns = nanoseconds(self._known.now)
        new.add(StoredRecord(*at, new.end(at), made.key, made.value, made.headers, now_ns))

    def _offsets(self, salvaged: GroupOffsets, new: NewLog) -> GroupOffsets:
        """The groups' offsets: as they were; who has none reads from the first record.

        If the log is newer than the database, who books reads everything again, and who decides goes on at the end.
        """
        newer = bool(self._repaired.left_out)
        offsets: GroupOffsets = {}
        for group, payloads in GROUPS.items():
            for at in self._partitions(payloads):
                end = new.end(at)
                if group in DECIDERS and (newer or group == strategy_topics.GROUP):
                    offsets[group, at] = end if newer else min(salvaged.get((group, at), end), end)
                elif not newer and (group, at) in salvaged:
                    offsets[group, at] = min(salvaged[group, at], end)
        if newer:
            self.skip_to = {at: new.end(at) for at in self._topic_map.partitions(self._ticks)}
        return offsets

    def _partitions(self, payloads: Iterable[str]) -> Iterable[TopicPartition]:
        for topic in self._topic_map.topics(*payloads):
            yield from self._topic_map.partitions(topic)


def _put_in_place(made: Path, path: Path, now: datetime) -> Path | None:
    """Sets the old files aside under another name, and gives the new file theirs; returns where the old log is now."""
    kept = path.with_name(f"{path.stem}.before-{now:%Y%m%dT%H%M%S}{path.suffix}")
    moved: Callable[[Path], Path] = lambda file: file.with_name(file.name.replace(path.name, kept.name, 1))  # noqa: E731
    for file in files_of(path):
        if file.exists():
            file.replace(moved(file))
    made.replace(path)
    return kept if kept.exists() else None
