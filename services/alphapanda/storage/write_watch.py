"""Whether anything was written to the database since a look: one cheap question in place of one for each table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, event, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

from alphapanda.storage.engine import without_transactions

# A transaction takes an id with its first write. xmax is the number after the highest id that has ended, xmin the lowest
# that hasn't: below xmax where an older transaction still runs.
_SNAPSHOT = text(
    "SELECT CAST(CAST(pg_snapshot_xmin(s) AS text) AS bigint) AS first,"
    " CAST(CAST(pg_snapshot_xmax(s) AS text) AS bigint) AS next FROM pg_current_snapshot() s"
)
_MARKING: Final = "alphapanda.marking"


class WriteWatch:
    """Compares PostgreSQL's transaction ids.

    Args:
        engine: the database.
        others: this process's other engines of the same database.

    Attributes:
        activity: rises whenever this process may have written: as a statement begins, as it succeeds, at a commit, and when a
            connection is given back after one. Marks don't count. As long as it is what it was before a `mark`, no later mark
            differs because of this process.
    """

    def __init__(self, engine: AsyncEngine, others: Sequence[AsyncEngine] = ()) -> None:
        self.activity = 0
        self._engine = without_transactions(engine)
        for each in (engine, *others):
            for moment in ("before_cursor_execute", "after_cursor_execute", "commit"):
                event.listen(each.sync_engine, moment, self._count)
            event.listen(each.sync_engine, "checkin", self._count_return)

    def _count(self, connection: Connection, *_: Any) -> None:
        if _MARKING not in connection.info:
            self.activity += 1

    def _count_return(self, _: Any, entry: ConnectionPoolEntry) -> None:
        if entry.info.pop(_MARKING, None) is None:
            self.activity += 1

    async def mark(self) -> int | None:
        """Returns the number after the highest id of a transaction that wrote and has ended.

        The next mark is the same as long as no transaction that wrote ends; one that writes and hasn't ended changes
        nothing yet. None while a transaction runs that began to write before one that has ended.
        """
        async with self._engine.connect() as connection:
            connection.sync_connection.info[_MARKING] = True  # type: ignore[union-attr]
            row = (await connection.execute(_SNAPSHOT)).one()
        return int(row.next) if row.first == row.next else None
