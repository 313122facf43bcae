"""A server as an operating system's process: started apart from us, found again after we were killed, stopped by id."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

POLL_SECONDS = 0.02
LOG_TAIL_LINES = 8
LOG_ROTATE_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class ServerLog:
    """A server's log from byte `start` on, which is where its present run begins."""

    path: Path
    start: int

    @classmethod
    def begin(cls, path: Path) -> Self:
        """The log at the start of a run; a large one is set aside as `<name>.1` first."""
        if path.exists() and path.stat().st_size > LOG_ROTATE_BYTES:
            path.replace(path.with_name(f"{path.name}.1"))
        path.touch(mode=0o600)
        return cls(path, path.stat().st_size)

    def tail(self) -> list[str]:
        """The last lines of this run."""
        with self.path.open("rb") as log:
            log.seek(self.start)
            return log.read().decode(errors="replace").splitlines()[-LOG_TAIL_LINES:]


class ServerProcess:
    """A running server, started by this process or by one that has been killed since."""

    def __init__(self, process: psutil.Process, started: subprocess.Popen[bytes] | None = None) -> None:
        self._process = process
        self._started = started

    @classmethod
    def start(cls, command: Sequence[str], environment: Mapping[str, str], log: ServerLog) -> Self:
        """Starts `command` in a session of its own, where the terminal's Ctrl-C doesn't reach it."""
        with log.path.open("ab") as output:
            started = subprocess.Popen(  # noqa: S603  the command is built here, of no one's input
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(environment),
                start_new_session=True,
                umask=0o077,
            )
        return cls(psutil.Process(started.pid), started)

    @classmethod
    def find(cls, program: str, argument: str) -> list[Self]:
        """The processes that run `program` (a file name) with `argument` among their arguments."""
        found = []
        for process in psutil.process_iter():
            command = _command(process)
            if command and Path(command[0]).name == program and argument in command:
                found.append(cls(process))
        return found

    @classmethod
    def titled(cls, title: str) -> list[Self]:
        """The processes whose title (as `ps` shows it) begins with `title`."""
        return [
            cls(process)
            for process in psutil.process_iter()
            if _command(process)[:1] and _command(process)[0].startswith(title)
        ]

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def command(self) -> list[str]:
        """Program and arguments; empty if it has ended."""
        return _command(self._process)

    @property
    def exit_status(self) -> int | None:
        """None while it runs and where it isn't our child; minus the signal's number if one ended it."""
        return None if self._started is None else self._started.poll()

    def is_alive(self) -> bool:
        """Whether it still runs; a zombie doesn't."""
        if self._started is not None:
            return self._started.poll() is None
        try:
            return self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    async def stop(self, steps: Sequence[tuple[signal.Signals, float]]) -> None:
        """Sends each signal in turn, and waits up to its seconds for the process to end, until it has ended."""
        for number, seconds in steps:
            if not self.is_alive():
                return
            try:
                self._process.send_signal(number)
            except psutil.NoSuchProcess:
                return
            await self._wait_until_dead(seconds)

    async def _wait_until_dead(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self.is_alive():
                return
            await asyncio.sleep(POLL_SECONDS)


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a server is given of our environment: nothing that could alter it (PG*) or that is secret."""
    kept = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")
    return {"LC_ALL": "C", "TZ": "UTC"} | {name: environ[name] for name in kept if name in environ}


def is_root() -> bool:
    """Whether we are root."""
    return os.geteuid() == 0
