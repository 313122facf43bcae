"""Prepares a mesh before its first start: creates topics, migrates the schema."""

from __future__ import annotations

from collections.abc import Sequence

from alphapanda.app.clocks import wall_clock
from alphapanda.app.local_audit import record_local
from alphapanda.app.serve import mesh_log
from alphapanda.app.topics import topics_of
from alphapanda.settings.model import Settings
from alphapanda.storage.engine import open_engine
from alphapanda.storage.schema import schema_version, upgrade_schema
from alphapanda.trading.traders.brokers import BROKERS
from alphapanda.trading.traders.registry import BrokerRegistry


async def ensure_topics(settings: Settings) -> tuple[int, Sequence[str]]:
    """Creates missing topics; returns the number of topics, and how existing ones differ.

    Raises:
        LogUnavailable: Kafka can't be reached.
    """
    topic_map = topics_of(settings, BrokerRegistry(BROKERS))
    log = mesh_log(settings, topic_map)
    await log.start()
    try:
        specs = topic_map.specs()
        return len(specs), await log.ensure(specs)
    finally:
        await log.stop()


async def upgrade_database(settings: Settings) -> tuple[str | None, str]:
    """Migrates the schema to the newest revision; returns the revisions before and after."""
    engine = open_engine(settings.database.url, settings.database.pool_size)
    try:
        before, started_at = await schema_version(engine), wall_clock()
        await upgrade_schema(engine)
        if not before.up_to_date:
            async with engine.begin() as connection:
                was, is_now = {"schema": before.current or ""}, {"schema": before.needed}
                await record_local(connection, "alphapanda db upgrade", {}, started_at, was, is_now)
    finally:
        await engine.dispose()
    return before.current, before.needed
