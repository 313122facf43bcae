"""Backups of a data directory: database and event log of one moment, in a folder with a manifest.

A backup is what a crash at that moment would have left: while the log is held still, PostgreSQL's snapshot is taken. So every
record of the log comes from a decision that the database has, and what is not published yet lies in an outbox.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda import __version__
from alphapanda.app.clocks import wall_clock
from alphapanda.app.log_check import require_agreement, require_usable_log
from alphapanda.app.stopped import StoppedPlatform
from alphapanda.embedded.errors import BackupRefused, EmbeddedError
from alphapanda.embedded.postgres_programs import run_client
from alphapanda.eventlog.sqlite.database import VERSION as LOG_VERSION
from alphapanda.eventlog.sqlite.log import SqliteEventLog
from alphapanda.mesh.errors import FailedPrecondition
from alphapanda.ops.backups import WrittenBackup
from alphapanda.storage.schema import schema_version

FORMAT: Final = 1
DUMP: Final = "database.dump"
EVENTS: Final = "events.sqlite"
MANIFEST: Final = "manifest.json"
_CHUNK_BYTES: Final = 1 << 20
_KEEP_OPEN = text("SET LOCAL idle_in_transaction_session_timeout = 0")
_EXPORT = text("SELECT pg_export_snapshot()")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup is of.

    Attributes:
        format: version of the backup's format.
        program: version of the program that wrote it.
        schema: revision of the database's schema.
        log: version of the log's tables.
        brokers: the active brokers.
        taken_at: wall time of its moment, ISO 8601.
        files: SHA-256 by name of the file.
    """

    format: int
    program: str
    schema: str
    log: int
    brokers: tuple[str, ...]
    taken_at: str
    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that is complete: where it is, its size in bytes, the wall time of its moment."""

    folder: Path
    size: int
    taken_at: datetime


def require_empty(folder: Path, what: str) -> bool:
    """Refuses a folder that holds something, or is none; returns whether it exists.

    Raises:
        BackupRefused: it isn't empty, or can't be read.
    """
    try:
        if not folder.exists():
            return False
        if folder.is_dir() and not any(folder.iterdir()):
            return True
    except OSError as error:
        raise BackupRefused(
            f"{what} {folder} can't be used ({error.strerror}): name another folder"
        ) from error
    raise BackupRefused(f"{what} {folder} is not empty: name a folder that doesn't exist yet")


async def write_backup(
    folder: Path, engine: AsyncEngine, log: SqliteEventLog, brokers: tuple[str, ...], now: datetime
) -> Backup:
    """Writes a backup to a folder; nothing waits for it but the log, for the moment of the snapshot.

    Args:
        folder: doesn't exist, or is empty; it has its name when the backup is complete.
        engine: the embedded database.
        log: the log, started.
        brokers: the active brokers.
        now: wall time.

    Raises:
        BackupRefused: the folder isn't empty or can't be made.
        ClientFailed: pg_dump can't read the database, or the disk is full.
        LogUnavailable: the log can't be read.
    """
    require_empty(folder, "backup folder")
    made = folder.with_name(f"{folder.name}.partial")
    try:
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise BackupRefused(f"backup folder {made} can't be made ({error.strerror}): name another") from error
    try:
        await _write(made, engine, log, brokers, now)
        return Backup(folder, _put_in_place(made, folder), now)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _put_in_place(made: Path, folder: Path) -> int:
    """Gives a complete backup its name; returns its size in bytes."""
    if folder.exists():
        folder.rmdir()
    made.rename(folder)
    return sum(file.stat().st_size for file in folder.iterdir())


async def backup_of_stopped(platform: StoppedPlatform, folder: Path) -> Backup:
    """Writes a backup of a platform that is stopped.

    Raises:
        EventLogUnfit: the log isn't whole, or doesn't belong to the database.
        BackupRefused, ClientFailed, LogUnavailable: as `write_backup`.
    """
    await require_usable_log(platform.layout, platform.engine)
    log = SqliteEventLog(platform.layout.events)
    await log.start()
    try:
        await require_agreement(platform.layout, platform.engine, log, platform.topic_map)
        brokers = platform.topic_map.active_brokers
        return await write_backup(folder, platform.engine, log, brokers, wall_clock())
    finally:
        await log.stop()


async def backup_of_running(
    engine: AsyncEngine, log: SqliteEventLog, brokers: tuple[str, ...], folder: Path
) -> WrittenBackup:
    """Writes a backup of a platform that runs, for its CreateBackup.

    Raises:
        FailedPrecondition: the folder can't be used, or database or disk don't allow it.
    """
    try:
        backup = await write_backup(folder, engine, log, brokers, wall_clock())
    except EmbeddedError as error:
        raise FailedPrecondition("BACKUP_REFUSED", str(error)) from error
    return WrittenBackup(backup.folder, backup.size, backup.taken_at)


async def _write(
    made: Path, engine: AsyncEngine, log: SqliteEventLog, brokers: tuple[str, ...], now: datetime
) -> None:
    version = await schema_version(engine)
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(engine.connect())
        await connection.execution_options(isolation_level="REPEATABLE READ")

        async def snapshot() -> str:
            await connection.execute(_KEEP_OPEN)
            return str((await connection.execute(_EXPORT)).scalar_one())

        exported = await log.copy_to(made / EVENTS, snapshot)
        dump = ("--format=custom", f"--snapshot={exported}", f"--file={made / DUMP}")
        await run_client("pg_dump", *dump, url=engine.url)
    manifest = Manifest(
        format=FORMAT,
        program=__version__,
        schema=str(version.current),
        log=LOG_VERSION,
        brokers=brokers,
        taken_at=now.astimezone(UTC).isoformat(),
        files={name: await asyncio.to_thread(_digest, made / name) for name in (DUMP, EVENTS)},
    )
    (made / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Reads a backup's manifest and compares every file with it.

    Raises:
        BackupRefused: it isn't a backup of a known format, or a file is missing or was changed.
    """
    try:
        read: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
        manifest = Manifest(**read | {"brokers": tuple(read["brokers"])})
    except FileNotFoundError as error:
        raise BackupRefused(f"{folder} is no backup: it has no {MANIFEST}") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BackupRefused(f"{folder / MANIFEST} can't be read ({error}): use another backup") from error
    if manifest.format != FORMAT:
        raise BackupRefused(
            f"backup {folder} has format {manifest.format}, this version knows {FORMAT}: restore it with version"
            f" {manifest.program}"
        )
    for name, digest in manifest.files.items():
        try:
            found = _digest(folder / Path(name).name)
        except OSError as error:
            raise BackupRefused(
                f"{folder / name} can't be read ({error.strerror}): use another backup"
            ) from error
        if found != digest:
            raise BackupRefused(
                f"{folder / name} is not as it was written: its SHA-256 differs; use another backup"
            )
    return manifest


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
