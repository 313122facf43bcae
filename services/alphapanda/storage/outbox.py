"""Stores events to be published in the transaction that decided them (rule 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from alphapanda.contract.topics import TopicMap
from alphapanda.storage.trace_parents import untraced
from panda.events.v1.events_pb2 import Event

_COLUMNS = {
    "event_id": "uuid",
    "topic": "text",
    "partition": "integer",
    "key": "bytea",
    "value": "bytea",
    "event_type": "text",
    "source": "text",
    "occurred_at": "timestamptz",
    "traceparent": "text",
}
_IN_ORDER = "ORDER BY number ON CONFLICT (event_id) DO NOTHING"


def channel(schema: str) -> str:
    """The NOTIFY channel that wakes a schema's relay."""
    return f"outbox_{schema}"


class Outbox:
    """The outbox of one service's schema.

    A writer locks the aggregate (order; broker account) before it adds events, so that `seq` is in the aggregate's order.
    Between aggregates transactions commit in any order, so the relay reads unpublished rows, without a high-water mark.

    Args:
        schema: the service's schema.
        topic_map: the deployment's topics.
        traceparent: the context under which the relay publishes an event; empty: none.

    Attributes:
        insert: an INSERT of `values(events)` in their order, for use as a part of a writer's own statement.
        notification: an expression that wakes the relay at the commit.
        notify: the SELECT of it, for use as the last part of that statement.
    """

    def __init__(
        self, schema: str, topic_map: TopicMap, traceparent: Callable[[Event], str] = untraced
    ) -> None:
        self.schema = schema
        self._topic_map = topic_map
        self._traceparent = traceparent
        self._wake: Callable[[], None] | None = None
        names = ", ".join(_COLUMNS)
        arrays = ", ".join(f"CAST(:outbox_{name} AS {kind}[])" for name, kind in _COLUMNS.items())
        self._given = (
            f"INSERT INTO {schema}.outbox ({names}) SELECT {names}"
            f" FROM unnest({arrays}) WITH ORDINALITY AS given ({names}, number)"
        )
        self.insert = f"{self._given} {_IN_ORDER}"
        self.notification = f"pg_notify('{channel(schema)}', '')"
        self.notify = f"SELECT {self.notification}"
        self._add = text(f"WITH added AS ({self.insert}) {self.notify}")

    def relayed_here(self, wake: Callable[[], None]) -> None:
        """Makes `committed` wake this process's relay."""
        self._wake = wake

    def committed(self) -> None:
        """Wakes this process's relay at once; the NOTIFY of the commit takes longer, and wakes the others."""
        if self._wake is not None:
            self._wake()

    def insert_where(self, condition: str) -> str:
        """Returns an `insert` of all events if a condition holds, else of none."""
        return f"{self._given} WHERE {condition} {_IN_ORDER}"

    def insert_of(self, part: str, column: str, kind: str) -> str:
        """Returns an `insert` of only those events whose row is among the rows of another part of the writer's statement.

        Args:
            part: name of that part.
            column: its column to compare; the parameter `outbox_{column}` holds each event's value.
            kind: type of the column.
        """
        names = ", ".join(_COLUMNS)
        arrays = ", ".join(
            f"CAST(:outbox_{name} AS {its}[])" for name, its in (_COLUMNS | {column: kind}).items()
        )
        return (
            f"INSERT INTO {self.schema}.outbox ({names}) SELECT {names}"
            f" FROM unnest({arrays}) WITH ORDINALITY AS given ({names}, {column}, number)"
            f" JOIN {part} USING ({column}) ORDER BY given.number ON CONFLICT (event_id) DO NOTHING"
        )

    def values(self, events: Sequence[Event]) -> dict[str, list[object]]:
        """Returns the parameters of `insert`, a list for each column."""
        rows = []
        for event in events:
            route = self._topic_map.route(event)
            rows.append(
                (
                    event.event_id,
                    route.topic,
                    route.partition,
                    route.key,
                    event.SerializeToString(deterministic=True),
                    event.WhichOneof("payload"),
                    event.source,
                    event.occurred_at.ToDatetime(UTC),
                    self._traceparent(event),
                )
            )
        columns = zip(*rows, strict=True)
        return {f"outbox_{name}": list(column) for name, column in zip(_COLUMNS, columns, strict=True)}

    async def add(self, connection: AsyncConnection, events: Sequence[Event]) -> None:
        """Stores events in the caller's transaction; an event whose id exists already is left unchanged."""
        if events:
            await connection.execute(self._add, self.values(events))

    async def unpublished(self, connection: AsyncConnection) -> int:
        """Returns the number of rows not yet published."""
        found = await connection.execute(
            text(f"SELECT count(*) FROM {self.schema}.outbox WHERE published_at IS NULL")
        )
        return int(found.scalar_one())
