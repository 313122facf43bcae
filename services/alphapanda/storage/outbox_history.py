"""Compares a schema's outbox with an event log, and has the relay publish again what the log lacks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


class PublishedRow(NamedTuple):
    """A row of an outbox that was published at `published_at` (wall time)."""

    event_id: str
    topic: str
    partition: int
    published_at: datetime


class OutboxHistory:
    """The rows that a schema's outbox still holds.

    Args:
        schema: name of the schema.
    """

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self._newest = text(
            f"SELECT event_id, topic, partition, published_at FROM {schema}.outbox WHERE published_at IS NOT NULL"
            " ORDER BY published_at DESC, seq DESC LIMIT :limit"
        )
        self._oldest = text(f"SELECT min(published_at) FROM {schema}.outbox WHERE published_at IS NOT NULL")
        self._known = text(f"SELECT event_id FROM {schema}.outbox WHERE event_id = ANY(CAST(:ids AS uuid[]))")
        self._ids = text(f"SELECT event_id FROM {schema}.outbox")
        self._again = text(
            f"UPDATE {schema}.outbox SET published_at = NULL WHERE published_at IS NOT NULL"
            " AND NOT EXISTS (SELECT FROM unnest(CAST(:ids AS uuid[])) AS held (id) WHERE held.id = event_id)"
        )
        self._published = text(
            f"UPDATE {schema}.outbox SET published_at = :now WHERE published_at IS NULL"
            " AND event_id IN (SELECT id FROM unnest(CAST(:ids AS uuid[])) AS held (id))"
        )

    async def newest(self, connection: AsyncConnection, limit: int) -> Sequence[PublishedRow]:
        """Reads the rows that were published last, newest first."""
        found = await connection.execute(self._newest, {"limit": limit})
        return [PublishedRow(str(row.event_id), row.topic, row.partition, row.published_at) for row in found]

    async def oldest(self, connection: AsyncConnection) -> datetime | None:
        """When the oldest row that is kept was published; whatever was published later is kept, too."""
        found: datetime | None = (await connection.execute(self._oldest)).scalar_one()
        return found

    async def known(self, connection: AsyncConnection, event_ids: Collection[str]) -> set[str]:
        """Returns those of the ids that the outbox holds."""
        found = await connection.execute(self._known, {"ids": list(event_ids)})
        return {str(event_id) for event_id in found.scalars()}

    async def event_ids(self, connection: AsyncConnection) -> set[str]:
        """Returns the id of every row's event."""
        return {str(event_id) for event_id in (await connection.execute(self._ids)).scalars()}

    async def publish_again(self, connection: AsyncConnection, held: Collection[str]) -> int:
        """Marks every row as unpublished whose event the log doesn't hold, so that the relay publishes it; returns how many.

        Args:
            connection: a transaction.
            held: ids of the events that the log holds.
        """
        return int((await connection.execute(self._again, {"ids": list(held)})).rowcount)

    async def mark_published(self, connection: AsyncConnection, held: Collection[str], now: datetime) -> int:
        """Marks every unpublished row as published whose event the log holds; returns how many."""
        return int((await connection.execute(self._published, {"ids": list(held), "now": now})).rowcount)
