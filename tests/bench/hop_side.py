"""One bare hop: topic in, one Redis GET, commits of three inserts and one NOTIFY, topic out, and nothing else."""

from __future__ import annotations

import argparse
import asyncio

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from redis.asyncio import Redis

INSERT = "INSERT INTO bare_hops (hop, payload) VALUES ($1, $2)"


async def main(wanted: argparse.Namespace) -> None:
    """Runs until it is killed."""
    database = await asyncpg.connect(wanted.database)
    redis = Redis.from_url(wanted.redis)
    consumer = AIOKafkaConsumer(
        wanted.source,
        bootstrap_servers=wanted.kafka,
        group_id=wanted.source,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    producer = AIOKafkaProducer(bootstrap_servers=wanted.kafka, acks="all", enable_idempotence=True)
    await consumer.start()
    await producer.start()
    print("ready", flush=True)

    async def commits(count: int, value: bytes) -> None:
        for number in range(count):
            async with database.transaction():
                for _ in range(3):
                    await database.execute(INSERT, wanted.source, value)
                if number == count - 1:
                    await database.execute("NOTIFY bare_hops")

    while True:
        for records in (await consumer.getmany(timeout_ms=1000)).values():
            for record in records:
                await redis.get("market:clock")
                await commits(wanted.before, record.value)
                await producer.send_and_wait(wanted.target, record.value)
                await commits(1, record.value)  # as the outbox is marked: after the publish
            await consumer.commit()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("source", "target", "kafka", "database", "redis"):
        parser.add_argument(name)
    parser.add_argument("before", type=int)
    asyncio.run(main(parser.parse_args()))
