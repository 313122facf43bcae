"""Processes' connections to the stores in memory: statements that wait, commits that get lost, locks that outlive nobody.

A commit is a message like any other: once it has left, what becomes of its sender doesn't matter to it. A transaction
whose commit never left is rolled back when its process dies, and its locks are free.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from inspect import iscoroutinefunction
from typing import Any

from tests.simulation.loop import CURRENT, Process
from tests.simulation.outbox import OutboxTable, connection_lost
from tests.simulation.world import World

from alphapanda.contract.topics import TopicMap
from panda.events.v1.events_pb2 import Event

PARTS = frozenset({"changes", "protections"})
"""Parts of a store, and of its transactions, whose methods are messages, too."""
IDLE_SECONDS = 10.0
"""As storage.engine.open_engine asks of PostgreSQL."""

OnCommit = Callable[[str, Process, Sequence[tuple[str, tuple[Any, ...]]]], None]
"""Told of a commit: the schema, whose it was, and the calls (name, arguments) made in it."""


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
        self.outbox = OutboxTable(events, topic_map)
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
        if name in PARTS:
            return _Part(name, method, self._asked)
        if name in self._transactions:
            return lambda *args: self._transaction(name, method(*args))
        if name in self._writes:
            return lambda *args, **named: self._write(name, args, lambda: method(*args, **named))
        if name in self._waiting:
            return lambda *args, **named: self._wait(name, args, lambda: method(*args, **named))
        if iscoroutinefunction(method):
            return lambda *args, **named: self._ask(name, lambda: _at_once(method(*args, **named)))
        return method

    async def _asked(self, what: str, method: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        return await self._ask(what, lambda: _at_once(method(*args)))

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

    async def _wait(
        self, name: str, args: tuple[Any, ...], call: Callable[[], Coroutine[Any, Any, Any]]
    ) -> Any:
        """The server carries it out, however long that takes and whatever becomes of who asked."""
        database, process = self._database, CURRENT.get()
        world = database.world

        async def carried_out() -> Any:
            result = await call()
            database.committed(process, [(name, args)])
            return result

        task = await self._ask(name, lambda: world.loop.spawn(world.outside, carried_out()))
        await asyncio.wait([task])
        return await self._ask(f"answer to {name}", task.result)

    @asynccontextmanager
    async def _transaction(self, name: str, opened: AbstractAsyncContextManager[Any]) -> AsyncIterator[Any]:
        database, process = self._database, CURRENT.get()
        session = _Session(database, opened)
        calls: list[tuple[str, tuple[Any, ...]]] = []
        left = False

        def leaves() -> None:
            nonlocal left
            left = True

        def commit() -> None:
            session.commit()
            database.committed(process, calls)

        try:
            began = await self._ask(f"{name} begin", session.begin)
            await asyncio.wait([began])
            yield _Transaction(self, session, began.result(), calls)
            about = f"{database.schema}.commit {_about(database.world, calls)}"
            await database.world.request(
                about, commit, connection_lost, leaves=leaves, lost=session.roll_back
            )
        except BaseException:
            if not left:  # the server sees the connection go
                session.roll_back()
            raise


class _Session:
    """A transaction at the server, which undoes it where its client is silent for too long."""

    def __init__(self, database: Database, opened: AbstractAsyncContextManager[Any]) -> None:
        self._world = database.world
        self._schema = database.schema
        self._opened = opened
        self._process = CURRENT.get()
        self._began: asyncio.Future[Any] | None = None
        self._over = self._undone = False
        self._said = 0

    def begin(self) -> asyncio.Future[Any]:
        """Begins it; done once it has the locks it waits for."""
        if self._began is None and not self._over:
            self._began = self._world.loop.spawn(self._world.outside, self._opened.__aenter__())
            self._began.add_done_callback(self._has_begun, context=self._world.outside.context.copy())
        return self._began or self._world.loop.create_future()

    def _has_begun(self, began: asyncio.Future[Any]) -> None:
        if self._over and not began.cancelled():
            self._undo()
        else:
            self._listen()

    def hear(self) -> None:
        """A statement."""
        if self._over:
            raise connection_lost("the server has ended this transaction")
        self._listen()

    def commit(self) -> None:
        """COMMIT."""
        self.hear()
        self._over = True
        _at_once(self._opened.__aexit__(None, None, None))

    def roll_back(self) -> None:
        """ROLLBACK, or the end of the connection."""
        if self._over:
            return
        self._over = True
        if self._began is not None and not self._began.done():
            self._began.cancel()
        elif self._began is not None:
            self._undo()

    def _undo(self) -> None:
        if self._undone:
            return
        self._undone = True
        try:
            _at_once(self._opened.__aexit__(_RolledBack, _RolledBack(), None))
        except _RolledBack:
            return

    def _listen(self) -> None:
        self._said += 1
        loop, outside = self._world.loop, self._world.outside
        loop.call_later(IDLE_SECONDS, self._silent, self._said, context=outside.context.copy())

    def _silent(self, said: int) -> None:
        if said == self._said and not self._over:
            self._world.tell(
                f"{self._schema} transaction", fault="undone: silent for too long", process=self._process
            )
            self.roll_back()


class _Transaction:
    """A transaction as its process sees it; each call may be the last."""

    def __init__(
        self, connection: Connection, session: _Session, inner: Any, calls: list[tuple[str, tuple[Any, ...]]]
    ) -> None:
        self._connection = connection
        self._session = session
        self._inner = inner
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name in PARTS:
            return _Part(name, found, self._heard)
        if not iscoroutinefunction(found):
            return found

        async def call(*args: Any, **named: Any) -> Any:
            await self._connection._ask(name, self._session.hear)
            self._calls.append((name, args))
            return await found(*args, **named)

        return call

    async def _heard(self, what: str, method: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        await self._connection._ask(what, self._session.hear)
        self._calls.append((what, args))
        return await method(*args)


class _Part:
    """A part of a store or transaction, such as the changes of orders."""

    def __init__(
        self, name: str, inner: Any, ask: Callable[[str, Callable[..., Any], tuple[Any, ...]], Any]
    ) -> None:
        self._name = name
        self._inner = inner
        self._ask = ask

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        return lambda *args: self._ask(f"{self._name}.{name}", method, args)


def _about(world: World, calls: Sequence[tuple[str, tuple[Any, ...]]]) -> str:
    """What a transaction did, in short: its writes and whose rows they were."""
    told = []
    for name, args in calls:
        if name in {"add", "add_if_unchanged", "save"} and args and isinstance(args[0], Sequence):
            told += [
                f"{name} {world.named(change.order.order_id)} {change.order.status.name}"
                for change in args[0]
            ]
        elif name in {"changes.add", "changes.save"}:
            told += [
                f"{name} {world.named(one.order_id)} {one.kind.name} {one.status.name}" for one in args[0]
            ]
        elif name == "apply_kill_switch":
            told.append(name)
    return ", ".join(told) or "nothing"
