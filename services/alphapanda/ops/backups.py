"""Writes backups on request, one at a time; a repeated request waits for the same backup."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from alphapanda.mesh.errors import FailedPrecondition

NO_BACKUP = "NO_BACKUP_HERE"
BACKUP_RUNS = "BACKUP_RUNS"


@dataclass(frozen=True, slots=True)
class WrittenBackup:
    """A backup that is complete: its folder, its size in bytes, the wall time of its moment."""

    folder: Path
    size: int
    taken_at: datetime


WriteBackup = Callable[[Path], Awaitable[WrittenBackup]]
"""Writes a backup to a folder; raises FailedPrecondition where it can't."""


class Backups:
    """The backup of a process: at most one is written at a time, and the last one's answer is remembered.

    Args:
        write: writes a backup; None where the process has no data directory.
    """

    def __init__(self, write: WriteBackup | None) -> None:
        self._write = write
        self._last: tuple[str, Path] = ("", Path())
        self._task: asyncio.Task[WrittenBackup] | None = None

    async def create(self, request_id: str, folder: Path) -> WrittenBackup:
        """Writes a backup, or waits for the one that the same request began.

        Raises:
            FailedPrecondition: there is nothing to back up here, the folder can't be used, or another backup is being
                written.
        """
        if self._write is None:
            raise FailedPrecondition(
                NO_BACKUP,
                "this process has no data directory: Kafka and PostgreSQL of a mesh are backed up by their own tools",
            )
        if self._task is None or self._last != (request_id, folder):
            if self._task is not None and not self._task.done():
                raise FailedPrecondition(
                    BACKUP_RUNS,
                    f"a backup to {self._last[1]} is being written: ask again when it is complete",
                )
            self._last = (request_id, folder)
            self._task = asyncio.create_task(_written(self._write, folder), name="backup")
        return await asyncio.shield(self._task)


async def _written(write: WriteBackup, folder: Path) -> WrittenBackup:
    return await write(folder)
