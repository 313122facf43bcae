import asyncio
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from alphapanda.embedded import unprivileged
from alphapanda.embedded.directory import DataDirectory
from alphapanda.embedded.errors import EmbeddedStartFailed
from alphapanda.embedded.postgres import EmbeddedPostgres
from alphapanda.embedded.redis import EmbeddedRedis

PARENT = Path(__file__).with_name("parent.py")


async def stop_servers(path):
    """Ends what runs in the directory, orphans too."""
    await EmbeddedPostgres(path).stop()
    await EmbeddedRedis(path).stop()


@pytest.fixture
async def directory():
    """A folder to be made, short enough for sockets; whatever a test leaves running in it is stopped."""
    with tempfile.TemporaryDirectory(prefix="panda-") as folder:
        path = Path(folder, "it's a data dir")
        yield path
        await stop_servers(path)


@pytest.fixture
async def deep(tmp_path):
    """The same, with a path too long for a socket's."""
    path = tmp_path / ("x" * 60) / ("y" * 60)
    yield path
    await stop_servers(path)


@pytest.fixture
def root():
    """Skips, loudly, where we aren't root and so can't become another user (where the other tests run as one)."""
    if os.geteuid() != 0:
        pytest.skip("NOT ROOT: can't become another user")


async def scalar(url, statement):
    """The first value of the statement's result, committed."""
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            result = await connection.execute(text(statement))
            return result.scalar() if result.returns_rows else None
    finally:
        await engine.dispose()


def is_running(pid):
    """Whether the process is there and no zombie."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def processes_of(directory):
    """The ids of all processes that name the directory or belong to its cluster."""
    cluster_name = EmbeddedPostgres(directory)._cluster_name
    found = []
    for process in psutil.process_iter():
        try:
            title = " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            continue
        if cluster_name in title or str(directory) in title:
            found.append(process.pid)
    return found


def spawn_parent(directory, *arguments, command=(sys.executable,)):
    """A process that has started both servers in the directory, and what it says of them."""
    parent = subprocess.Popen([*command, str(PARENT), str(directory), *arguments], stdout=subprocess.PIPE)
    return parent, json.loads(parent.stdout.readline())


async def test_second_start_finds_the_data_and_is_quick(directory):
    """Data outlives a stop; a stop leaves no process; starting both again takes less than 2 seconds."""
    progress = []
    postgres, redis = EmbeddedPostgres(directory, progress.append), EmbeddedRedis(directory, progress.append)
    url = await postgres.start()
    await redis.start()
    assert progress == ["creating the database (once)", "starting PostgreSQL", "starting Redis"]
    await scalar(url, "CREATE TABLE booked AS SELECT 42.05::numeric AS rupees")
    await postgres.stop()
    await redis.stop()
    assert processes_of(directory) == []

    began = time.monotonic()
    url, redis_url = await asyncio.gather(postgres.start(), redis.start())
    assert time.monotonic() - began < 2
    assert str(await scalar(url, "SELECT rupees FROM booked")) == "42.05"
    assert (await scalar(url, "SHOW server_version")).startswith("18.")
    assert await scalar(url, "SHOW fsync") == "on"
    assert await scalar(url, "SHOW synchronous_commit") == "on"
    async with Redis.from_url(redis_url) as cache:
        assert await cache.ping()
        assert await cache.config_get("save") == {"save": ""}

    began = time.monotonic()
    await asyncio.gather(postgres.stop(), redis.stop())
    assert time.monotonic() - began < 10
    assert processes_of(directory) == []


async def test_stop_does_not_wait_for_open_connections(directory):
    """A client that holds a transaction open doesn't keep the server from stopping."""
    postgres = EmbeddedPostgres(directory)
    engine = create_async_engine(await postgres.start())
    connection = await engine.connect()
    await connection.execute(text("SELECT 1"))
    async with asyncio.timeout(20):
        await postgres.stop()
    assert processes_of(directory) == []
    await connection.invalidate()
    await engine.dispose()


async def test_servers_of_a_killed_process_are_taken_over(directory):
    """After kill -9 the next start takes over the same two servers with their data."""
    parent, before = spawn_parent(directory)
    parent.kill()
    parent.communicate()
    assert is_running(before["postgres"])
    assert is_running(before["redis"])

    lock = DataDirectory(directory)
    lock.acquire(datetime.now(UTC))
    postgres, redis = EmbeddedPostgres(directory), EmbeddedRedis(directory)
    url, redis_url = await asyncio.gather(postgres.start(), redis.start())
    assert (postgres.pid, redis.pid) == (before["postgres"], before["redis"])
    assert await scalar(url, "SELECT count(*) FROM booked") == 1
    async with Redis.from_url(redis_url) as cache:
        assert await cache.get("price") == b"1"
    await asyncio.gather(postgres.stop(), redis.stop())
    lock.release()
    assert processes_of(directory) == []


async def test_ctrl_c_does_not_reach_the_servers(directory):
    """An interrupt to our process group leaves both servers running: we stop them in our own order."""
    postgres, redis = EmbeddedPostgres(directory), EmbeddedRedis(directory)
    await asyncio.gather(postgres.start(), redis.start())
    assert os.getpgid(postgres.pid) == os.getsid(postgres.pid) != os.getpgid(0)
    assert os.getpgid(redis.pid) == os.getsid(redis.pid) != os.getpgid(0)


async def test_left_over_server_that_hangs_is_replaced(directory):
    """An orphan that doesn't answer is ended, and a new one started on the same data."""
    parent, before = spawn_parent(directory)
    parent.kill()
    parent.communicate()
    os.kill(before["redis"], signal.SIGSTOP)
    redis = EmbeddedRedis(directory)
    await redis.start()
    assert redis.pid != before["redis"]
    assert not is_running(before["redis"])


async def test_left_over_postgres_that_hangs_is_replaced(directory):
    """An orphan server that is stuck is ended, its backends too, and its data recovered."""
    parent, before = spawn_parent(directory)
    parent.kill()
    parent.communicate()
    os.kill(before["postgres"], signal.SIGSTOP)
    postgres = EmbeddedPostgres(directory)
    url = await postgres.start()
    assert postgres.pid != before["postgres"]
    assert not is_running(before["postgres"])
    assert await scalar(url, "SELECT count(*) FROM booked") == 1


async def test_postgres_killed_by_force_is_recovered(directory):
    """After kill -9 of the server itself, a new one recovers what was committed."""
    postgres = EmbeddedPostgres(directory)
    url = await postgres.start()
    await scalar(url, "CREATE TABLE booked AS SELECT 7 AS n")
    engine = create_async_engine(url)
    connection = await engine.connect()
    os.kill(postgres.pid, signal.SIGKILL)
    again = EmbeddedPostgres(directory)
    url = await again.start()
    assert await scalar(url, "SELECT n FROM booked") == 7
    await connection.invalidate()
    await engine.dispose()


async def test_stale_pid_file_that_names_a_stranger_is_no_obstacle(directory):
    """After a reboot the recorded process id may be anybody's: it is neither harmed nor in the way."""
    postgres = EmbeddedPostgres(directory)
    await postgres.start()
    pid_file = directory / "postgres" / "cluster" / "postmaster.pid"
    recorded = pid_file.read_text()
    os.kill(postgres.pid, signal.SIGKILL)
    await postgres.stop()
    owner = pid_file.stat()
    stranger = await asyncio.create_subprocess_exec("sleep", "60", user=owner.st_uid)
    try:
        pid_file.write_text("\n".join([str(stranger.pid), *recorded.splitlines()[1:], ""]))
        await EmbeddedPostgres(directory).start()
        assert stranger.returncode is None
    finally:
        stranger.kill()
        await stranger.wait()


async def test_fresh_start_stops_left_over_servers_and_forgets_the_data(directory):
    """A fresh start after kill -9 ends the orphans, and begins with an empty database."""
    parent, before = spawn_parent(directory)
    parent.kill()
    parent.communicate()
    lock = DataDirectory(directory)
    lock.acquire(datetime.now(UTC))
    await lock.fresh()
    assert not is_running(before["postgres"])
    assert not is_running(before["redis"])
    url = await EmbeddedPostgres(directory).start()
    assert await scalar(url, "SELECT to_regclass('booked')") is None
    lock.release()


async def test_kill_while_the_cluster_is_made_leaves_nothing_half_made(directory):
    """A cluster cut short isn't taken for a whole one, and doesn't stay."""
    half = directory / "postgres" / "new-1234"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    url = await EmbeddedPostgres(directory).start()
    assert await scalar(url, "SELECT 1") == 1
    assert not half.exists()


async def test_cancelled_start_leaves_no_process(directory):
    """Ctrl-C at any moment of a cold start leaves nothing running."""
    for seconds in (0.1, 0.3, 0.5, 0.7, 0.9, 0.05):
        start = asyncio.create_task(EmbeddedPostgres(directory).start())
        await asyncio.wait([start], timeout=seconds)
        if start.cancel():
            with pytest.raises(asyncio.CancelledError):
                await start
        else:
            await EmbeddedPostgres(directory).stop()
        assert processes_of(directory) == []


async def test_broken_cluster_fails_with_the_log(directory):
    """A cluster that PostgreSQL refuses gives one error with the reason and the end of its log."""
    postgres = EmbeddedPostgres(directory)
    await postgres.start()
    await postgres.stop()
    (directory / "postgres" / "cluster" / "global" / "pg_control").unlink()
    with pytest.raises(EmbeddedStartFailed) as failed:
        await postgres.start()
    assert failed.value.component == "PostgreSQL"
    assert "it ended with status" in failed.value.reason
    assert failed.value.log_path == directory / "logs" / "postgres.log"
    assert any("could not find the database system" in line for line in failed.value.log_tail)
    assert "could not find the database system" in str(failed.value)
    assert processes_of(directory) == []


async def test_redis_that_cannot_start_fails_with_the_log(directory):
    """What Redis says when it can't start is in the error."""
    (directory / "redis" / "redis.sock" / "in the way").mkdir(parents=True)
    with pytest.raises(EmbeddedStartFailed) as failed:
        await EmbeddedRedis(directory).start()
    assert failed.value.component == "Redis"
    assert any("Opening Unix socket" in line for line in failed.value.log_tail)
    assert processes_of(directory) == []
    shutil.rmtree(directory / "redis")


async def test_long_path_uses_a_private_socket_folder(deep):
    """Where a socket's path would be too long, sockets lie in a private folder that goes with the stop."""
    parent, before = spawn_parent(deep)
    parent.kill()
    parent.communicate()
    postgres, redis = EmbeddedPostgres(deep), EmbeddedRedis(deep)
    url, _ = await asyncio.gather(postgres.start(), redis.start())
    assert (postgres.pid, redis.pid) == (before["postgres"], before["redis"])
    assert await scalar(url, "SELECT count(*) FROM booked") == 1
    folders = [postgres._sockets.parent, redis._socket.parent.parent]
    assert all(stat.S_IMODE(folder.stat().st_mode) == 0o700 for folder in folders)
    await asyncio.gather(postgres.stop(), redis.stop())
    assert not any(folder.exists() for folder in folders)
    assert processes_of(deep) == []


async def test_a_server_started_again_is_where_it_was(deep):
    """Servers that were killed come back where their clients look for them, in a private socket folder, too."""
    postgres, redis = EmbeddedPostgres(deep), EmbeddedRedis(deep)
    before = await postgres.start(), await redis.start()
    killed = [psutil.Process(server.pid) for server in (postgres, redis)]
    for process in killed:
        process.kill()
    assert psutil.wait_procs(killed, timeout=5)[1] == []
    assert (await postgres.start(), await redis.start()) == before
    assert await scalar(before[0], "SELECT 1") == 1
    await asyncio.gather(redis.stop(), postgres.stop())
    assert not postgres._sockets.parent.exists()
    assert not redis._socket.parent.parent.exists()


async def test_nobody_else_can_enter_the_data(directory):
    """Sockets ask for no password, so the folders above them are closed to others, even in an open folder."""
    directory.mkdir(mode=0o755)
    await asyncio.gather(EmbeddedPostgres(directory).start(), EmbeddedRedis(directory).start())
    for folder in ("postgres", "redis", "logs"):
        found = (directory / folder).stat()
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (os.geteuid(), 0o700)


async def test_root_s_folder_stays_closed_and_postgres_runs_unprivileged(directory, root):
    """Below a folder only root may enter, PostgreSQL runs as nobody and the folder's permissions stay."""
    directory.mkdir(mode=0o700)
    postgres = EmbeddedPostgres(directory)
    url = await postgres.start()
    assert psutil.Process(postgres.pid).uids().effective == pwd.getpwnam("nobody").pw_uid
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert await scalar(url, "SELECT 1") == 1
    await postgres.stop()


async def test_works_for_a_user_who_is_not_root(root):
    """A user without root's powers over processes starts both, and stops them without a trace."""
    nobody = pwd.getpwnam("nobody")
    as_nobody = [sys.executable, "-I", "-S", unprivileged.__file__, str(nobody.pw_uid), str(nobody.pw_gid)]
    folder = Path(tempfile.mkdtemp())
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    try:
        parent, said = spawn_parent(folder / "data", "--then-stop", command=(*as_nobody, sys.executable))
        parent.communicate(timeout=20)
        assert parent.returncode == 0
        assert said["uid"] == nobody.pw_uid
        assert processes_of(folder / "data") == []
    finally:
        shutil.rmtree(folder)


async def test_root_without_root_s_rights_is_told_to_be_a_user(directory, root, require_or_skip):
    """In a container whose root has lost its rights over files, the start fails with what to do."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        require_or_skip("NO SETPRIV: install util-linux")
    command = (setpriv, "--bounding-set=-dac_override,-dac_read_search", sys.executable)
    parent = subprocess.run(
        [*command, PARENT, directory], capture_output=True, text=True, timeout=30, check=False
    )
    assert parent.returncode != 0
    assert "embedded PostgreSQL failed to start: initdb ended with status 1" in parent.stderr
    assert "run Alpha Panda as a user, not as root" in parent.stderr
