"""Databases for one test each, out of few: emptied after a test that left only rows, made anew where it left more.

A copy of the schema takes 50 ms of processor time, and the first connection to it 30: its files are copied, checkpoints
are written, nothing of it is in memory. Emptied it takes a fifth. What a test can leave besides rows and numbers drawn from
sequences is seen in the catalogs: such a database is dropped. Each test's has a name of its own, so that a process that
outlives its test finds none.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import asyncpg
from sqlalchemy import make_url

CATALOGS = (
    "pg_attrdef",
    "pg_attribute",
    "pg_constraint",
    "pg_db_role_setting",
    "pg_event_trigger",
    "pg_extension",
    "pg_index",
    "pg_inherits",
    "pg_largeobject_metadata",
    "pg_namespace",
    "pg_policy",
    "pg_proc",
    "pg_rewrite",
    "pg_sequence",
    "pg_statistic",
    "pg_trigger",
    "pg_type",
    "alembic_version",
)
OF_A_TABLE = (
    "oid",
    "relname",
    "relnamespace",
    "relowner",
    "relkind",
    "relpersistence",
    "relnatts",
    "relchecks",
    "relhasindex",
    "relhasrules",
    "relhastriggers",
    "relrowsecurity",
    "relacl",
    "reloptions",
)
AS_MADE = " UNION ALL ".join(
    (
        *(f"SELECT '{catalog}', count(*), sum(xmin::text::bigint) FROM {catalog}" for catalog in CATALOGS),
        # All but where its rows are, which emptying changes, and how many there were at the last look.
        f"SELECT 'pg_class', count(*), sum(hashtext(concat_ws(' ', {', '.join(OF_A_TABLE)}))) FROM pg_class",
    )
)
"""What is there besides rows; a change of any of it changes a number."""
WITH_ROWS = """
SELECT oid::regclass::text AS name, pg_relation_size(oid) > 10 * 8192 AS long FROM pg_class
WHERE relkind = 'r' AND relnamespace >= 16384 AND pg_relation_size(oid) > 0
"""
"""Tables that have or had rows. Of a few pages, which a plan takes for as many as no pages, deleting costs least."""
COUNTED_ON = """
SELECT setval(seqrelid, seqstart, false) FROM pg_sequence WHERE pg_sequence_last_value(seqrelid) IS NOT NULL
"""
LEAVE = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = $1"
FORGET = "SELECT pg_stat_reset()"
Work = Callable[[asyncpg.Connection], Coroutine[Any, Any, Any]]


def own_loop() -> asyncio.Runner:
    """A loop beside the one pytest-asyncio keeps for the test, and never the current one outside a call."""
    return asyncio.Runner(loop_factory=asyncio.new_event_loop)


def url_of(dsn: str, database: str) -> str:
    """SQLAlchemy's URL of a database on the server of this DSN."""
    url = make_url(dsn).set(drivername="postgresql+asyncpg", database=database)
    return url.render_as_string(hide_password=False)


class Maintenance:
    """A connection of its own to a database, in a thread and a loop of its own: hundreds of tests need no new one each."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._thread = ThreadPoolExecutor(1)
        self._loop = own_loop()
        self._connection: asyncpg.Connection | None = None

    def submit(self, work: Work) -> Future[Any]:
        """Has work done over the connection, after what was submitted before."""
        return self._thread.submit(self._do, work)

    def execute(self, statement: str) -> Future[Any]:
        """Has a statement executed, the same way."""
        return self.submit(lambda connection: connection.execute(statement))

    def close(self) -> None:
        """Waits until everything submitted is done, and leaves."""
        self._thread.submit(self._leave).result()
        self._thread.shutdown()

    def _do(self, work: Work) -> Any:
        if self._connection is None or self._connection.is_closed():
            self._connection = self._loop.run(asyncpg.connect(self._dsn))
        return self._loop.run(work(self._connection))

    def _leave(self) -> None:
        if self._connection is not None:
            self._loop.run(self._connection.close())
        self._loop.close()


class Copies:
    """Databases of one test each: made from a template, dropped in the background."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._making, self._dropping = Maintenance(dsn), Maintenance(dsn)
        self._dropped: list[Future[Any]] = []

    def of(self, template: str) -> Iterator[str]:
        """A copy; yields its SQLAlchemy URL."""
        name = self.made(template)
        try:
            yield url_of(self._dsn, name)
        finally:
            self._dropped.append(self._dropping.execute(f"DROP DATABASE {name} WITH (FORCE)"))

    def made(self, template: str) -> str:
        """The name of a new one."""
        name = f"test_{uuid4().hex}"
        # Copied as files it is there in a third of the time that pages through the log take.
        self._making.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy").result()
        return name

    def close(self) -> None:
        """Waits until all are gone."""
        self._making.close()
        self._dropping.close()
        for dropped in self._dropped:
            dropped.result()


class Emptied:
    """Databases with every table, all of them empty, made from one template; each is used again, under another name."""

    def __init__(self, dsn: str, copies: Copies, template: str) -> None:
        self._dsn = dsn
        self._copies = copies
        self._template = template
        self._emptying = Maintenance(dsn)
        self._free: deque[Future[str | None]] = deque()
        self.reused: list[str] = []
        """The names of those that were emptied, as they are called now."""
        with own_loop() as loop:
            self._as_made = loop.run(self._inside(template, lambda inside: inside.fetch(AS_MADE)))

    def one(self) -> Iterator[str]:
        """One for a test; yields its SQLAlchemy URL."""
        # Two, so that one is emptied while a test has the other.
        name = self._free.popleft().result() if len(self._free) > 1 else None
        name = name or self._copies.made(self._template)
        try:
            yield url_of(self._dsn, name)
        finally:
            self._free.append(self._emptying.submit(lambda server: self._emptied(server, name)))

    def close(self) -> None:
        """Waits until all are gone."""
        for name in [free.result() for free in self._free]:
            if name is not None:
                self._emptying.execute(f"DROP DATABASE {name}").result()
        self._emptying.close()

    async def _emptied(self, server: asyncpg.Connection, name: str) -> str | None:
        """Empties it; returns its new name, or None where it was dropped because a test left more than rows."""
        await server.fetch(LEAVE, name)
        if not await self._inside(name, self._is_empty):
            await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
            return None
        other = f"test_{uuid4().hex}"
        await server.execute(f"ALTER DATABASE {name} RENAME TO {other}")
        self.reused.append(other)
        return other

    async def _is_empty(self, inside: asyncpg.Connection) -> bool:
        """Whether it is as made, but for its rows, which are gone now."""
        if await inside.fetch(AS_MADE) != self._as_made:
            return False
        tables = await inside.fetch(WITH_ROWS)
        statements = [f"DELETE FROM {table['name']}" for table in tables if not table["long"]]
        if long := [table["name"] for table in tables if table["long"]]:
            statements.append(f"TRUNCATE {', '.join(long)} CASCADE")
        # Neither what refers to the rows nor what refuses their removal is asked.
        await inside.execute(
            "; ".join(["SET session_replication_role = replica", *statements, COUNTED_ON, FORGET])
        )
        return True

    async def _inside(self, name: str, work: Work) -> Any:
        connection = await asyncpg.connect(self._dsn, database=name)
        try:
            return await work(connection)
        finally:
            await connection.close()
