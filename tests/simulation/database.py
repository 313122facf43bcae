"""Processes' connections to the stores in memory: statements that wait, commits that get lost, locks that outlive nobody.

A commit is a message like any other: once it has left, what becomes of its sender doesn't matter to it. A transaction
whose commit never left is rolled back when its process dies, and its locks are free.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from inspect import iscoroutinefunction
from typing import Any, NamedTuple

from sqlalchemy.exc import InterfaceError
from tests.simulation.loop import CURRENT, Process
from tests.simulation.world import World

from alphapanda.eventlog.topics import TopicMap
from panda.events.v1.events_pb2 import Event

OnCommit = Callable[[str, Process, Sequence[tuple[str, tuple[Any, ...]]]], None]
"""Told of a commit: the schema, whose it was, and the calls (name, arguments) made in it."""


def connection_lost(why: str) -> Exception:
    """What SQLAlchemy raises where a connection breaks."""
    return InterfaceError(why, None, ConnectionError(why), connection_invalidated=True)


class _RolledBack(Exception):
    """Ends a transaction that isn't committed."""


def _at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine that doesn't wait for anything."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("a store in memory waited where it may not")


class Database:
    """One schema.

    Args:
        world: where it stands.
        schema: its name.
        store: the store in memory.
        events: its outbox, in order.
        on_commit: told of each commit.
        topic_map: where its events go.
    """

    def __init__(
        self,
        world: World,
        schema: str,
        store: Any,
        events: Callable[[], Sequence[Event]],
        on_commit: OnCommit,
        topic_map: TopicMap,
    ) -> None:
        self.world = world
        self.schema = schema
        self.store = store
        self.events = events
        self.outbox = OutboxTable(self, topic_map)
        self._on_commit = on_commit

    def committed(self, process: Process, calls: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
        """Wakes the relays and tells who watches."""
        self._on_commit(self.schema, process, calls)
        self.outbox.notify()


class Connection:
    """A process's view of a store: the port's methods, each of them a message.

    Args:
        database: the schema.
        transactions: methods that open a transaction.
        writes: methods that are a transaction by themselves.
        waiting: those of them that wait for other transactions.
    """

    def __init__(
        self,
        database: Database,
        transactions: Sequence[str],
        writes: Sequence[str] = (),
        waiting: Sequence[str] = (),
    ) -> None:
        self._database = database
        self._transactions = frozenset(transactions)
        self._writes = frozenset(writes)
        self._waiting = frozenset(waiting)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._database.store, name)
        if name in self._transactions:
            return lambda *args: self._transaction(name, method(*args))
        if name in self._writes:
            return lambda *args, **named: self._write(name, args, lambda: method(*args, **named))
        if name in self._waiting:
            return lambda *args, **named: self._wait(name, lambda: method(*args, **named))
        if iscoroutinefunction(method):
            return lambda *args, **named: self._ask(name, lambda: _at_once(method(*args, **named)))
        return method

    async def _ask(self, what: str, effect: Callable[[], Any]) -> Any:
        database = self._database
        return await database.world.request(f"{database.schema}.{what}", effect, connection_lost)

    async def _write(
        self, name: str, args: tuple[Any, ...], call: Callable[[], Coroutine[Any, Any, Any]]
    ) -> Any:
        database, process = self._database, CURRENT.get()

        def effect() -> Any:
            result = _at_once(call())
            database.committed(process, [(name, args)])
            return result

        return await self._ask(name, effect)

    async def _wait(self, name: str, call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """The server carries it out, however long that takes and whatever becomes of who asked."""
        database, process = self._database, CURRENT.get()
        world = database.world

        async def carried_out() -> Any:
            result = await call()
            database.committed(process, [(name, ())])
            return result

        task = await self._ask(name, lambda: world.loop.spawn(world.outside, carried_out()))
        await asyncio.wait([task])
        return await self._ask(f"answer to {name}", task.result)

    @asynccontextmanager
    async def _transaction(self, name: str, opened: AbstractAsyncContextManager[Any]) -> AsyncIterator[Any]:
        database, process = self._database, CURRENT.get()
        await self._ask(f"{name} begin", lambda: None)
        inner = await opened.__aenter__()
        calls: list[tuple[str, tuple[Any, ...]]] = []
        try:
            yield _Transaction(self, inner, calls)
        except BaseException:
            self._roll_back(opened)
            raise

        def commit() -> None:
            _at_once(opened.__aexit__(None, None, None))
            database.committed(process, calls)

        left = False

        def leaves() -> None:
            nonlocal left
            left = True

        try:
            await database.world.request(
                f"{database.schema}.commit {_about(database.world, calls)}",
                commit,
                connection_lost,
                leaves=leaves,
                lost=lambda: self._roll_back(opened),
            )
        except BaseException:
            if not left:
                self._roll_back(opened)
            raise

    def _roll_back(self, opened: AbstractAsyncContextManager[Any]) -> None:
        try:
            _at_once(opened.__aexit__(_RolledBack, _RolledBack(), None))
        except _RolledBack:
            return


class _Transaction:
    """A transaction as its process sees it; each call may be the last."""

    def __init__(self, connection: Connection, inner: Any, calls: list[tuple[str, tuple[Any, ...]]]) -> None:
        self._connection = connection
        self._inner = inner
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not iscoroutinefunction(found):
            return found

        async def call(*args: Any, **named: Any) -> Any:
            await self._connection._ask(name, lambda: None)
            self._calls.append((name, args))
            return await found(*args, **named)

        return call


def _about(world: World, calls: Sequence[tuple[str, tuple[Any, ...]]]) -> str:
    """What a transaction did, in short: its writes and whose rows they were."""
    told = []
    for name, args in calls:
        if name in {"add", "save", "apply_kill_switch"} and args:
            row = args[0]
            status = getattr(row, "status", None)
            about = world.named(getattr(row, "order_id", "")) if status else ""
            told.append(f"{name} {about} {status.name}" if status else name)
    return ", ".join(told) or "nothing"


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


class OutboxTable:
    """The outbox of a schema: what the store's transactions left there, who has its lock, who listens."""

    def __init__(self, database: Database, topic_map: TopicMap) -> None:
        self.published: set[int] = set()
        self.holder: RelayConnection | None = None
        self.connections: list[RelayConnection] = []
        self._database = database
        self._topic_map = topic_map
        self._first = 0

    def unpublished(self, limit: int) -> list[OutboxRow]:
        """The oldest rows that aren't published."""
        events = self._database.events()
        while self._first in self.published:
            self._first += 1
        found = [at for at in range(self._first, len(events)) if at not in self.published]
        return [self._row(at, events[at]) for at in found[:limit]]

    def pending(self) -> int:
        """How many rows aren't published."""
        return len(self._database.events()) - len(self.published)

    def notify(self) -> None:
        """NOTIFY, as a commit sends it."""
        for connection in self.connections:
            connection.notified()

    def _row(self, at: int, event: Event) -> OutboxRow:
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

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[RelayConnection]:
        """A connection; it ends with its process."""
        connection = RelayConnection(self._database)
        try:
            yield connection
        finally:
            connection.close()


class RelayConnection:
    """One connection of a relay: the lock it holds and the notifications it hears are its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._table = database.outbox
        self._process = CURRENT.get()
        self._closed = False
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
        await self._database.world.request("listen", lambda: self._listeners.append(heard), connection_lost)

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
        world = self._database.world
        for heard in self._listeners:
            world.loop.call_later(world.latency(), heard, context=self._process.context.copy())

    def broken(self) -> None:
        """The connection breaks: the lock is free at once, its process hears of it when it can."""
        listeners = list(self._listeners)
        self.close()
        world = self._database.world
        for heard in listeners:
            world.loop.call_later(world.latency(), heard, context=self._process.context.copy())

    async def execute(self, statement: Any, values: Any = None) -> Any:
        """One of the relay's statements."""
        sql = statement.text
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
            return _Rows(effect())

        database = self._database
        return await database.world.request(f"{database.schema} relay: {what}", at_server, connection_lost)


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
