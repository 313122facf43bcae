"""Statements counted where they are sent, so that a test can say how many something costs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import asyncpg
from sqlalchemy import event, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from typing_extensions import override

from alphapanda.storage.outbox import channel
from alphapanda.storage.relay import OutboxRelay


@dataclass
class Sent:
    """Statements in the order they were sent; BEGIN, COMMIT and ROLLBACK are the driver's own."""

    statements: list[str] = field(default_factory=list)

    def listen(self, engine: AsyncEngine) -> None:
        """To be called before the engine's first connection."""
        event.listen(engine.sync_engine, "before_cursor_execute", self._executes)
        event.listen(engine.sync_engine, "connect", self._connects)

    def _executes(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self.statements.append(statement)

    def _connects(self, connection: Any, _record: Any) -> None:
        connection.driver_connection.add_query_logger(self._logs)

    def _logs(self, sent: Any) -> None:
        if sent.query.startswith(("BEGIN", "COMMIT", "ROLLBACK")):
            self.statements.append(sent.query)


class CountedRelay(OutboxRelay):
    """A relay whose statements are counted exactly: a test can wait until nothing is left for it to do."""

    @override
    async def _listen(self, connection: AsyncConnection) -> None:
        await super()._listen(connection)
        self.heard: set[str] = set()
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.add_listener(channel(self.schema), lambda *heard: self.heard.add(heard[-1]))


@dataclass
class Quiet:
    """Waits for relays over a connection of its own, none of whose statements is counted."""

    connection: asyncpg.Connection

    async def before(self, *relays: CountedRelay) -> None:
        """Until every row is published and no NOTIFY is under way: each relay has handled one sent after all others."""
        await self.after(*relays)
        for relay in relays:
            last = uuid4().hex
            await self.connection.fetchval("SELECT pg_notify($1, $2)", channel(relay.schema), last)
            await _until(lambda relay=relay, last=last: last in relay.heard and relay.idle())

    async def after(self, *relays: CountedRelay) -> None:
        """Until every row that was committed is published; what was counted by then is what it costs."""
        async with asyncio.timeout(60):
            for relay in relays:
                unpublished = f"SELECT count(*) FROM {relay.schema}.outbox WHERE published_at IS NULL"
                while not relay.serving or await self.connection.fetchval(unpublished):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                await _until(relay.idle)


@asynccontextmanager
async def quiet(database: str) -> AsyncIterator[Quiet]:
    """What waits for relays on a database, given by its SQLAlchemy URL."""
    url = make_url(database).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(url)
    try:
        yield Quiet(connection)
    finally:
        await connection.close()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
