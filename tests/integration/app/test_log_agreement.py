"""A log and a database that don't belong together are recognised, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from alphapanda.app.log_agreement import Agreement, compare, has_history
from alphapanda.app.log_check import require_usable_log
from alphapanda.contract.topics import TopicMap
from alphapanda.domain.ids import derived_id
from alphapanda.embedded.errors import EventLogUnfit
from alphapanda.embedded.layout import Layout
from alphapanda.eventlog.sqlite.log import SqliteEventLog
from alphapanda.resilience.backoff import Backoff
from alphapanda.storage.engine import open_engine
from alphapanda.storage.outbox import Outbox
from alphapanda.storage.relay import OutboxRelay
from panda.events.v1.events_pb2 import Event

TOPICS = TopicMap(("paper",))
NOW = datetime.now(UTC)


@pytest.fixture
async def engine(tables: str):
    engine = open_engine(tables, 5)
    yield engine
    await engine.dispose()


@pytest.fixture
async def log(tmp_path: Path):
    log = SqliteEventLog(tmp_path / "events.sqlite")
    await log.start()
    await log.ensure(TOPICS.specs())
    yield log
    await log.stop()


def order_submitted(n: int) -> Event:
    event = Event(event_id=derived_id("agreement", n), correlation_id="c", broker="paper", source="trading")
    event.occurred_at.FromDatetime(NOW)
    event.order_submitted.order.strategy_id = "ema"
    return event


async def decided(engine, log, *numbers: int) -> None:
    """Stores events and has the relay publish them."""
    outbox = Outbox("trading", TOPICS)
    async with engine.begin() as connection:
        await outbox.add(connection, [order_submitted(n) for n in numbers])
    relay = OutboxRelay(engine=engine, outbox=outbox, log=log, batch_size=100, backoff=Backoff(0.1, 1.0))
    await relay.start()
    async with asyncio.timeout(30):
        while await relay.pending():  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.02)
    await relay.stop()


async def test_what_was_published_together_agrees(engine, log) -> None:
    """A fresh pair agrees, and so does one that the relay has published from."""
    assert not await has_history(engine)
    assert (await compare(engine, log, TOPICS, NOW)).agreement is Agreement.AGREE
    await decided(engine, log, 1, 2)
    assert await has_history(engine)
    assert (await compare(engine, log, TOPICS, NOW)).agreement is Agreement.AGREE


async def test_a_log_without_the_newest_events_is_older(engine, log, tmp_path: Path) -> None:
    """An older copy of the log, or a new one, lacks what the outbox published last."""
    await decided(engine, log, 1)
    other = SqliteEventLog(tmp_path / "older.sqlite")
    await other.start()
    assert (await compare(engine, other, TOPICS, NOW)).agreement is Agreement.LOG_OLDER
    await other.ensure(TOPICS.specs())
    found = await compare(engine, other, TOPICS, NOW)
    await other.stop()
    assert found.agreement is Agreement.LOG_OLDER
    assert "paper.orders.submitted lacks the event" in found.detail


async def test_a_log_that_strategies_were_ahead_of_is_older(engine, log) -> None:
    """A strategy's snapshot beyond the end of the ticks shows it, too."""
    async with engine.begin() as connection:
        await connection.execute(text("SET session_replication_role = replica"))
        await connection.execute(
            text(
                "INSERT INTO strategy.snapshots (strategy_id, partition, next_offset, revision, state)"
                " VALUES ('s', 3, 10, 1, '')"
            )
        )
    found = await compare(engine, log, TOPICS, NOW)
    assert found.agreement is Agreement.LOG_OLDER
    assert "market.ticks/3 up to 10, but it ends at 0" in found.detail


async def test_a_database_that_never_decided_the_newest_events_is_older(engine, log) -> None:
    """A log with events that no outbox holds comes from a later time of the database; what is long published is no sign."""
    await decided(engine, log, 1)
    await decided(engine, log, 2)
    async with engine.begin() as connection:
        await connection.execute(
            text("DELETE FROM trading.outbox WHERE event_id = :id"), {"id": derived_id("agreement", 2)}
        )
    found = await compare(engine, log, TOPICS, NOW)
    assert found.agreement is Agreement.DATABASE_OLDER
    assert "trading never decided" in found.detail
    async with engine.begin() as connection:  # as if older rows had been purged
        await connection.execute(text("UPDATE trading.outbox SET published_at = now() + interval '1 hour'"))
    assert (await compare(engine, log, TOPICS, NOW)).agreement is not Agreement.DATABASE_OLDER


async def test_a_lost_log_is_refused_before_a_new_one_is_made(engine, log, tmp_path: Path) -> None:
    """Without a history a missing log is made; with one it is refused, emptied or damaged too, and the line names the repair."""
    layout = Layout(tmp_path / "data")
    layout.event_log.mkdir(parents=True)
    await require_usable_log(layout, engine)
    await decided(engine, log, 1)
    for harm, says in ((None, "is missing"), (b"", "is empty"), (b"not a log" * 1_000, "is damaged")):
        if harm is not None:
            layout.events.write_bytes(harm)
        with pytest.raises(EventLogUnfit) as refused:
            await require_usable_log(layout, engine)
        assert says in str(refused.value)
        assert f"`alphapanda log repair --data-dir {layout.root}`" in str(refused.value)
        assert "\n" not in str(refused.value)
    assert layout.events.read_bytes() == b"not a log" * 1_000
