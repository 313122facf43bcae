"""What the schema `strategy` remembers of the event log, for a log that is checked, repaired or restored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from alphapanda.contract.topics import TopicPartition
from alphapanda.domain import ids
from alphapanda.storage.outbox import Outbox
from alphapanda.strategy.store.port import StrategyStore
from alphapanda.strategy.wire import SOURCE, changed_event

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
    "UPDATE strategy.snapshots SET next_offset = :to WHERE partition = :partition AND next_offset < :to"
)
_SKIP_INPUTS = text(
    "UPDATE strategy.input_positions SET positions = (SELECT jsonb_agg(jsonb_build_array(place -> 0, place -> 1,"
    " coalesce(ends.next, (place ->> 2)::bigint))) FROM jsonb_array_elements(positions) AS place"
    " LEFT JOIN unnest(CAST(:topics AS text[]), CAST(:partitions AS integer[]), CAST(:ends AS bigint[]))"
    ' AS ends (topic, "partition", next) ON ends.topic = place ->> 0 AND ends."partition" = (place ->> 1)::integer)'
    " WHERE jsonb_array_length(positions) > 0"
)
_AGAIN: Final = (
    "state, strategy_type, parameters, instruments, brokers, account, quantity, size, product, signal_ttl_seconds,"
    " changed_by, changed_at"
)
_RAISE = text(
    f"WITH raised AS (INSERT INTO strategy.revisions (strategy_id, revision, note, {_AGAIN})"
    f" SELECT strategy_id, CAST(:seen AS bigint) + 1, :note, {_AGAIN} FROM strategy.revisions"
    " WHERE (strategy_id, revision) = (SELECT strategy_id, revision FROM strategy.strategies"
    " WHERE strategy_id = :strategy_id AND revision < :seen) RETURNING strategy_id, revision)"
    " UPDATE strategy.strategies AS s SET revision = raised.revision FROM raised WHERE s.strategy_id = raised.strategy_id"
)
_FORGET_INPUTS = text("DELETE FROM strategy.order_inputs WHERE partition = :partition AND next_offset < :to")


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
    place = {"partition": end.partition, "to": offset}
    await connection.execute(_FORGET_INPUTS, place)
    return int((await connection.execute(_SKIP_TO, place)).rowcount)


async def skip_inputs(connection: AsyncConnection, ends: Mapping[TopicPartition, int]) -> None:
    """Moves every place up to which order topics were read as strategies' inputs to an offset of the partition's."""
    places = list(ends.items())
    asked = {
        "topics": [at.topic for at, _ in places],
        "partitions": [at.partition for at, _ in places],
        "ends": [end for _, end in places],
    }
    await connection.execute(_SKIP_INPUTS, asked)


async def raise_revisions(connection: AsyncConnection, seen: Mapping[str, int], note: str) -> int:
    """Gives strategies as they are a revision above the one that the log has seen; returns how many.

    The log's readers follow the newest revision, and wouldn't take an older one for what is true now.

    Args:
        connection: a transaction.
        seen: the highest revision on the log, by strategy.
        note: why, for the revision.
    """
    raised = 0
    for strategy_id, revision in seen.items():
        asked = {"strategy_id": strategy_id, "seen": revision, "note": note}
        raised += int((await connection.execute(_RAISE, asked)).rowcount)
    return raised


async def announce_strategies(connection: AsyncConnection, store: StrategyStore, outbox: Outbox) -> int:
    """Adds an event of each strategy's current revision, for a log that lost the earlier ones; returns how many."""
    events = []
    for config in await store.current():
        stored = await store.get(config.strategy_id)
        if stored is not None:
            cause = ids.output_id(SOURCE, config.strategy_id, "announced_strategy", config.revision)
            events.append(
                changed_event(
                    stored,
                    event_id=ids.output_id(SOURCE, cause, "strategy_changed"),
                    correlation_id=cause,
                    causation_id=cause,
                )
            )
    await outbox.add(connection, events)
    return len(events)
