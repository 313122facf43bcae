"""One bare hop: topic in, one Redis GET, commits of three inserts and one NOTIFY, topic out, and nothing else.

A rung of P2's ladder adds to it, one at a time, what a hop of ours does besides, each in its cheapest form.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from redis.asyncio import Redis
from sqlalchemy import make_url, text
from tests.bench.rungs import BOOKS, EVENTS, LOGS, OUTBOX, SQLALCHEMY

from alphapanda.consuming.group_offsets import COMMIT_SECONDS
from alphapanda.contract.validation import violations
from alphapanda.contract.wire import signal_event, signal_from
from alphapanda.storage.engine import open_engine
from alphapanda.telemetry.logs import configure_logging
from alphapanda.telemetry.options import LoggingOptions
from panda.events.v1.events_pb2 import Event

INSERT = "INSERT INTO bare_hops (hop, payload) VALUES ($1, $2)"
NOTIFY = "NOTIFY bare_hops"
UNPUBLISHED = "SELECT id, payload FROM bare_hops WHERE hop = $1 ORDER BY id DESC LIMIT 1"

Commit = Callable[[bytes, str], Awaitable[None]]


async def main(wanted: argparse.Namespace) -> None:
    """Runs until it is killed."""
    database = await asyncpg.connect(wanted.database)
    # A relay's mark isn't flushed, as ours isn't.
    marks = await asyncpg.connect(wanted.database, server_settings={"synchronous_commit": "off"})
    redis = Redis.from_url(wanted.redis)
    consumer = AIOKafkaConsumer(
        wanted.source,
        bootstrap_servers=wanted.kafka,
        group_id=f"{wanted.source}-{'books' if wanted.target == BOOKS else 'hop'}",
        enable_auto_commit=True,  # at an interval, as our consumers do
        auto_commit_interval_ms=int(1000 * COMMIT_SECONDS),
        auto_offset_reset="earliest",
    )
    producer = AIOKafkaProducer(bootstrap_servers=wanted.kafka, acks="all", enable_idempotence=True)
    configure_logging(LoggingOptions(), None, wanted.logs)
    await consumer.start()
    await producer.start()
    commit = _by_engine(wanted) if SQLALCHEMY in wanted.adds else _by_driver(wanted, database)
    mark = _by_driver(wanted, marks)
    print("ready", flush=True)
    while True:
        for records in (await consumer.getmany(timeout_ms=1000)).values():
            for record in records:
                await redis.get("market:clock")
                value = _next_event(record.value) if EVENTS in wanted.adds else record.value
                for _ in range(wanted.before - 1):
                    await commit(value, "")
                await (commit(value, NOTIFY) if wanted.before else database.execute(NOTIFY))
                if OUTBOX in wanted.adds and wanted.before:
                    await marks.fetch(UNPUBLISHED, wanted.source)
                if LOGS in wanted.adds:
                    structlog.get_logger("alphapanda.trading").info("bench.hop", order_id=str(record.offset))
                if wanted.target == BOOKS:
                    continue
                await producer.send_and_wait(wanted.target, value, record.key, partition=record.partition)
                for _ in range(wanted.after):
                    await mark(value, "")


def _by_driver(wanted: argparse.Namespace, database: asyncpg.Connection) -> Commit:
    async def commit(value: bytes, notify: str) -> None:
        async with database.transaction():
            for _ in range(3):
                await database.execute(INSERT, wanted.source, value)
            if notify:
                await database.execute(notify)

    return commit


def _by_engine(wanted: argparse.Namespace) -> Commit:
    url = make_url(wanted.database).set(drivername="postgresql+asyncpg")
    engine = open_engine(url.render_as_string(hide_password=False), 2)
    insert = text("INSERT INTO bare_hops (hop, payload) VALUES (:hop, :payload)")

    async def commit(value: bytes, notify: str) -> None:
        async with engine.begin() as connection:
            for _ in range(3):
                await connection.execute(insert, {"hop": wanted.source, "payload": value})
            if notify:
                await connection.execute(text(notify))

    return commit


def _next_event(value: bytes) -> bytes:
    """Decodes, validates and reads an event; returns the next one, encoded."""
    event = Event.FromString(value)
    if violations(event):
        raise ValueError(f"{event.event_id} breaks the contract")
    return signal_event(signal_from(event), "bench", datetime.now(UTC)).SerializeToString(deterministic=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("source", "target", "kafka", "database", "redis"):
        parser.add_argument(name)
    parser.add_argument("before", type=int)
    parser.add_argument("after", type=int)
    parser.add_argument("logs", type=Path, help="folder of its log lines")
    parser.add_argument("adds", nargs="*", help="rungs of the ladder")
    asyncio.run(main(parser.parse_args()))
