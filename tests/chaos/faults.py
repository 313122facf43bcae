"""Faults injected into what a running `alphapanda up` started: its PostgreSQL, its Redis, one of PostgreSQL's processes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

POSTGRES, REDIS = "PostgreSQL", "Redis"


def processes(data_dir: Path, server: str) -> list[psutil.Process]:
    """The processes of a server of a data directory, the one that was started first; empty while there is none."""
    program, argument = {
        POSTGRES: ("postgres", str(data_dir / "postgres" / "cluster")),
        REDIS: ("redis-server", str(data_dir / "redis")),
    }[server]
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
            if command and Path(command[0]).name == program and argument in command:
                return [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
    return []


def kill_postgres(data_dir: Path, _: random.Random) -> str:
    """Kills PostgreSQL's first process; its others end by themselves."""
    return _kill(processes(data_dir, POSTGRES)[:1], "PostgreSQL killed")


def kill_redis(data_dir: Path, _: random.Random) -> str:
    """Kills Redis."""
    return _kill(processes(data_dir, REDIS)[:1], "Redis killed")


def kill_backend(data_dir: Path, chance: random.Random) -> str:
    """Kills one of PostgreSQL's processes that serves a connection; PostgreSQL then ends all connections and recovers."""
    backends = [one for one in processes(data_dir, POSTGRES)[1:] if "[local]" in _title(one)]
    return _kill(backends and [chance.choice(backends)], "a backend of PostgreSQL killed")


@contextmanager
def frozen(data_dir: Path, server: str) -> Iterator[None]:
    """A server that takes connections and answers nothing."""
    stopped = processes(data_dir, server)
    for process in stopped:
        process.suspend()
    try:
        yield
    finally:
        for process in reversed(stopped):
            process.resume()


Fault = Callable[[Path, random.Random], str]
"""Injects a fault into what runs in a data directory; returns what was done, empty where there was nothing to harm."""

KILLS: Mapping[str, Fault] = {
    "postgres": kill_postgres,
    "redis": kill_redis,
    "backend": kill_backend,
}
"""Kills after which `up` comes back by itself, by name."""


def _kill(victims: list[psutil.Process], what: str) -> str:
    try:
        for victim in victims:
            victim.kill()
    except psutil.NoSuchProcess:
        return ""
    return what if victims else ""


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
