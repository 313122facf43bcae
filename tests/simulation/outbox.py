"""What the outbox relay sees of a database: its rows, its lock, its notifications; sessions that are silent are ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy.exc import InterfaceError
from tests.simulation.loop import CURRENT
from tests.simulation.world import World

from alphapanda.contract.topics import TopicMap
from panda.events.v1.events_pb2 import Event


def connection_lost(why: str) -> Exception:
    """What SQLAlchemy raises where a connection breaks."""
    return InterfaceError(why, None, ConnectionError(why), connection_invalidated=True)


class OutboxRow(NamedTuple):
    """A row as the relay reads it."""

    seq: int
    event_id: str
    topic: str
    partition: int
    key: bytes
    value: bytes
    event_type: str
    source: str
    occurred_at: datetime
    traceparent: str = ""


class OutboxTable:
    """The outbox of a schema: what the store's transactions left there, who has its lock, who listens."""

    def __init__(self, events: Callable[[], Sequence[Event]], topic_map: TopicMap) -> None:
        self.published: set[int] = set()
        self.holder: RelayConnection | None = None
        self.connections: list[RelayConnection] = []
        self._events = events
        self._topic_map = topic_map
        self._first = 0
        self._rows: dict[int, tuple[Event, OutboxRow]] = {}

    def unpublished(self, limit: int) -> list[OutboxRow]:
        """The oldest rows that aren't published."""
        events = self._events()
        while self._first in self.published:
            self._first += 1
        found = [at for at in range(self._first, len(events)) if at not in self.published]
        return [self._row(at, events[at]) for at in found[:limit]]

    def pending(self) -> int:
        """How many rows aren't published."""
        return len(self._events()) - len(self.published)

    def notify(self) -> None:
        """NOTIFY, as a commit sends it."""
        for connection in self.connections:
            connection.notified()

    def _row(self, at: int, event: Event) -> OutboxRow:
        """The row of an event, made once: relays read a row again and again until it is published."""
        known = self._rows.get(at)
        if known is None or known[0] is not event:
            known = self._rows[at] = (event, self._made(at, event))
        return known[1]

    def _made(self, at: int, event: Event) -> OutboxRow:
        route = self._topic_map.route(event)
        return OutboxRow(
            at,
            event.event_id,
            route.topic,
            route.partition,
            route.key,
            event.SerializeToString(deterministic=True),
            event.WhichOneof("payload") or "",
            event.source,
            event.occurred_at.ToDatetime(UTC),
        )


class RelayEngine:
    """What the outbox relay needs of a database engine: a connection that understands its four statements."""

    def __init__(self, world: World, schema: str, table: OutboxTable) -> None:
        self._parts = (world, schema, table)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[RelayConnection]:
        """A connection; it ends with its process."""
        connection = RelayConnection(*self._parts)
        try:
            yield connection
        finally:
            connection.close()


class RelayConnection:
    """One connection of a relay: the lock it holds and the notifications it hears are its own."""

    def __init__(self, world: World, schema: str, table: OutboxTable) -> None:
        self._world = world
        self._schema = schema
        self._table = table
        self._process = CURRENT.get()
        self._closed = False
        self._said = 0
        self._silence = 0.0
        self._listeners: list[Callable[..., object]] = []
        self._table.connections.append(self)

    @property
    def driver_connection(self) -> RelayConnection:
        """As asyncpg's."""
        return self

    async def execution_options(self, **_: Any) -> None:
        """Every statement is a transaction of its own."""

    async def get_raw_connection(self) -> RelayConnection:
        """As SQLAlchemy's."""
        return self

    async def add_listener(self, _: str, heard: Callable[..., object]) -> None:
        """LISTEN."""
        await self._world.request("listen", lambda: self._listeners.append(heard), connection_lost)

    def add_termination_listener(self, heard: Callable[..., object]) -> None:
        """Told when the connection breaks."""
        self._listeners.append(heard)

    async def invalidate(self) -> None:
        """Gives it back broken."""
        self.close()

    def close(self) -> None:
        """Ends it: its lock is free."""
        if not self._closed:
            self._closed = True
            self._table.connections.remove(self)
            if self._table.holder is self:
                self._table.holder = None

    def notified(self) -> None:
        """Passes a notification on, in the process that listens."""
        world = self._world
        for heard in self._listeners:
            world.loop.call_later(world.latency(), heard, context=self._process.context.copy())

    def broken(self) -> None:
        """The connection breaks: the lock is free at once, its process hears of it when it can."""
        listeners = list(self._listeners)
        self.close()
        world = self._world
        for heard in listeners:
            world.loop.call_later(world.latency(), heard, context=self._process.context.copy())

    async def execute(self, statement: Any, values: Any = None) -> Any:
        """One of the relay's statements."""
        sql = statement.text
        if sql.startswith("SELECT set_config('idle_session_timeout'"):
            self._silence = int(sql.split("'")[3]) / 1000
            return await self._ask("set", lambda: None)
        if "pg_try_advisory_lock" in sql:
            return await self._ask("lock", self._lock)
        if sql.startswith("SELECT seq"):
            return await self._ask("unpublished", lambda: self._table.unpublished(values["limit"]))
        if sql.startswith("UPDATE"):
            return await self._ask("mark published", lambda: self._table.published.update(values["seqs"]))
        if sql.startswith("DELETE"):
            return await self._ask("purge", lambda: 0)
        raise AssertionError(f"the relay says something new: {sql}")

    def _lock(self) -> bool:
        if self._table.holder is None:
            self._table.holder = self
        return self._table.holder is self

    async def _ask(self, what: str, effect: Callable[[], Any]) -> Any:
        def at_server() -> _Rows:
            if self._closed:
                raise connection_lost("the connection is closed")
            self._listen()
            return _Rows(effect())

        return await self._world.request(f"{self._schema} relay: {what}", at_server, connection_lost)

    def _listen(self) -> None:
        self._said += 1
        if self._silence:
            outside = self._world.outside.context.copy()
            self._world.loop.call_later(self._silence, self._silent, self._said, context=outside)

    def _silent(self, said: int) -> None:
        if said == self._said and not self._closed:
            self._world.tell(
                f"{self._schema} relay", fault="session ended: silent for too long", process=self._process
            )
            self.broken()


class _Rows:
    """A result."""

    def __init__(self, found: Any) -> None:
        self._found = found
        self.rowcount = 0

    def all(self) -> Any:
        """Every row."""
        return self._found

    def scalar_one(self) -> Any:
        """The one value."""
        return self._found
