"""One bare hop: topic in, one Redis GET, commits of three inserts and one NOTIFY, topic out, and nothing else."""

from __future__ import annotations

import argparse
import asyncio

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from redis.asyncio import Redis

from alphapanda.consuming.group_offsets import COMMIT_SECONDS

INSERT = "INSERT INTO bare_hops (hop, payload) VALUES ($1, $2)"
NOTIFY = "NOTIFY bare_hops"


async def main(wanted: argparse.Namespace) -> None:
    """Runs until it is killed."""
    database = await asyncpg.connect(wanted.database)
    redis = Redis.from_url(wanted.redis)
    consumer = AIOKafkaConsumer(
        wanted.source,
        bootstrap_servers=wanted.kafka,
        group_id=wanted.source,
        enable_auto_commit=True,  # at an interval, as our consumers do
        auto_commit_interval_ms=int(1000 * COMMIT_SECONDS),
        auto_offset_reset="earliest",
    )
    producer = AIOKafkaProducer(bootstrap_servers=wanted.kafka, acks="all", enable_idempotence=True)
    await consumer.start()
    await producer.start()
    print("ready", flush=True)

    async def commit(value: bytes, *, notify: bool) -> None:
        async with database.transaction():
            for _ in range(3):
                await database.execute(INSERT, wanted.source, value)
            if notify:
                await database.execute(NOTIFY)

    while True:
        for records in (await consumer.getmany(timeout_ms=1000)).values():
            for record in records:
                await redis.get("market:clock")
                for left in reversed(range(wanted.before)):
                    await commit(record.value, notify=not left)
                if not wanted.before:
                    await database.execute(NOTIFY)
                await producer.send_and_wait(
                    wanted.target, record.value, record.key, partition=record.partition
                )
                for _ in range(wanted.after):
                    await commit(record.value, notify=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("source", "target", "kafka", "database", "redis"):
        parser.add_argument(name)
    parser.add_argument("before", type=int)
    parser.add_argument("after", type=int)
    asyncio.run(main(parser.parse_args()))
