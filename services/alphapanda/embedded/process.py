"""Server processes: started in their own session, found again after this process was killed, stopped by id."""

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
    """The log file of a server; its current run begins at byte `start`."""

    path: Path
    start: int

    @classmethod
    def begin(cls, path: Path) -> Self:
        """Returns the log at the start of a run; renames a large file to `<name>.1` first."""
        if path.exists() and path.stat().st_size > LOG_ROTATE_BYTES:
            path.replace(path.with_name(f"{path.name}.1"))
        path.touch(mode=0o600)
        return cls(path, path.stat().st_size)

    def tail(self) -> list[str]:
        """Returns the last lines of the current run."""
        with self.path.open("rb") as log:
            log.seek(self.start)
            return log.read().decode(errors="replace").splitlines()[-LOG_TAIL_LINES:]


class ServerProcess:
    """A running server, started by this process or by an earlier one that was killed."""

    def __init__(self, process: psutil.Process, started: subprocess.Popen[bytes] | None = None) -> None:
        self._process = process
        self._started = started

    @classmethod
    def start(cls, command: Sequence[str], environment: Mapping[str, str], log: ServerLog) -> Self:
        """Starts `command` in its own session, where the terminal's Ctrl-C doesn't reach it."""
        with log.path.open("ab") as output:
            started = subprocess.Popen(  # noqa: S603  the command contains no external input
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
        """Finds the processes that run `program` (a file name) with `argument` among their arguments."""
        found = []
        for process in psutil.process_iter():
            command = _command(process)
            if command and Path(command[0]).name == program and argument in command:
                found.append(cls(process))
        return found

    @classmethod
    def titled(cls, title: str) -> list[Self]:
        """Finds the processes whose title (as `ps` shows it) begins with `title`."""
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
        """Program and arguments; empty where the process has ended."""
        return _command(self._process)

    @property
    def exit_status(self) -> int | None:
        """The exit status; None while it runs or where it isn't our child; minus the signal's number after a signal."""
        return None if self._started is None else self._started.poll()

    @property
    def how_it_ended(self) -> str:
        """How the process ended, in one line."""
        status = self.exit_status
        if status is None:
            return "it ended"
        return f"it was killed by signal {-status}" if status < 0 else f"it ended with status {status}"

    def is_alive(self) -> bool:
        """Whether it still runs; a zombie doesn't count."""
        if self._started is not None:
            return self._started.poll() is None
        try:
            return self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    async def stop(self, steps: Sequence[tuple[signal.Signals, float]]) -> None:
        """Sends the signals in turn, each with its own wait in seconds, until the process has ended."""
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
    """Returns a server's environment: without secrets, and without variables that change its behaviour (PG*)."""
    kept = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")
    return {"LC_ALL": "C", "TZ": "UTC"} | {name: environ[name] for name in kept if name in environ}


def is_root() -> bool:
    """Whether this process runs as root."""
    return os.geteuid() == 0
