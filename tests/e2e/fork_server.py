"""Starts programs of ours by forking a process that has imported them: tenths of a second of processor time, not seconds.

What is started is a process of its own in every respect that a test can see: its id, signals, files, environment,
folder and exit status. Only its imports are done. Tests whose subject is the start itself use subprocess.

`enabled()` is told once by conftest.py; without it (`make chaos`, benchmarks) `popen` is subprocess.Popen.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import IO

from alphapanda import commands

PRELOADED = ("alphapanda.app.embedded", "alphapanda.app.replay", "alphapanda.app.serve", "alphapanda.cli")
MESSAGE_BYTES = 1 << 20


class Forked:
    """A program that runs, with the interface of subprocess.Popen as far as tests use it."""

    def __init__(self, arguments: Sequence[str], pid: int, status: int) -> None:
        self.args = list(arguments)
        self.pid = pid
        self.returncode: int | None = None
        self._status = status
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Its exit status, negative for the signal that ended it; None while it runs."""
        return self._ended(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status once it ended; raises subprocess.TimeoutExpired."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Signals it while it runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Asks it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it."""
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout: float | None) -> int | None:
        with self._lock:
            if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
                told = os.read(self._status, 16)
                os.close(self._status)
                self.returncode = int(told) if told else -signal.SIGKILL  # the server itself is gone
            return self.returncode


Process = Forked | subprocess.Popen[bytes]


class ForkServer:
    """The process that has everything imported; it ends with this one, and what it started with it."""

    def __init__(self) -> None:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket, self._lock = ours, threading.Lock()
        with its:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(its.fileno())],
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        atexit.register(self.close)

    def start(
        self,
        arguments: Sequence[str],
        *,
        stdin: int | IO,
        stdout: int | IO,
        stderr: int | IO,
        env: Mapping[str, str],
        cwd: str,
    ) -> Forked:
        """Starts a Python program: its file and arguments."""
        status, told = os.pipe()
        request = json.dumps({"arguments": arguments, "env": dict(env), "cwd": cwd})
        with Path(os.devnull).open("r+b") as nothing:
            files = [nothing if file == subprocess.DEVNULL else file for file in (stdin, stdout, stderr)]
            numbers = [file if isinstance(file, int) else file.fileno() for file in files]
            with self._lock:
                socket.send_fds(self._socket, [request.encode()], [*numbers, told])
                pid = int(self._socket.recv(64))
        os.close(told)
        return Forked(arguments, pid, status)

    def close(self) -> None:
        """Ends it."""
        self._socket.close()
        self._process.wait()
        atexit.unregister(self.close)


servers: list[ForkServer] = []
_enabled = False


def enable() -> None:
    """From now on `popen` forks."""
    global _enabled  # noqa: PLW0603
    _enabled = True


def popen(
    arguments: Sequence[str],
    *,
    stdout: int | IO,
    stderr: int | IO,
    env: Mapping[str, str],
    cwd: Path | str,
) -> Process:
    """Starts a Python program, in a session of its own and without input.

    Args:
        arguments: the interpreter, or a script that names it in its first line; the rest as for subprocess.Popen.
        stdout: a file, or subprocess.DEVNULL.
        stderr: the same.
        env: its environment.
        cwd: its folder.
    """
    if not _enabled:
        return subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=env, cwd=cwd, start_new_session=True
        )  # fmt: skip
    if not servers:
        servers.append(ForkServer())
    script = arguments[1:] if arguments[0] == sys.executable else arguments
    return servers[0].start(
        script, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=env, cwd=str(cwd)
    )


def run(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | str = ".",
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs a Python program to its end, which `timeout` seconds bring about; what it wrote, as text."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        process = popen(
            arguments, stdout=stdout, stderr=stderr, env=os.environ if env is None else env, cwd=Path(cwd).resolve()
        )  # fmt: skip
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        written = []
        for file in (stdout, stderr):
            file.seek(0)
            written.append(file.read().decode())
    return subprocess.CompletedProcess(arguments, code, *written)


# -- the server's side ------------------------------------------------------------------------------------------------


def serve(control: socket.socket) -> list[str]:
    """Forks at each request; returns in the child, with the arguments of the program that it is to become."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control, woken], [], [])
        if woken in ready:
            os.read(woken, 1024)
            _tell_who_ended(running)
        if control not in ready:
            continue
        message, files, _, _ = socket.recv_fds(control, MESSAGE_BYTES, 4)
        if not message:
            _end(running)
        *standard, told = files
        request = json.loads(message)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            control.close()
            for left in (woken, wake, told, *running.values()):
                os.close(left)
            _become(request, standard)
            return request["arguments"]
        running[pid] = told
        for file in standard:
            os.close(file)
        control.send(str(pid).encode())


def _tell_who_ended(running: dict[int, int]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        told = running.pop(pid)
        with suppress(BrokenPipeError):
            os.write(told, str(os.waitstatus_to_exitcode(status)).encode())
        os.close(told)


def _end(running: dict[int, int]) -> None:
    for pid in running:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    os._exit(0)


def _become(request: dict, standard: list[int]) -> None:
    os.setsid()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    for number, file in enumerate(standard):
        os.dup2(file, number)
        os.close(file)
    time.tzset()
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115


def main() -> None:
    """Imports, serves, and in each child becomes the program."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    gc.disable()  # a sixth of the time that it takes to import all of this
    for name in (*PRELOADED, *(one.name for one in iter_modules(commands.__path__, "alphapanda.commands."))):
        import_module(name)
    gc.freeze()
    sys.argv = serve(control)
    gc.enable()
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
