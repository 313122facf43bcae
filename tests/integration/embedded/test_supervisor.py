"""What ends is started again, at its old address; what can't be is given up with one line."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis
from sqlalchemy.engine import make_url
from structlog.testing import capture_logs

from alphapanda.embedded.errors import EmbeddedStartFailed, ServerLost
from alphapanda.embedded.postgres import EmbeddedPostgres
from alphapanda.embedded.redis import EmbeddedRedis
from alphapanda.embedded.supervisor import Server, ServerSupervisor

CLIENTS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
NOW = datetime(2026, 11, 30, 4, 0, tzinfo=UTC)


class Falling:
    """A server that is told when it ends and which of its starts fail."""

    name = "PostgreSQL"

    def __init__(self, *starts: str) -> None:
        self._starts = list(starts)
        self.lives = 0

    async def wait_until_ended(self) -> str:
        if not self._starts:
            await asyncio.Event().wait()
        return "it was killed by signal 9"

    async def restart(self) -> None:
        if reason := self._starts.pop(0):
            raise EmbeddedStartFailed(self.name, reason, Path("postgres.log"), ["FATAL: a line of the log"])
        self.lives += 1


def supervised(server: Server, most: int = 3) -> tuple[ServerSupervisor, list[float]]:
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    supervisor = ServerSupervisor(server, most, lambda: NOW, wait)
    supervisor.start()
    return supervisor, waits


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not reached():  # noqa: ASYNC110 - a process has no event
            await asyncio.sleep(0.01)


async def test_a_server_that_cannot_be_started_is_given_up_with_one_line() -> None:
    """After so many failed starts in a row it ends; the line names the server, the last reason and what to do."""
    supervisor, waits = supervised(Falling("disk full", "disk full", "no space left"))
    assert supervisor.task is not None
    with capture_logs() as log, pytest.raises(ServerLost) as lost:
        await supervisor.task
    assert len(waits) == 2
    assert waits[0] < waits[1]
    assert str(lost.value).startswith(
        "PostgreSQL ended and could not be started again: 3 starts in a row failed, the last because no space left; "
    )
    assert "\n" not in str(lost.value)
    assert [entry["event"] for entry in log] == [
        "server.ended",
        "server.start_failed",
        "server.start_failed",
        "server.given_up",
    ]


async def test_a_start_that_served_begins_a_new_count() -> None:
    """Failed starts count in a row only; while it doesn't serve the reason says what happened and what follows."""
    server = Falling("disk full", "disk full", "", "disk full", "disk full", "")
    supervisor, waits = supervised(server)
    await until(lambda: server.lives == 2 and supervisor.serving)
    assert (supervisor.restarts, len(waits)) == (2, 4)
    assert (supervisor.last_error, supervisor.ended_because) == ("", "it was killed by signal 9")
    assert supervisor.ended_at == NOW
    await supervisor.stop()


async def test_killed_servers_and_a_killed_backend_come_back_at_their_address() -> None:
    """A kill -9 of PostgreSQL, of one of its backends, of Redis: each serves again, and every client keeps its URL."""
    with tempfile.TemporaryDirectory(prefix="panda-") as folder:
        directory = Path(folder, "x" * 90)  # too long for a socket, which is then elsewhere
        postgres, redis = EmbeddedPostgres(directory), EmbeddedRedis(directory)
        try:
            url, redis_url = await asyncio.gather(postgres.start(), redis.start())
            dsn = make_url(url).set(drivername="postgresql").render_as_string()
            of_postgres = ServerSupervisor(postgres, 3, lambda: NOW)
            of_redis = ServerSupervisor(redis, 3, lambda: NOW)
            of_postgres.start()
            of_redis.start()

            victim = await asyncpg.connect(dsn)
            async with asyncio.timeout(60):
                while await victim.fetchval(CLIENTS) < 2:  # noqa: ASYNC110 - the supervisor connects, too
                    await asyncio.sleep(0.01)
            os.kill(await victim.fetchval("SELECT pg_backend_pid()"), signal.SIGKILL)
            await until(lambda: of_postgres.restarts == 1)
            assert "one of its processes was killed" in of_postgres.ended_because
            await answers(dsn)

            for server in (postgres, redis):
                assert server.pid is not None
                os.kill(server.pid, signal.SIGKILL)
            await until(lambda: of_postgres.restarts == 2 and of_redis.restarts == 1)
            assert of_postgres.ended_because == of_redis.ended_because == "it was killed by signal 9"
            await answers(dsn)
            async with Redis.from_url(redis_url) as client:
                assert await client.ping()
            assert of_postgres.serving
            assert of_redis.serving
            await of_postgres.stop()
            await of_redis.stop()
        finally:
            await postgres.stop()
            await redis.stop()


async def test_a_backend_killed_before_the_first_look_is_noticed() -> None:
    """The server's life is known from its start: a recovery counts although the supervisor never had a connection before it."""
    with tempfile.TemporaryDirectory(prefix="panda-") as folder:
        postgres = EmbeddedPostgres(Path(folder))
        supervisor = ServerSupervisor(postgres, 3, lambda: NOW)
        try:
            dsn = make_url(await postgres.start()).set(drivername="postgresql").render_as_string()
            victim = await asyncpg.connect(dsn)
            os.kill(await victim.fetchval("SELECT pg_backend_pid()"), signal.SIGKILL)
            await until(victim.is_closed)
            supervisor.start()
            await until(lambda: supervisor.restarts == 1)
            assert "one of its processes was killed" in supervisor.ended_because
            await answers(dsn)
            await supervisor.stop()
        finally:
            await postgres.stop()


async def answers(dsn: str) -> None:
    """Raises where the database doesn't answer."""
    connection = await asyncpg.connect(dsn)
    await connection.close()
