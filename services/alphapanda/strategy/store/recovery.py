"""What the schema `strategy` remembers of the event log, for a log that is checked, repaired or restored."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from alphapanda.contract.topics import TopicPartition

_SNAPSHOT_ENDS = text("SELECT partition, max(next_offset) AS next FROM strategy.snapshots GROUP BY partition")
_TICK_ENDS = text(
    "SELECT partition, max(next_offset) AS next FROM ("
    "SELECT partition, next_offset FROM strategy.snapshots"
    " UNION ALL SELECT partition, next_offset FROM strategy.activations"
    " UNION ALL SELECT partition, next_offset FROM strategy.order_inputs) AS places GROUP BY partition"
)
_INPUT_ENDS = text(
    'SELECT place ->> 0 AS topic, (place ->> 1)::integer AS "partition", max((place ->> 2)::bigint) AS next'
    " FROM strategy.input_positions, jsonb_array_elements(positions) AS place GROUP BY 1, 2"
)
_SKIP_TO = text(
    "UPDATE strategy.snapshots SET next_offset = :end WHERE partition = :partition AND next_offset < :end"
)
_FORGET_INPUTS = text("DELETE FROM strategy.order_inputs WHERE partition = :partition AND next_offset < :end")


async def snapshot_ends(connection: AsyncConnection, ticks: str) -> Mapping[TopicPartition, int]:
    """Returns the highest offset of a snapshot, by partition of the topic of ticks."""
    found = await connection.execute(_SNAPSHOT_ENDS)
    return {TopicPartition(ticks, row.partition): int(row.next) for row in found}


async def remembered_ends(connection: AsyncConnection, ticks: str) -> Mapping[TopicPartition, int]:
    """Returns the lowest offset that a new record may have: nothing remembered is of this offset or a later one."""
    ends = {
        TopicPartition(ticks, row.partition): int(row.next) for row in await connection.execute(_TICK_ENDS)
    }
    inputs = await connection.execute(_INPUT_ENDS)
    return ends | {TopicPartition(row.topic, row.partition): int(row.next) for row in inputs}


async def skip_ticks(connection: AsyncConnection, end: TopicPartition, offset: int) -> int:
    """Moves the snapshots of a partition up to an offset, so that no strategy is shown what lies before; returns how many.

    The strategies keep the state that they have: they know nothing of the ticks that are skipped.
    """
    place = {"partition": end.partition, "end": offset}
    await connection.execute(_FORGET_INPUTS, place)
    return int((await connection.execute(_SKIP_TO, place)).rowcount)
