"""Strategy's store in PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.message import Message
from sqlalchemy import Row, TextClause, insert, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from typing_extensions import override

from alphapanda.contract.topics import TopicPartition
from alphapanda.domain.order import Product
from alphapanda.storage.engine import without_transactions
from alphapanda.storage.outbox import Outbox
from alphapanda.storage.purging import Purge
from alphapanda.storage.requests import CommandKey, RequestMemory
from alphapanda.strategy.core.config import Flattening, StrategyConfig, StrategyInstrument, StrategyState
from alphapanda.strategy.store.port import (
    Activation,
    Answer,
    Change,
    Decide,
    Memory,
    OrderInput,
    OrderInputs,
    Ownership,
    OwnershipLost,
    Snapshot,
    StoredStrategy,
    StrategyStore,
)
from alphapanda.strategy.store.tables import REVISIONS
from panda.events.v1.events_pb2 import Event

SCHEMA = "strategy"

_CONFIG = ", ".join(f"r.{column.name}" for column in REVISIONS.c)
_CURRENT = (
    f"SELECT {_CONFIG} FROM strategy.strategies s JOIN strategy.revisions r USING (strategy_id, revision)"
)
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('strategy ' || :strategy_id, 0))")
_GET = text(f"{_CURRENT} WHERE strategy_id = :strategy_id")
_ALL = text(f"{_CURRENT} ORDER BY strategy_id")
_ADD_REVISION = insert(REVISIONS)
_SET_CURRENT = text(
    "INSERT INTO strategy.strategies (strategy_id, revision, state) VALUES (:strategy_id, :revision, :state)"
    " ON CONFLICT (strategy_id) DO UPDATE SET revision = excluded.revision, state = excluded.state"
)
_ACTIVATE = text(
    "INSERT INTO strategy.activations (strategy_id, revision, partition, next_offset)"
    " VALUES (:strategy_id, :revision, :partition, :next_offset) ON CONFLICT DO NOTHING"
)
_NUMBERED = text("SELECT 1 FROM strategy.strategies OFFSET :before LIMIT 1")
_ACTIVATIONS = text(
    "SELECT strategy_id, revision, partition, next_offset FROM strategy.activations"
    " WHERE strategy_id = :strategy_id ORDER BY partition, revision"
)
# What a restart needs: the activations after a snapshot, and the one before it, which says what its revision replaced.
ACTIVATIONS_PURGE = Purge(
    "strategy.activations",
    "SELECT t.ctid FROM strategy.activations t WHERE t.revision < (SELECT max(a.revision) FROM strategy.activations a"
    " JOIN strategy.snapshots s USING (strategy_id, partition) WHERE a.strategy_id = t.strategy_id"
    " AND a.partition = t.partition AND a.revision < s.revision) LIMIT :most",
)
_SAVE = text(
    "INSERT INTO strategy.snapshots AS held (strategy_id, partition, next_offset, revision, state, missing)"
    " VALUES (:strategy_id, :partition, :next_offset, :revision, :state, :missing)"
    " ON CONFLICT (strategy_id, partition) DO UPDATE SET next_offset = excluded.next_offset,"
    " revision = excluded.revision, state = excluded.state, missing = excluded.missing, stored_at = now()"
    " WHERE excluded.next_offset >= held.next_offset AND excluded.revision >= held.revision"
)
_SNAPSHOTS = text(
    f"SELECT {_CONFIG}, s.next_offset, s.state AS remembered, (SELECT coalesce(max(a.revision), 0)"
    " FROM strategy.activations a WHERE a.strategy_id = s.strategy_id AND a.partition = s.partition"
    " AND a.revision < s.revision) AS replaced"
    " FROM strategy.snapshots s JOIN strategy.revisions r USING (strategy_id, revision)"
    " WHERE s.partition = :partition ORDER BY s.next_offset, strategy_id"
)
_TAKE = text(
    "INSERT INTO strategy.partition_owners AS held (partition, epoch) VALUES (:partition, 1)"
    " ON CONFLICT (partition) DO UPDATE SET epoch = held.epoch + 1 RETURNING epoch"
)
# A shared lock: a take-over waits for what the previous owner is storing, and the previous owner then sees the new epoch.
_EPOCH = text("SELECT epoch FROM strategy.partition_owners WHERE partition = :partition FOR SHARE")
# The lock is written to the journal, too, but a crash may lose it: without this every check would wait for the disk.
_EPOCH_ALONE = text(
    "SELECT epoch, set_config('synchronous_commit', 'off', true) FROM strategy.partition_owners"
    " WHERE partition = :partition FOR SHARE"
)
_RECORD_INPUT = text(
    "INSERT INTO strategy.order_inputs (partition, next_offset, event) VALUES (:partition, :next_offset, :event)"
)
_SET_POSITIONS = text(
    "INSERT INTO strategy.input_positions (partition, positions) VALUES (:partition, CAST(:positions AS jsonb))"
    " ON CONFLICT (partition) DO UPDATE SET positions = excluded.positions"
)
_FORGET_INPUTS = text(
    "DELETE FROM strategy.order_inputs WHERE partition = :partition AND next_offset < :before"
)
_INPUTS = text(
    "SELECT next_offset, event FROM strategy.order_inputs WHERE partition = :partition ORDER BY next_offset, seq"
)
_POSITIONS = text("SELECT positions FROM strategy.input_positions WHERE partition = :partition")
_MISSING = text(
    "SELECT s.strategy_id, max(s.missing) AS missing FROM strategy.snapshots s JOIN strategy.strategies c"
    f" USING (strategy_id, revision) WHERE s.missing > 0 AND c.state = {int(StrategyState.RUNNING)} AND s.strategy_id = ANY(:strategy_ids)"
    " GROUP BY s.strategy_id"
)
_LOCK_ALL = text("LOCK TABLE strategy.strategies IN SHARE ROW EXCLUSIVE MODE")
_ANY = text("SELECT EXISTS (SELECT FROM strategy.strategies)")


class PostgresStrategyStore(StrategyStore):
    """Strategy's store on the schema `strategy`.

    Args:
        engine: the database.
        outbox: the schema's outbox.
    """

    def __init__(self, engine: AsyncEngine, outbox: Outbox) -> None:
        self._engine = engine
        self._reading = without_transactions(engine)
        self._outbox = outbox
        self._requests = RequestMemory(SCHEMA)

    @override
    async def command(
        self, key: CommandKey, request: Message, strategy_id: str, decide: Decide, answer: Answer
    ) -> bytes:
        async with self._engine.begin() as connection:
            before = await self._requests.claim(connection, key, request)
            if before is not None:
                return before
            stored = await self._change(connection, strategy_id, decide)
            if stored is None:
                raise ValueError("a command's decision must raise or leave a strategy")
            message = answer(stored)
            await self._requests.remember(connection, key, message)
            return message.SerializeToString(deterministic=True)

    @override
    async def change(self, strategy_id: str, decide: Decide) -> StoredStrategy | None:
        async with self._engine.begin() as connection:
            return await self._change(connection, strategy_id, decide)

    @override
    async def get(self, strategy_id: str) -> StoredStrategy | None:
        async with self._reading.connect() as connection:
            return await self._get(connection, strategy_id)

    @override
    async def has_at_least(self, number: int) -> bool:
        async with self._reading.connect() as connection:
            return (await connection.execute(_NUMBERED, {"before": number - 1})).first() is not None

    @override
    async def page(self, state: StrategyState | None, after: str, limit: int) -> Sequence[StoredStrategy]:
        conditions = ["strategy_id > :after", f"s.state <> {int(StrategyState.DELETED)}"]
        values: dict[str, Any] = {"after": after, "limit": limit}
        if state is not None:
            conditions.append("s.state = :state")
            values["state"] = int(state)
        query = f"{_CURRENT} WHERE {' AND '.join(conditions)} ORDER BY strategy_id LIMIT :limit"
        async with self._reading.connect() as connection:
            return [_stored(row) for row in await connection.execute(text(query), values)]

    @override
    async def current(self) -> Sequence[StrategyConfig]:
        async with self._reading.connect() as connection:
            return [_config(row) for row in await connection.execute(_ALL)]

    @override
    async def seed(self, changes: Sequence[Change]) -> bool:
        async with self._engine.begin() as connection:
            await connection.execute(_LOCK_ALL)
            if (await connection.execute(_ANY)).scalar_one():
                return False
            for change in changes:
                await self._add(connection, change)
            return True

    @override
    async def take(self, partition: int) -> Ownership:
        async with self._engine.begin() as connection:
            epoch = (await connection.execute(_TAKE, {"partition": partition})).scalar_one()
            return Ownership(partition, epoch)

    @override
    async def require(self, owner: Ownership) -> None:
        async with self._reading.connect() as connection:
            await self._require(connection, owner, _EPOCH_ALONE)

    @override
    async def activate(self, owner: Ownership, activation: Activation, warmed: Memory) -> None:
        values = {
            "strategy_id": activation.strategy_id,
            "revision": activation.revision,
            "partition": activation.partition,
            "next_offset": activation.next_offset,
        }
        async with self._engine.begin() as connection:
            await self._require(connection, owner)
            await connection.execute(_ACTIVATE, values)
            remembered = {"state": warmed.state, "missing": warmed.missing}
            saved = await connection.execute(_SAVE, values | remembered)
            if not saved.rowcount:
                raise OwnershipLost(
                    f"the partition's snapshot is of a later offset or revision than {activation}"
                )

    @override
    async def activations(self, strategy_id: str) -> Sequence[Activation]:
        async with self._reading.connect() as connection:
            rows = await connection.execute(_ACTIVATIONS, {"strategy_id": strategy_id})
            return [Activation(*row) for row in rows]

    @override
    async def save(self, owner: Ownership, next_offset: int, states: Mapping[str, Memory]) -> None:
        if not states:
            return
        rows = [
            {
                "strategy_id": strategy_id,
                "partition": owner.partition,
                "next_offset": next_offset,
                **memory._asdict(),
            }
            for strategy_id, memory in sorted(states.items())
        ]
        async with self._engine.begin() as connection:
            await self._require(connection, owner)
            await connection.execute(_SAVE, rows)

    @override
    async def record_inputs(
        self,
        owner: Ownership,
        next_offset: int,
        events: Sequence[Event],
        positions: Mapping[TopicPartition, int],
    ) -> None:
        rows = [
            {"partition": owner.partition, "next_offset": next_offset, "event": event.SerializeToString()}
            for event in events
        ]
        async with self._engine.begin() as connection:
            await self._require(connection, owner)
            if rows:
                await connection.execute(_RECORD_INPUT, rows)
            await connection.execute(_SET_POSITIONS, _positions(owner, positions))

    @override
    async def forget_inputs(
        self, owner: Ownership, before: int, positions: Mapping[TopicPartition, int]
    ) -> None:
        async with self._engine.begin() as connection:
            await self._require(connection, owner)
            await connection.execute(_FORGET_INPUTS, {"partition": owner.partition, "before": before})
            await connection.execute(_SET_POSITIONS, _positions(owner, positions))

    @override
    async def inputs(self, partition: int) -> OrderInputs:
        async with self._reading.connect() as connection:
            positions = (await connection.execute(_POSITIONS, {"partition": partition})).scalar_one_or_none()
            rows = await connection.execute(_INPUTS, {"partition": partition})
            return OrderInputs(
                None
                if positions is None
                else {TopicPartition(topic, number): offset for topic, number, offset in _json(positions)},
                [OrderInput(row.next_offset, Event.FromString(bytes(row.event))) for row in rows],
            )

    @override
    async def missing(self, strategy_ids: Sequence[str]) -> Mapping[str, int]:
        async with self._reading.connect() as connection:
            rows = await connection.execute(_MISSING, {"strategy_ids": list(strategy_ids)})
            return {row.strategy_id: row.missing for row in rows}

    @override
    async def snapshots(self, partition: int) -> Sequence[Snapshot]:
        async with self._reading.connect() as connection:
            rows = await connection.execute(_SNAPSHOTS, {"partition": partition})
            return [
                Snapshot(_config(row), row.next_offset, bytes(row.remembered), row.replaced) for row in rows
            ]

    async def _require(
        self, connection: AsyncConnection, owner: Ownership, statement: TextClause = _EPOCH
    ) -> None:
        row = (await connection.execute(statement, {"partition": owner.partition})).one_or_none()
        epoch = None if row is None else row.epoch
        if epoch != owner.epoch:
            raise OwnershipLost(
                f"partition {owner.partition} was taken over: its epoch is {epoch}, this process owned epoch {owner.epoch}"
            )

    async def _get(self, connection: AsyncConnection, strategy_id: str) -> StoredStrategy | None:
        row = (await connection.execute(_GET, {"strategy_id": strategy_id})).one_or_none()
        return None if row is None else _stored(row)

    async def _change(
        self, connection: AsyncConnection, strategy_id: str, decide: Decide
    ) -> StoredStrategy | None:
        # A lock on the name, because a new strategy has no row to lock.
        await connection.execute(_LOCK, {"strategy_id": strategy_id})
        stored = await self._get(connection, strategy_id)
        change = decide(stored)
        if change is None:
            return stored
        await self._add(connection, change)
        return change.strategy

    async def _add(self, connection: AsyncConnection, change: Change) -> None:
        row = _row(change.strategy)
        await connection.execute(_ADD_REVISION, row)
        await connection.execute(_SET_CURRENT, row)
        await self._outbox.add(connection, [change.event])


def _positions(owner: Ownership, positions: Mapping[TopicPartition, int]) -> dict[str, Any]:
    rows = [[*at, offset] for at, offset in sorted(positions.items())]
    return {"partition": owner.partition, "positions": json.dumps(rows)}


def _row(strategy: StoredStrategy) -> dict[str, Any]:
    config = strategy.config
    return {
        "strategy_id": config.strategy_id,
        "revision": config.revision,
        "state": int(config.state),
        "strategy_type": config.strategy_type,
        "parameters": dict(config.parameters),
        "instruments": _pairs(config.instruments),
        "brokers": list(config.brokers),
        "account": config.account,
        "quantity": config.quantity,
        "size": config.size,
        "product": int(config.product),
        "signal_ttl_seconds": config.signal_ttl_seconds,
        "flattens": None
        if config.flattens is None
        else [config.flattens.revision, _pairs(config.flattens.instruments), int(config.flattens.product)],
        "note": strategy.note,
        "changed_by": strategy.changed_by,
        "changed_at": strategy.changed_at,
    }


def _stored(row: Row[Any]) -> StoredStrategy:
    return StoredStrategy(_config(row), row.note, row.changed_by, row.changed_at)


def _config(row: Row[Any]) -> StrategyConfig:
    return StrategyConfig(
        strategy_id=row.strategy_id,
        revision=row.revision,
        state=StrategyState(row.state),
        strategy_type=row.strategy_type,
        parameters=_json(row.parameters),
        instruments=_instruments(_json(row.instruments)),
        brokers=tuple(row.brokers),
        account=row.account,
        quantity=row.quantity,
        size=row.size,
        product=Product(row.product),
        signal_ttl_seconds=row.signal_ttl_seconds,
        flattens=_flattening(_json(row.flattens)),
    )


def _pairs(instruments: Sequence[StrategyInstrument]) -> list[tuple[str, int]]:
    return [(each.instrument_id, each.instrument_token) for each in instruments]


def _instruments(pairs: Sequence[Sequence[Any]]) -> tuple[StrategyInstrument, ...]:
    return tuple(StrategyInstrument(*pair) for pair in pairs)


def _flattening(stored: Any) -> Flattening | None:
    return None if stored is None else Flattening(stored[0], _instruments(stored[1]), Product(stored[2]))


def _json(value: Any) -> Any:
    """Parses a jsonb column; the driver returns it as text for a textual statement."""
    return json.loads(value) if isinstance(value, str) else value
