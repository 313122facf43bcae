"""A data directory whose platform is stopped: its lock, its PostgreSQL and its schema, for commands that work on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.app.clocks import wall_clock
from alphapanda.app.start_failures import start_failure
from alphapanda.app.topics import topics_of
from alphapanda.contract.topics import TopicMap
from alphapanda.embedded.directory import DataDirectory
from alphapanda.embedded.errors import DataDirectoryInUseError, SchemaTooNew
from alphapanda.embedded.layout import Layout
from alphapanda.embedded.postgres import EmbeddedPostgres
from alphapanda.settings.model import Settings
from alphapanda.storage.engine import open_engine
from alphapanda.storage.schema import schema_version, upgrade_schema
from alphapanda.trading.traders.brokers import BROKERS
from alphapanda.trading.traders.registry import BrokerRegistry


@dataclass(frozen=True, slots=True)
class StoppedPlatform:
    """A data directory that this command holds.

    Attributes:
        layout: the directory.
        postgres: its PostgreSQL, running.
        engine: connections to it; the schema is this version's.
        topic_map: the topics of the deployment.
    """

    layout: Layout
    postgres: EmbeddedPostgres
    engine: AsyncEngine
    topic_map: TopicMap


def port_of_running(data_dir: Path) -> int | None:
    """Returns the port of the platform that runs on a data directory; None where none runs.

    Raises:
        DataDirectoryError: the directory can't be used, or a process without a port holds it.
    """
    try:
        DataDirectory(data_dir).examine()
    except DataDirectoryInUseError as holder:
        if holder.port is None:
            raise
        return holder.port
    return None


@asynccontextmanager
async def stopped_platform(
    settings: Settings, data_dir: Path, progress: Callable[[str], None]
) -> AsyncIterator[StoppedPlatform]:
    """Locks a data directory and starts its PostgreSQL; stops it again at the end.

    Raises:
        EmbeddedError: a platform runs on it, or it can't be used.
    """
    directory = DataDirectory(data_dir)
    directory.acquire(wall_clock())
    postgres = EmbeddedPostgres(directory.path, progress)
    try:
        engine = open_engine(await postgres.start(), settings.database.pool_size)
        try:
            version = await schema_version(engine)
            if version.foreign:
                raise SchemaTooNew(str(version.current), version.needed)
            await upgrade_schema(engine)
            topic_map = topics_of(settings, BrokerRegistry(BROKERS))
            yield StoppedPlatform(directory.layout, postgres, engine, topic_map)
        finally:
            await engine.dispose()
    except Exception as error:
        if (failure := start_failure(error, directory.path)) is not None:
            raise failure from error
        raise
    finally:
        await postgres.stop()
        directory.release()
