"""A backup of database and log is of one moment, also while both are written; a restore makes the same platform, halted."""

from __future__ import annotations

import asyncio
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from alphapanda.app.backup import DUMP, MANIFEST, read_manifest, write_backup
from alphapanda.app.log_agreement import Agreement, compare
from alphapanda.app.restore import restore
from alphapanda.contract.topics import TopicMap
from alphapanda.domain.ids import derived_id
from alphapanda.domain.order import TradingState
from alphapanda.embedded.errors import BackupRefused
from alphapanda.embedded.layout import Layout
from alphapanda.embedded.postgres import EmbeddedPostgres
from alphapanda.eventlog.sqlite.log import SqliteEventLog
from alphapanda.resilience.backoff import Backoff
from alphapanda.settings.sources import load_settings
from alphapanda.storage.engine import open_engine
from alphapanda.storage.outbox import Outbox
from alphapanda.storage.relay import OutboxRelay
from panda.events.v1.events_pb2 import Event

TOPICS = TopicMap(("paper", "zerodha"))
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
    event = Event(event_id=derived_id("backup", n), correlation_id="c", broker="paper", source="trading")
    event.occurred_at.FromDatetime(NOW)
    event.order_submitted.order.strategy_id = "ema"
    return event


async def decide(engine, *numbers: int) -> None:
    async with engine.begin() as connection:
        await Outbox("trading", TOPICS).add(connection, [order_submitted(n) for n in numbers])


async def test_a_backup_is_of_one_moment_and_comes_back_halted(engine, log, tmp_path: Path) -> None:
    """While events are decided and published a backup holds log and database of one moment: after the restore they agree.

    The brokers are halted in risk and trading; a directory that holds something is refused and stays as it is.
    """
    outbox = Outbox("trading", TOPICS)
    relay = OutboxRelay(engine=engine, outbox=outbox, log=log, batch_size=5, backoff=Backoff(0.1, 1.0))
    await relay.start()
    done = asyncio.Event()

    async def go_on_deciding() -> int:
        n = 0
        while not done.is_set():
            n += 3
            await decide(engine, n, n + 1, n + 2)
        return n

    deciding = asyncio.create_task(go_on_deciding())
    await asyncio.sleep(0.2)
    await write_backup(tmp_path / "backup", engine, log, TOPICS.active_brokers, NOW)
    done.set()
    decided = await deciding
    await relay.stop()
    assert decided > 3

    with tempfile.TemporaryDirectory(prefix="panda-") as folder:
        data = Path(folder, "data")
        restored = await restore(load_settings({}), tmp_path / "backup", data, lambda _: None)
        assert restored.halted == ("paper", "zerodha")
        with pytest.raises(BackupRefused, match="is not empty"):
            await restore(load_settings({}), tmp_path / "backup", data, lambda _: None)
        await look_at_restored(data, decided)


async def look_at_restored(data: Path, decided: int) -> None:
    postgres = EmbeddedPostgres(data)
    engine = open_engine(await postgres.start(), 3)
    log = SqliteEventLog(Layout(data).events)
    await log.start()
    try:
        assert (await compare(engine, log, TOPICS, NOW)).agreement is Agreement.AGREE
        topic = TOPICS.topic("order_submitted", "paper")
        on_log = sum((await log.end_offsets([topic])).values())
        async with engine.connect() as connection:
            rows = "SELECT count(*), count(published_at) FROM trading.outbox"
            stored, published = (await connection.execute(text(rows))).one()
            assert published <= on_log <= stored <= decided + 3
            for schema in ("risk", "trading"):
                states = f"SELECT DISTINCT state FROM {schema}.kill_switches"
                assert (await connection.execute(text(states))).scalars().all() == [int(TradingState.HALTED)]
            commands = (await connection.execute(text("SELECT method FROM audit.entries"))).scalars().all()
            assert commands == ["alphapanda restore"]
    finally:
        await log.stop()
        await engine.dispose()
        await postgres.stop()


async def test_a_backup_that_is_not_whole_is_refused(engine, log, tmp_path: Path) -> None:
    """A changed byte, a missing file, a newer schema, a folder that is no backup: one line says which, nothing is made."""
    await write_backup(tmp_path / "backup", engine, log, TOPICS.active_brokers, NOW)
    with pytest.raises(BackupRefused, match="is not empty"):
        await write_backup(tmp_path / "backup", engine, log, TOPICS.active_brokers, NOW)
    folder, data = tmp_path / "backup", tmp_path / "data"
    read_manifest(folder)

    async def refused() -> str:
        with pytest.raises(BackupRefused) as refusal:
            await restore(load_settings({}), folder, data, lambda _: None)
        assert not data.exists()
        assert "\n" not in str(refusal.value)
        return str(refusal.value)

    whole = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(json.dumps(json.loads(whole) | {"schema": "9999"}))
    assert "schema 9999, which this version doesn't know" in await refused()
    (folder / MANIFEST).write_text(whole)
    dump = bytearray((folder / DUMP).read_bytes())
    dump[100] ^= 1
    (folder / DUMP).write_bytes(dump)
    assert "its SHA-256 differs" in await refused()
    (folder / DUMP).unlink()
    assert "can't be read" in await refused()
    (folder / MANIFEST).unlink()
    assert "is no backup" in await refused()
