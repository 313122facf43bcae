"""The data directory: holds database, event log and logs; one process at a time may use it."""

import contextlib
import fcntl
import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from alphapanda.embedded.errors import (
    DataDirectoryForeignError,
    DataDirectoryInUseError,
    DataDirectoryNotWritableError,
)
from alphapanda.embedded.layout import INSTRUMENTS_FILE, Layout
from alphapanda.embedded.postgres import EmbeddedPostgres
from alphapanda.embedded.redis import EmbeddedRedis


class DataDirectory:
    """A data directory and its lock: call `acquire` first and `release` last.

    The lock ends with the process that holds it, even after kill -9; its child processes (PostgreSQL, Redis) don't
    inherit it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        self.layout = Layout(self.path)
        self._lock: int | None = None

    def acquire(self, wall_time: datetime, port: int | None = None) -> None:
        """Creates the folder if necessary, takes its lock, and writes pid, `wall_time` and `port` into the lock file.

        Raises DataDirectoryInUseError, DataDirectoryForeignError or DataDirectoryNotWritableError; then nothing has changed.
        """
        try:
            self.claim()
            self._take_lock(wall_time, port)
            if self.layout.wiping.exists():
                self._wipe()
            self._make_folders()
        except OSError as error:
            self.release()
            raise DataDirectoryNotWritableError(self.path, error.strerror or str(error)) from error

    def examine(self) -> None:
        """Raises the error that `acquire` would raise now; changes nothing."""
        there = next(place for place in (self.path, *self.path.parents) if place.exists())
        try:
            if not there.is_dir():
                raise DataDirectoryNotWritableError(self.path, "Not a directory")
            if not os.access(there, os.W_OK | os.X_OK):
                raise DataDirectoryNotWritableError(self.path, "Permission denied")
            if there == self.path and not self.layout.marker.exists() and self._is_foreign():
                raise DataDirectoryForeignError(self.path)
            if self.layout.lock.exists() and self._is_held():
                raise self._in_use()
        except OSError as error:
            raise DataDirectoryNotWritableError(self.path, error.strerror or str(error)) from error

    def _is_held(self) -> bool:
        lock = os.open(self.layout.lock, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def release(self) -> None:
        """Releases the lock. The lock file stays: if it were removed, two processes could lock two files."""
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    async def fresh(self) -> None:
        """Wipes the directory: stops servers that an earlier process left running, and removes our own files, nothing else.

        The lock has to be held, and stays held.
        """
        if self._lock is None:
            message = f"data directory {self.path} must be locked before it is wiped"
            raise RuntimeError(message)
        await EmbeddedPostgres(self.path).stop()
        await EmbeddedRedis(self.path).stop()
        try:
            self.layout.wiping.touch()
            self._wipe()
            self._make_folders()
        except OSError as error:
            raise DataDirectoryNotWritableError(self.path, error.strerror or str(error)) from error

    def _wipe(self) -> None:
        for folder in self.layout.folders:
            if folder.exists():
                shutil.rmtree(folder)
        self.layout.wiping.unlink()

    def _make_folders(self) -> None:
        for folder in self.layout.folders:
            folder.mkdir(mode=0o700, exist_ok=True)

    def claim(self) -> None:
        """Creates the folder if necessary and marks it as a data directory, without taking its lock.

        Raises DataDirectoryForeignError or DataDirectoryNotWritableError.
        """
        if self.path.exists() and not self.path.is_dir():
            raise DataDirectoryNotWritableError(self.path, "Not a directory")
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.layout.marker.exists():
            if self._is_foreign():
                raise DataDirectoryForeignError(self.path)
            self.layout.marker.write_text("An Alpha Panda data directory.\n")
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise DataDirectoryNotWritableError(self.path, "Permission denied")

    def _is_foreign(self) -> bool:
        """Whether it holds files that aren't ours; imported instruments are kept here before there is a data directory."""
        return any(not file.name.startswith(INSTRUMENTS_FILE) for file in self.path.iterdir())

    def _take_lock(self, wall_time: datetime, port: int | None) -> None:
        if self._lock is not None:
            raise self._in_use()
        lock = os.open(self.layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise self._in_use() from error
        except OSError:
            os.close(lock)
            raise
        self._lock = lock
        holder = {"pid": os.getpid(), "started_at": wall_time.astimezone(UTC).isoformat(), "port": port}
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps(holder).encode(), 0)

    def _in_use(self) -> DataDirectoryInUseError:
        # The holder may have taken the lock and not written its pid yet.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            holder = json.loads(self.layout.lock.read_text())
            port = None if holder["port"] is None else int(holder["port"])
            return DataDirectoryInUseError(
                self.path, int(holder["pid"]), datetime.fromisoformat(holder["started_at"]), port
            )
        return DataDirectoryInUseError(self.path, None, None, None)
