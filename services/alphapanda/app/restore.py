"""`alphapanda restore`: makes a data directory from a backup, with every broker halted until it was reconciled."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from alembic.script import ScriptDirectory

from alphapanda.app.backup import DUMP, EVENTS, Manifest, read_manifest, require_empty
from alphapanda.app.clocks import wall_clock
from alphapanda.app.halting import halt_brokers
from alphapanda.app.local_audit import record_local
from alphapanda.app.log_check import require_agreement
from alphapanda.app.start_failures import start_failure
from alphapanda.app.topics import topics_of
from alphapanda.embedded.directory import DataDirectory
from alphapanda.embedded.errors import BackupRefused
from alphapanda.embedded.postgres import EmbeddedPostgres
from alphapanda.embedded.postgres_programs import run_client
from alphapanda.eventlog.sqlite.database import VERSION as LOG_VERSION
from alphapanda.eventlog.sqlite.log import SqliteEventLog
from alphapanda.settings.model import Settings
from alphapanda.storage.engine import open_engine
from alphapanda.storage.schema import migrations, upgrade_schema
from alphapanda.trading.traders.brokers import BROKERS
from alphapanda.trading.traders.registry import BrokerRegistry


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored: the backup's manifest, and the brokers that are halted until they were reconciled."""

    manifest: Manifest
    halted: Sequence[str]


async def restore(
    settings: Settings, backup: Path, data_dir: Path, progress: Callable[[str], None]
) -> Restored:
    """Makes a data directory from a backup; where that fails, none is left.

    Args:
        settings: settings of the platform; its brokers are halted.
        backup: folder of the backup.
        data_dir: the data directory to make; it doesn't exist, or is empty.
        progress: called with what is being done.

    Raises:
        BackupRefused: the backup isn't whole or is of a newer version, or the directory isn't empty.
        EmbeddedError: the directory can't be made, or PostgreSQL doesn't start.
    """
    progress("checking the backup")
    manifest = await asyncio.to_thread(read_manifest, backup)
    _require_known(backup, manifest)
    existed = require_empty(data_dir, "data directory")
    directory = DataDirectory(data_dir)
    directory.acquire(wall_clock())
    done = False
    try:
        halted = await _fill(settings, backup, directory, progress)
        done = True
    except Exception as error:
        if (failure := start_failure(error, directory.path)) is not None:
            raise failure from error
        raise
    finally:
        directory.release()
        if not done:
            _remove(directory.path, keep_folder=existed)
    return Restored(manifest, halted)


async def _fill(
    settings: Settings, backup: Path, directory: DataDirectory, progress: Callable[[str], None]
) -> Sequence[str]:
    layout, started_at = directory.layout, wall_clock()
    topic_map = topics_of(settings, BrokerRegistry(BROKERS))
    async with AsyncExitStack() as stack:
        postgres = EmbeddedPostgres(directory.path, progress)
        stack.push_async_callback(postgres.stop)
        engine = open_engine(await postgres.start(), settings.database.pool_size)
        stack.push_async_callback(engine.dispose)
        progress("restoring the database")
        options = ("--no-owner", "--exit-on-error", "--single-transaction", str(backup / DUMP))
        await run_client("pg_restore", *options, url=engine.url)
        await upgrade_schema(engine)
        progress("restoring the event log")
        await asyncio.to_thread(shutil.copyfile, backup / EVENTS, layout.events)
        log = SqliteEventLog(layout.events)
        await log.start()
        stack.push_async_callback(log.stop)
        await require_agreement(layout, engine, log, topic_map)
        async with engine.begin() as connection:
            await record_local(connection, "alphapanda restore", {"backup": str(backup)}, started_at)
            return await halt_brokers(connection, topic_map, "a backup was restored", wall_clock())


def _require_known(backup: Path, manifest: Manifest) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(migrations()).walk_revisions()}
    if manifest.schema not in known or manifest.log > LOG_VERSION:
        raise BackupRefused(
            f"backup {backup} was written by version {manifest.program} with schema {manifest.schema}, which this version"
            f" doesn't know: restore it with version {manifest.program} or a newer one"
        )


def _remove(path: Path, *, keep_folder: bool) -> None:
    for entry in path.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    if not keep_folder:
        path.rmdir()
