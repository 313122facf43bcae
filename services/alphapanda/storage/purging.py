"""Deletes rows that have outlived their use, in small steps, so that no table grows without bound."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.resilience.rounds import Rounds
from alphapanda.storage.engine import without_transactions

STEP = 1_000
"""Most rows that one statement deletes: its locks and its log are those of a moment."""

PAUSE_SECONDS = 0.05
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Purge:
    """Rows of a table that are deleted once they are old enough.

    Attributes:
        table: with its schema, such as "risk.requests".
        rows: SQL that returns the ctid of the oldest rows to be deleted, by an index; `:before` is the wall time up to which
            rows go, `:most` how many at once.
        keep: how long they are kept: longer than anything that may ask for them again. Of no meaning without `:before`.
    """

    table: str
    rows: str
    keep: timedelta = timedelta(0)


def oldest(table: str, time: str, also: str = "true") -> str:
    """SQL for the rows that are oldest by an indexed time."""
    return f"SELECT ctid FROM {table} WHERE {time} < :before AND {also} ORDER BY {time} LIMIT :most"


def requests_purge(schema: str, keep: timedelta) -> Purge:
    """Remembered answers to commands of a service: after that a repeated request_id is a new command."""
    return Purge(f"{schema}.requests", oldest(f"{schema}.requests", "received_at"), keep)


def outbox_purge(schema: str, keep: timedelta) -> Purge:
    """Published rows of a service's outbox, which only a repair of the log reads again."""
    return Purge(f"{schema}.outbox", oldest(f"{schema}.outbox", "published_at"), keep)


class Purging:
    """Purges a service's tables at an interval. Two processes of a service may do so at once.

    Args:
        service: short name, such as "risk".
        engine: the database.
        purges: what goes when.
        interval_seconds: wall time between two rounds; the first begins after one.
        wall_clock: returns the current wall time, aware.

    Attributes:
        rounds: the rounds; part and check of the service.
        deleted: rows deleted since the process started.
    """

    def __init__(
        self,
        service: str,
        engine: AsyncEngine,
        purges: Sequence[Purge],
        interval_seconds: float,
        wall_clock: Callable[[], datetime],
    ) -> None:
        self.rounds = Rounds("purging", self.purge, interval_seconds, _log)
        self.deleted = 0
        self._service = service
        self._engine = without_transactions(engine)
        self._purges = [(purge, text(statement(purge))) for purge in purges]
        self._wall_clock = wall_clock

    async def purge(self) -> None:
        """Deletes all rows that are old enough now.

        Raises:
            SQLAlchemyError, OSError: the database can't be reached.
        """
        for purge, delete in self._purges:
            before, deleted = self._wall_clock() - purge.keep, 0
            while step := await self._step(delete, before):
                deleted += step
                self.deleted += step
                if step < STEP:
                    break
                await asyncio.sleep(PAUSE_SECONDS)
            if deleted:
                _log.info(
                    "rows.purged", service=self._service, table=purge.table, rows=deleted, before=before
                )

    async def _step(self, delete: TextClause, before: datetime) -> int:
        async with self._engine.connect() as connection:
            done = await connection.execute(delete, {"before": before, "most": STEP})
            return done.rowcount


def statement(purge: Purge) -> str:
    """The SQL of one step, with `:before` and `:most`."""
    return f"DELETE FROM {purge.table} WHERE ctid = ANY(ARRAY({purge.rows}))"
