"""What is away is tried again, as settings.retry says."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from alphapanda.app.resources import open_redis
from alphapanda.embedded.redis import EmbeddedRedis
from alphapanda.settings.operation import RetrySettings

PATIENT = RetrySettings(initial_seconds=0.05, max_seconds=0.2, redis_attempts=20)


@pytest.fixture
async def own_redis(tmp_path: Path):
    """A Redis of one's own, to be killed."""
    server = EmbeddedRedis(tmp_path)
    yield server, await server.start()
    await server.stop()


async def test_a_restarted_redis_is_no_error(own_redis) -> None:
    """A call that meets Redis while it is started again waits for it and is answered."""
    server, url = own_redis
    redis = open_redis(url, PATIENT, 5.0)
    await redis.set("a", "1")
    os.kill(server.pid, signal.SIGKILL)
    asked = asyncio.create_task(redis.get("a"))
    await asyncio.sleep(0.2)
    assert not asked.done()
    await server.stop()
    await server.start()
    assert await asyncio.wait_for(asked, 20) is None  # it keeps nothing, and answers
    await redis.aclose()


async def test_attempts_end() -> None:
    """A Redis that stays away is an error after the attempts that are set, none of them where none are."""
    for attempts in (0, 2):
        redis = open_redis(
            "redis://127.0.0.1:1", PATIENT.model_copy(update={"redis_attempts": attempts}), 5.0
        )
        with pytest.raises(RedisError):
            await asyncio.wait_for(redis.ping(), 5)
        await redis.aclose()


async def test_no_call_lacks_a_connection(redis_url: str) -> None:
    """Where 150 calls wait for their answers, one more is answered at once: a kill switch, say."""
    redis = open_redis(redis_url, PATIENT.model_copy(update={"redis_attempts": 0}), 5.0)
    waiting = [asyncio.create_task(redis.blpop(["nothing"], timeout=2)) for _ in range(150)]
    await asyncio.sleep(0.5)
    assert await redis.ping()
    assert await asyncio.gather(*waiting) == [None] * 150
    await redis.aclose()
