"""Run as a script: locks DIRECTORY, starts both servers, stores a row, says their pids and waits to be killed.

usage: python parent.py DIRECTORY [--then-stop]
"""

import asyncio
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from alphapanda.embedded.directory import DataDirectory
from alphapanda.embedded.postgres import EmbeddedPostgres
from alphapanda.embedded.redis import EmbeddedRedis


async def main(path: Path, *, then_stop: bool) -> None:
    """Holds the directory and its servers until killed, or stops them at once."""
    directory = DataDirectory(path)
    directory.acquire(datetime.now(UTC), port=50051)
    postgres, redis = EmbeddedPostgres(directory.path), EmbeddedRedis(directory.path)
    postgres_url, redis_url = await asyncio.gather(postgres.start(), redis.start())
    engine = create_async_engine(postgres_url)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE IF NOT EXISTS booked (n int)"))
        await connection.execute(text("INSERT INTO booked VALUES (1)"))
    await engine.dispose()
    async with Redis.from_url(redis_url) as cache:
        await cache.set("price", "1")
    report = {"uid": os.geteuid(), "postgres": postgres.pid, "redis": redis.pid}
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()
    if not then_stop:
        await asyncio.Event().wait()
    await asyncio.gather(postgres.stop(), redis.stop())
    directory.release()


asyncio.run(main(Path(sys.argv[1]), then_stop="--then-stop" in sys.argv))
