"""Publishes a schema's outbox to the log: in order per aggregate, at least once (rule 3).

It reads unpublished rows by `seq`, without a high-water mark: transactions commit out of order, and a mark would skip the
late ones. After a crash between publishing and marking, the same ids are published again; every reader recognises them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg
import structlog
from sqlalchemy import Row, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from alphapanda.eventlog.port import EventLog, LogUnavailable, Record, TopicMissing
from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.backoff import Backoff
from alphapanda.resilience.failures import in_one_line
from alphapanda.storage.outbox import Outbox, channel
from alphapanda.storage.recovered_spans import rows_that_may_be_lost
from alphapanda.storage.relay_spans import RelaySpans, headers_of
from alphapanda.telemetry.tracing import OFF, Tracer

_FLUSH_SECONDS = 2.0
_EXPECTED = (
    SQLAlchemyError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    OSError,
    LogUnavailable,
    TopicMissing,
)

_logger = structlog.get_logger(__name__)


class OutboxRelay:
    """Publishes a schema's outbox. One relay is active across all processes; the others wait as standbys.

    It keeps one connection of the engine, which holds the advisory lock and receives the NOTIFY of each commit. A writer in
    the same process also wakes it by `Outbox.committed`.

    Args:
        engine: the database.
        outbox: the schema's outbox.
        log: gets the events.
        batch_size: rows that are published together.
        backoff: time between attempts while the database or the log is away.
        poll_seconds: time between polls without a NOTIFY, and between attempts of a standby to get the lock.
        silence_seconds: PostgreSQL ends a session, and with it the lock, that is idle for so long: a frozen process must
            not keep the others from publishing. Longer than a few polls, and than a publish may take.
        sleep: waits for seconds.
        wall_clock: wall time, aware.
        tracer: records a span for each event that a recorded decision is behind.
    """

    def __init__(
        self,
        *,
        engine: AsyncEngine,
        outbox: Outbox,
        log: EventLog,
        batch_size: int,
        backoff: Backoff,
        poll_seconds: float = 5.0,
        silence_seconds: float = 15.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        tracer: Tracer = OFF,
    ) -> None:
        self.schema = outbox.schema
        self.published = 0
        self.last_error = ""
        self.last_error_at: datetime | None = None
        self._engine = engine
        self._outbox = outbox
        self._log = log
        self._batch_size = batch_size
        self._poll_seconds = poll_seconds
        self._sleep = sleep
        self._backoff = backoff
        self._wall_clock = wall_clock
        self._spans = RelaySpans(tracer)
        self._recovers = tracer.on
        self._may_be_lost = text(rows_that_may_be_lost(outbox.schema))
        self._wake = asyncio.Event()
        self._busy = True
        self._stopping = False
        self._failures = 0
        self._task: asyncio.Task[None] | None = None
        self._limit: asyncio.Timeout | None = None
        self._logger = _logger.bind(schema=self.schema)
        self._lock = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
        # A mark that a crash of the server loses is made again: its event is published twice, as after a crash before the mark.
        self._prepare = text(
            f"SELECT set_config('idle_session_timeout', '{int(1000 * silence_seconds)}', false),"
            " set_config('synchronous_commit', 'off', false)"
        )
        self._unpublished = text(
            "SELECT seq, event_id, topic, partition, key, value, event_type, source, occurred_at, traceparent"
            f" FROM {self.schema}.outbox WHERE published_at IS NULL ORDER BY seq LIMIT :limit"
        )
        self._mark = text(
            f"UPDATE {self.schema}.outbox SET published_at = :now WHERE seq = ANY(CAST(:seqs AS bigint[]))"
        )

    async def start(self) -> None:
        """Starts; database and log needn't be there yet."""
        self._stopping = False
        self._outbox.relayed_here(self._wake.set)
        self._task = asyncio.create_task(self._run(), name=f"relay.{self.schema}")

    async def stop(self) -> None:
        """Publishes what was committed before and stops; after a limit of time the rest stays for the next relay."""
        if self._task is not None:
            self._stopping = True
            self._wake.set()
            if not self._failures:
                await asyncio.wait([self._task], timeout=_FLUSH_SECONDS)
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    def try_now(self) -> None:
        """Makes a delayed attempt at once: the database has come back."""
        limit, self._limit = self._limit, None
        if limit is not None:
            limit.reschedule(0.0)

    @property
    def serving(self) -> bool:
        """Whether it runs, and database and log are there."""
        return self._task is not None and not self._task.done() and not self._failures

    def idle(self) -> bool:
        """Whether it has published everything it was notified of. `pending` asks the database."""
        return not self._busy and not self._wake.is_set()

    async def pending(self) -> int:
        """Rows not yet published."""
        async with self._engine.connect() as connection:
            return await self._outbox.unpublished(connection)

    # -- the work -----------------------------------------------------------------------------------------------------

    def _failed(self, error: BaseException) -> None:
        self._failures += 1
        self.last_error = in_one_line(error)
        self.last_error_at = self._wall_clock()

    async def _run(self) -> None:
        while not self._stopping:
            error = await attempted(self._relay_while_connected())
            if error is None:
                continue
            self._failed(error)
            if self._stopping:
                return
            if self._failures & (self._failures - 1) == 0:  # the 1st, 2nd, 4th, 8th …
                self._report(error)
            await self._rest(self._backoff.seconds(self._failures))

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(None) as self._limit:
                await self._sleep(seconds)
        except TimeoutError:
            return
        finally:
            self._limit = None

    def _report(self, error: Exception) -> None:
        text = in_one_line(error)
        if isinstance(error, _EXPECTED):
            self._logger.warning("relay.waiting", failures=self._failures, error=text)
        else:
            self._logger.error(
                "relay.failed", alarm=True, failures=self._failures, error=text, exc_info=error
            )

    async def _relay_while_connected(self) -> None:
        async with self._engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            try:
                await connection.execute(self._prepare)
                await self._listen(connection)
                while not await self._locked(connection):
                    if self._stopping:
                        return
                    self._failures = 0
                    self._busy = False
                    await self._wait()
                    self._wake.clear()  # every commit notifies the standby, which would retry the lock without a pause
                await self._relay(connection)
            finally:
                # The pool must not get back a connection that holds the lock and listens.
                await connection.invalidate()

    async def _listen(self, connection: AsyncConnection) -> None:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.add_listener(channel(self.schema), lambda *_: self._wake.set())
        driver.add_termination_listener(lambda *_: self._wake.set())

    async def _locked(self, connection: AsyncConnection) -> bool:
        found = await connection.execute(self._lock, {"name": channel(self.schema)})
        return bool(found.scalar_one())

    async def _recover_spans(self, connection: AsyncConnection) -> None:
        self._recovers = False  # once, whatever comes of it: no event waits for its trace
        found = await connection.execute(self._may_be_lost, {"now": self._wall_clock()})
        self._spans.recover(found.all())

    async def _relay(self, connection: AsyncConnection) -> None:
        if self._recovers:
            await self._recover_spans(connection)
        while True:
            last = self._stopping  # read before the rows: everything committed by then is among them
            self._busy = True
            self._wake.clear()
            found = await connection.execute(self._unpublished, {"limit": self._batch_size})
            rows = found.all()
            if rows:
                await self._publish(connection, rows)
            self._failures = 0
            if len(rows) < self._batch_size:
                if last:
                    return
                self._busy = False
                await self._wait()

    async def _publish(self, connection: AsyncConnection, rows: Sequence[Row[Any]]) -> None:
        await self._log.publish(
            [
                Record(
                    row.topic,
                    row.partition,
                    bytes(row.key),
                    bytes(row.value),
                    headers_of(row),
                )
                for row in rows
            ]
        )
        now = self._wall_clock()
        self._spans.published(rows, now)
        await connection.execute(self._mark, {"now": now, "seqs": [row.seq for row in rows]})
        self.published += len(rows)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._poll_seconds):
                await self._wake.wait()
        except TimeoutError:
            return
