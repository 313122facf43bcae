"""Whether anything was written to the database since a look: one cheap question in place of one for each table."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.storage.engine import without_transactions

# A transaction takes an id with its first write. Between xmin and xmax are those that are still running.
_SNAPSHOT = text(
    "SELECT CAST(CAST(pg_snapshot_xmin(s) AS text) AS bigint) AS first,"
    " CAST(CAST(pg_snapshot_xmax(s) AS text) AS bigint) AS next FROM pg_current_snapshot() s"
)


class WriteWatch:
    """Compares PostgreSQL's transaction ids.

    Args:
        engine: the database.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = without_transactions(engine)

    async def mark(self) -> int | None:
        """Returns the next transaction id, the same as before as long as nothing is written; None while somebody writes."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(_SNAPSHOT)).one()
        return int(row.next) if row.first == row.next else None
