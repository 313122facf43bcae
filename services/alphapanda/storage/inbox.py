"""Inputs seen, stored in the transaction of their effects (rule 1)."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


class Inbox:
    """The inbox of one service's schema, for inputs whose effect is not a row under the input's own id."""

    def __init__(self, schema: str) -> None:
        self._claim = text(
            f"INSERT INTO {schema}.inbox (consumer, event_id) SELECT :consumer, unnest(CAST(:ids AS uuid[]))"
            " ON CONFLICT DO NOTHING RETURNING event_id"
        )

    async def claim(self, connection: AsyncConnection, consumer: str, event_ids: Sequence[str]) -> set[str]:
        """The ids that this consumer had not seen; they count as seen once the caller's transaction commits.

        A transaction that claims one of them at the same time is waited for; sorted, two of these can't deadlock.
        """
        claimed = await connection.execute(
            self._claim, {"consumer": consumer, "ids": sorted(frozenset(event_ids))}
        )
        return {str(row[0]) for row in claimed}
