"""A log is rebuilt from what can be read of it and from the database, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from alphapanda.app.log_agreement import Agreement, compare, event_id_of
from alphapanda.app.log_repair import repair_log
from alphapanda.contract.topics import TopicMap, TopicPartition
from alphapanda.domain.ids import derived_id
from alphapanda.domain.order import TradingState
from alphapanda.embedded.layout import Layout
from alphapanda.eventlog.port import Record, Start
from alphapanda.eventlog.sqlite.log import SqliteEventLog
from alphapanda.resilience.backoff import Backoff
from alphapanda.storage.engine import open_engine
from alphapanda.storage.outbox import Outbox
from alphapanda.storage.relay import OutboxRelay
from panda.events.v1.events_pb2 import Event

TOPICS = TopicMap(("paper",))
TICKS = TOPICS.topic("tick_frame")
SUBMITTED = TOPICS.topic("order_submitted", "paper")
NOW = datetime.now(UTC)
CAUSE = "the event log was repaired"


@pytest.fixture
async def engine(tables: str):
    engine = open_engine(tables, 5)
    yield engine
    await engine.dispose()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.event_log.mkdir()
    return layout


def event_id(n: int) -> str:
    return derived_id("repair", n)


def order_submitted(n: int) -> Event:
    event = Event(event_id=event_id(n), correlation_id="c", broker="paper", source="trading")
    event.occurred_at.FromDatetime(NOW)
    event.order_submitted.order.strategy_id = "ema"
    return event


async def opened(layout: Layout) -> SqliteEventLog:
    log = SqliteEventLog(layout.events)
    await log.start()
    await log.ensure(TOPICS.specs())
    return log


async def publish(engine, log, *numbers: int) -> None:
    """Decides events, if there are any, and has the relays of risk and trading publish what is unpublished."""
    outbox = Outbox("trading", TOPICS)
    async with engine.begin() as connection:
        await outbox.add(connection, [order_submitted(n) for n in numbers])
    for one in (outbox, Outbox("risk", TOPICS)):
        relay = OutboxRelay(engine=engine, outbox=one, log=log, batch_size=100, backoff=Backoff(0.1, 1.0))
        await relay.start()
        async with asyncio.timeout(30):
            while await relay.pending():  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.02)
        await relay.stop()


async def snapshot(engine, partition: int, next_offset: int) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        await connection.execute(
            text(
                "INSERT INTO strategy.snapshots (strategy_id, partition, next_offset, revision, state)"
                " VALUES ('s', :partition, :next, 1, '')"
            ),
            {"partition": partition, "next": next_offset},
        )


async def ids_on(log, topic: str) -> list[str]:
    reader = log.topic_reader([topic], Start.EARLIEST)
    await reader.start()
    found = await reader.fetch(100_000, 0.2)
    await reader.stop()
    return [event_id_of(record) for record in found]


async def one_row(engine, statement: str) -> tuple:
    async with engine.connect() as connection:
        return tuple((await connection.execute(text(statement))).one())


async def test_a_lost_log_is_rebuilt_from_the_database(engine, layout) -> None:
    """Events come again in their order under their ids, no offset is given twice, and the broker is halted until reconciled."""
    log = await opened(layout)
    await publish(engine, log, 1, 2, 3)
    await log.stop()
    await snapshot(engine, 2, 40)
    layout.events.unlink()

    repaired = await repair_log(layout, engine, TOPICS, CAUSE, NOW)
    assert (repaired.salvaged, repaired.published_again, repaired.kept_as) == (0, 3, None)
    log = await opened(layout)
    assert (await log.end_offsets([TICKS]))[TopicPartition(TICKS, 2)] == 40
    await publish(engine, log)
    assert await ids_on(log, SUBMITTED) == [event_id(1), event_id(2), event_id(3)]
    assert (await compare(engine, log, TOPICS, NOW)).agreement is Agreement.AGREE
    await log.stop()
    halted = int(TradingState.HALTED)
    assert await one_row(engine, "SELECT state, revision FROM trading.kill_switches") == (halted, 1)
    assert await one_row(engine, "SELECT state, revision FROM risk.kill_switches") == (halted, 1)
    due = await one_row(engine, "SELECT broker, cause, state_before FROM risk.reconciliations")
    assert due == ("paper", CAUSE, int(TradingState.ACTIVE))
    told = "SELECT method, service, outcome, request ->> 'cause' FROM audit.entries"
    assert await one_row(engine, told) == ("alphapanda log repair", "cli", "OK", CAUSE)


async def test_a_second_repair_keeps_the_state_from_before_the_first(engine, layout) -> None:
    """A broker that is halted for a repair is still to be given back its own state, however often the log is repaired."""
    for _ in range(2):
        await repair_log(layout, engine, TOPICS, CAUSE, NOW)
    due = await one_row(engine, "SELECT state_before FROM risk.reconciliations")
    assert due == (int(TradingState.ACTIVE),)


async def test_what_can_be_read_of_a_damaged_log_is_kept(engine, layout) -> None:
    """Around a damaged page everything is taken over, at its offset; what the page held comes from the database."""
    log = await opened(layout)
    ticks = [Record(TICKS, 0, b"k", bytes(500), ()) for _ in range(2_000)]
    await log.publish(ticks)
    await publish(engine, log, *range(50))
    await log.stop()
    assert (await compare_closed(engine, layout)) is Agreement.AGREE
    damage(layout.events)

    repaired = await repair_log(layout, engine, TOPICS, CAUSE, NOW)
    assert 0 < repaired.unreadable < 200
    assert repaired.salvaged + repaired.unreadable == 2_050
    assert repaired.kept_as is not None
    log = await opened(layout)
    await publish(engine, log)
    assert sorted(await ids_on(log, SUBMITTED)) == sorted(event_id(n) for n in range(50))
    assert (await log.end_offsets([TICKS]))[TopicPartition(TICKS, 0)] >= 2_000
    await log.stop()


async def test_a_log_of_a_later_time_decides_nothing_twice(engine, layout) -> None:
    """What an earlier database never decided is left out; signals that wait are skipped, and no tick is shown again."""
    signals = TOPICS.topic("trading_signal", "paper")
    log = await opened(layout)
    await log.publish([Record(TICKS, 1, b"k", b"", ()) for _ in range(9)])
    await log.publish([Record(signals, 0, b"k", b"", ()) for _ in range(5)])
    await snapshot(engine, 1, 4)
    await publish(engine, log, 1)
    await publish(engine, log, 2, 3)
    await log.stop()
    # Events 2 and 3 were decided after the time that is brought back.
    async with engine.begin() as connection:
        await connection.execute(
            text("DELETE FROM trading.outbox WHERE event_id = ANY(CAST(:ids AS uuid[]))"),
            {"ids": [event_id(2), event_id(3)]},
        )

    repaired = await repair_log(layout, engine, TOPICS, CAUSE, NOW)
    assert repaired.left_out == {"order_submitted": [event_id(2), event_id(3)]}
    assert await one_row(engine, "SELECT next_offset FROM strategy.snapshots") == (9,)
    log = await opened(layout)
    await publish(engine, log)
    assert await ids_on(log, SUBMITTED) == [event_id(1)]
    assert (await log.committed_offsets("risk.signals"))[TopicPartition(signals, 0)] == 5
    assert TopicPartition(SUBMITTED, 0) not in await log.committed_offsets("portfolio")
    await log.stop()


async def compare_closed(engine, layout: Layout) -> Agreement:
    log = await opened(layout)
    try:
        return (await compare(engine, log, TOPICS, NOW)).agreement
    finally:
        await log.stop()


def damage(path: Path) -> None:
    """Overwrites a page in the middle of the records."""
    connection = sqlite3.connect(path)
    size = connection.execute("PRAGMA page_size").fetchone()[0]
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.close()
    with path.open("r+b") as file:
        file.seek(size * (pages // 2))
        file.write(b"\xff" * size)
