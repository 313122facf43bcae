"""Events to be published, stored in the transaction that decided them (rule 3)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from alphapanda.eventlog.topics import TopicMap
from panda.events.v1.events_pb2 import Event


def channel(schema: str) -> str:
    """The NOTIFY channel that wakes a schema's relay."""
    return f"outbox_{schema}"


class Outbox:
    """The outbox of one service's schema.

    The writer has locked the aggregate (order; broker account) before it adds, so that `seq` is in the aggregate's
    order; between aggregates transactions commit in any order, so the relay reads unpublished rows, not a mark.
    """

    def __init__(self, schema: str, topic_map: TopicMap) -> None:
        self.schema = schema
        self._topic_map = topic_map
        self._insert = text(
            f"INSERT INTO {schema}.outbox (event_id, topic, partition, key, value, event_type, source, occurred_at)"
            " VALUES (:event_id, :topic, :partition, :key, :value, :event_type, :source, :occurred_at)"
            " ON CONFLICT (event_id) DO NOTHING"
        )
        self._notify = text(f"SELECT pg_notify('{channel(schema)}', '')")

    async def add(self, connection: AsyncConnection, events: Sequence[Event]) -> None:
        """Stores events in the caller's transaction; an id that is there already stays as it is."""
        if not events:
            return
        rows = []
        for event in events:
            route = self._topic_map.route(event)
            rows.append(
                {
                    "event_id": event.event_id,
                    "topic": route.topic,
                    "partition": route.partition,
                    "key": route.key,
                    "value": event.SerializeToString(deterministic=True),
                    "event_type": event.WhichOneof("payload"),
                    "source": event.source,
                    "occurred_at": event.occurred_at.ToDatetime(UTC),
                }
            )
        await connection.execute(self._insert, rows)
        await connection.execute(self._notify)

    async def unpublished(self, connection: AsyncConnection) -> int:
        """Rows not yet published."""
        found = await connection.execute(
            text(f"SELECT count(*) FROM {self.schema}.outbox WHERE published_at IS NULL")
        )
        return int(found.scalar_one())

    async def purge(self, connection: AsyncConnection, published_before: datetime) -> int:
        """Deletes rows published before a wall time; returns how many."""
        result = await connection.execute(
            text(f"DELETE FROM {self.schema}.outbox WHERE published_at < :before"),
            {"before": published_before},
        )
        return int(result.rowcount)
