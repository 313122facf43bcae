"""Trading's store in PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

from google.protobuf.message import Message
from sqlalchemy import TextClause
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from typing_extensions import override

from alphapanda.domain.order import Product, TradingState
from alphapanda.domain.signal import PositionKey
from alphapanda.storage.engine import without_transactions
from alphapanda.storage.group_commit import GroupCommit
from alphapanda.storage.outbox import Outbox
from alphapanda.storage.requests import CommandKey, RequestMemory, RequestReused
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.square_off import Exposure
from alphapanda.trading.order_log import log_orders
from alphapanda.trading.store import statements as sql
from alphapanda.trading.store.change_rows import PostgresChangeReads, PostgresChanges
from alphapanda.trading.store.order_reading import read_orders, stored_order
from alphapanda.trading.store.port import (
    Account,
    ChangedOrder,
    EndedIntent,
    KillSwitchCopy,
    OrderChange,
    OrderFilter,
    PositionFilter,
    StoredOrder,
    SwitchInForce,
    SwitchScope,
    TradingStore,
    TradingTransaction,
    by_key,
    strictest,
    with_brokers,
)
from alphapanda.trading.store.protection_rows import PostgresProtectionReads, PostgresProtections
from alphapanda.trading.store.rows import key_columns
from alphapanda.trading.store.writer import OrderWriter, Written
from panda.events.v1.events_pb2 import Event

SCHEMA = "trading"
_END_OF_ORDERS = 2**63 - 1
_FOUND_TOGETHER = 100
_SWITCHES_REMEMBERED = 10_000


class PostgresTradingTransaction(TradingTransaction):
    """A transaction on one PostgreSQL connection."""

    def __init__(
        self,
        connection: AsyncConnection,
        outbox: Outbox,
        writer: OrderWriter,
        requests: RequestMemory,
        wall_time: datetime,
        switches_read: dict[SwitchScope, KillSwitchCopy],
    ) -> None:
        self._connection = connection
        self._outbox = outbox
        self._writer = writer
        self._requests = requests
        self._wall_time = wall_time
        self._switches_read = switches_read
        self.published: list[Event] = []
        self.changes = PostgresChanges(connection, wall_time)
        self.protections = PostgresProtections(connection, wall_time)

    @override
    async def add(self, changes: Sequence[OrderChange]) -> Collection[str]:
        return self._record(await self._writer.add(self._connection, changes, self._wall_time))

    @override
    async def add_tombstone(self, signal_id: str) -> bool:
        await self._connection.execute(sql.LOCK_TABLE)
        await self._connection.execute(
            sql.ADD_TOMBSTONE, {"signal_id": signal_id, "buried_at": self._wall_time}
        )
        return bool(
            (await self._connection.execute(sql.HAS_TOMBSTONE, {"signal_id": signal_id})).scalar_one()
        )

    @override
    async def locked(self, order_id: str) -> Order | None:
        await self._connection.execute(sql.LOCK_ORDER, {"order_id": order_id})
        found = await read_orders(self._connection, sql.ORDER, {"order_id": order_id})
        return found[0].order if found else None

    @override
    async def save(self, changes: Sequence[OrderChange]) -> Collection[str]:
        return self._record(await self._writer.save(self._connection, changes))

    @override
    async def position(self, key: PositionKey) -> int:
        found = (await self._connection.execute(sql.POSITION, key_columns(key))).scalar_one_or_none()
        return int(found or 0)

    @override
    async def exposures(self, wanted: PositionFilter) -> Sequence[Exposure]:
        given = {name: value for name, value in asdict(wanted).items() if value}
        rows = await self._connection.execute(sql.held(*given), given)
        found = [
            Exposure(
                PositionKey(
                    row.broker, row.account, row.strategy_id, row.instrument_id, Product(row.product)
                ),
                row.held,
            )
            for row in rows
        ]
        return sorted(found, key=by_key)

    @override
    async def kill_switches(self, scopes: Collection[SwitchScope]) -> Mapping[SwitchScope, SwitchInForce]:
        asked = with_brokers(scopes)
        copies = await self._switches(asked)
        if missing := asked - copies.keys():  # only an existing row can be locked
            await self._add_switches(missing)
            copies = await self._switches(asked)
        if len(self._switches_read) > _SWITCHES_REMEMBERED:
            self._switches_read.clear()
        self._switches_read.update(copies)
        return strictest(scopes, copies)

    @override
    async def apply_kill_switch(
        self, broker: str, state: TradingState, revision: int, strategy_id: str = "", replaces: int = 0
    ) -> KillSwitchCopy:
        scope = SwitchScope(broker, strategy_id)
        await self._add_switches([scope])
        row = (await self._connection.execute(sql.LOCK_SWITCH, scope._asdict())).one()
        if revision <= row.revision and not (replaces and replaces == row.revision):
            return KillSwitchCopy(TradingState(row.state), row.revision)
        change = {"state": int(state), "revision": revision}
        await self._connection.execute(sql.CHANGE_SWITCH, scope._asdict() | change)
        return KillSwitchCopy(state, revision)

    @override
    async def claim(self, key: CommandKey, request: Message) -> bytes | None:
        return await self._requests.claim(self._connection, key, request)

    @override
    async def claim_all(
        self, commands: Sequence[tuple[CommandKey, Message]]
    ) -> Sequence[bytes | RequestReused | None]:
        return await self._requests.claim_all(self._connection, commands)

    @override
    async def remember(self, key: CommandKey, answer: Message) -> None:
        await self._requests.remember(self._connection, key, answer)

    @override
    async def publish(self, events: Sequence[Event]) -> None:
        await self._outbox.add(self._connection, events)
        self.published += events

    def _record(self, written: Written) -> Collection[str]:
        self.published += written.events
        return written.order_ids

    async def _switches(self, scopes: Collection[SwitchScope]) -> dict[SwitchScope, KillSwitchCopy]:
        rows = await self._connection.execute(sql.SWITCHES, _switch_columns(scopes))
        return {
            SwitchScope(row.broker, row.strategy_id): KillSwitchCopy(TradingState(row.state), row.revision)
            for row in rows
        }

    async def _add_switches(self, scopes: Collection[SwitchScope]) -> None:
        first = _switch_columns(scopes) | {"state": int(TradingState.ACTIVE)}
        await self._connection.execute(sql.ADD_SWITCHES, first)


class PostgresTradingStore(TradingStore):
    """Orders, intents, fills, positions and kill-switch copies in the schema `trading`.

    Args:
        engine: connections to the database.
        outbox: of schema `trading`.
        wall_clock: aware wall time.
        measured: called with order events after their commit.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        outbox: Outbox,
        wall_clock: Callable[[], datetime],
        measured: Callable[[Sequence[Event]], None] = lambda _: None,
    ) -> None:
        self._measured = measured
        self._engine = engine
        self._autocommit = without_transactions(engine)
        self._outbox = outbox
        self._writer = OrderWriter(outbox)
        self._requests = RequestMemory(SCHEMA)
        self._wall_clock = wall_clock
        self._finding = GroupCommit(self._find, _FOUND_TOGETHER)
        self._switches_read: dict[SwitchScope, KillSwitchCopy] = {}
        self.changes = PostgresChangeReads(self._autocommit)
        self.protections = PostgresProtectionReads(self._autocommit)

    @override
    def switches_last_read(
        self, scopes: Collection[SwitchScope]
    ) -> Mapping[SwitchScope, KillSwitchCopy] | None:
        copies = {scope: self._switches_read.get(scope) for scope in with_brokers(scopes)}
        known = {scope: copy for scope, copy in copies.items() if copy is not None}
        return known if len(known) == len(copies) else None

    @override
    async def add_if_unchanged(
        self, changes: Sequence[OrderChange], switches: Mapping[SwitchScope, KillSwitchCopy]
    ) -> Collection[str] | None:
        async with self._autocommit.connect() as connection:
            written = await self._writer.add_if_unchanged(connection, changes, self._wall_clock(), switches)
        if written is None:
            return None
        self._committed(written.events)
        return written.order_ids

    @asynccontextmanager
    @override
    async def transaction(self) -> AsyncIterator[TradingTransaction]:
        async with self._engine.begin() as connection:
            transaction = PostgresTradingTransaction(
                connection,
                self._outbox,
                self._writer,
                self._requests,
                self._wall_clock(),
                self._switches_read,
            )
            yield transaction
        self._committed(transaction.published)

    @override
    async def save(self, changes: Sequence[OrderChange]) -> Collection[str]:
        async with self._autocommit.connect() as connection:
            written = await self._writer.save(connection, changes)
            self._committed(written.events)
        return written.order_ids

    @override
    async def next_epoch(self) -> int:
        async with self._autocommit.connect() as connection:
            return int((await connection.execute(sql.NEXT_EPOCH)).scalar_one())

    @override
    async def find(self, order_id: str) -> StoredOrder | None:
        return await self._finding.submit(order_id)

    @override
    async def find_all(self, order_ids: Collection[str]) -> Mapping[str, StoredOrder]:
        async with self._autocommit.connect() as connection:
            found = await read_orders(connection, sql.ORDERS_BY_ID, {"order_ids": list(order_ids)})
        return {stored.order.order_id: stored for stored in found}

    @override
    async def find_by_signal(self, signal_id: str) -> StoredOrder | None:
        return await self._one(sql.ORDER_OF_SIGNAL, {"signal_id": signal_id})

    @override
    async def has_tombstone(self, signal_id: str) -> bool:
        async with self._autocommit.connect() as connection:
            return bool((await connection.execute(sql.HAS_TOMBSTONE, {"signal_id": signal_id})).scalar_one())

    @override
    async def open_orders(self) -> Sequence[str]:
        async with self._autocommit.connect() as connection:
            return [str(row.order_id) for row in await connection.execute(sql.OPEN_ORDERS)]

    @override
    async def accepted_orders(self) -> Sequence[str]:
        async with self._autocommit.connect() as connection:
            return [str(row.order_id) for row in await connection.execute(sql.ACCEPTED_ORDERS)]

    @override
    async def has_orders_under_way(self) -> bool:
        async with self._autocommit.connect() as connection:
            return bool((await connection.execute(sql.ORDERS_UNDER_WAY)).scalar_one())

    @override
    async def orders_of_tags(self, tags: Sequence[str]) -> Sequence[str]:
        async with self._autocommit.connect() as connection:
            found = await connection.execute(sql.ORDERS_OF_TAGS, {"tags": list(tags)})
            return [str(row.order_id) for row in found]

    @override
    async def without_verdict(self) -> Sequence[StoredOrder]:
        async with self._autocommit.connect() as connection:
            return await read_orders(connection, sql.WITHOUT_VERDICT, {})

    @override
    async def absent_intents(self, since: datetime) -> Sequence[EndedIntent]:
        return await self._intents(sql.ABSENT_INTENTS, since)

    @override
    async def intents_ended_short(self, since: datetime) -> Sequence[EndedIntent]:
        return await self._intents(sql.INTENTS_ENDED_SHORT, since)

    @override
    async def newest(self, wanted: OrderFilter, before: int | None, limit: int) -> Sequence[StoredOrder]:
        given = {
            "broker": wanted.broker,
            "account": wanted.account,
            "strategy_id": wanted.strategy_id,
            "statuses": [int(status) for status in wanted.statuses],
            "signal_id": wanted.signal_id,
            "correlation_id": wanted.correlation_id,
            "instrument_id": wanted.instrument_id,
        }
        given = {name: value for name, value in given.items() if value}
        page = {"before": _END_OF_ORDERS if before is None else before, "limit": limit}
        async with self._autocommit.connect() as connection:
            return await read_orders(connection, sql.newest(*given), given | page)

    @override
    async def kill_switch_copies(self, broker: str) -> Mapping[SwitchScope, KillSwitchCopy]:
        async with self._autocommit.connect() as connection:
            return {
                SwitchScope(broker, row.strategy_id): KillSwitchCopy(TradingState(row.state), row.revision)
                for row in await connection.execute(sql.COPIES, {"broker": broker})
            }

    @override
    async def account_revision(self, account: Account) -> int:
        async with self._autocommit.connect() as connection:
            found = (await connection.execute(sql.REVISION, account._asdict())).scalar_one_or_none()
        return int(found or 0)

    @override
    async def account_revisions(self) -> Mapping[Account, int]:
        async with self._autocommit.connect() as connection:
            rows = await connection.execute(sql.REVISIONS)
            return {Account(row.broker, row.account): row.revision for row in rows}

    @override
    async def changed(
        self, account: Account, strategy_id: str, after: int, limit: int
    ) -> Sequence[ChangedOrder]:
        given = {"strategy_id": strategy_id} if strategy_id else {}
        where = account._asdict() | given | {"after": after, "limit": limit}
        async with self._autocommit.connect() as connection:
            return [
                ChangedOrder(stored_order(row), row.account_revision)
                for row in await connection.execute(sql.changed(*given), where)
            ]

    async def _intents(self, query: TextClause, since: datetime) -> list[EndedIntent]:
        async with self._autocommit.connect() as connection:
            return [
                EndedIntent(str(row.order_id), row.number, row.tag, row.broker, row.account)
                for row in await connection.execute(query, {"since": since})
            ]

    async def _find(self, order_ids: Sequence[str]) -> list[StoredOrder | None]:
        """Reads orders for `find`: however many callers ask at once, they wait for one connection."""
        found = await self.find_all(order_ids)
        return [found.get(order_id) for order_id in order_ids]

    def _committed(self, events: Sequence[Event]) -> None:
        if events:
            self._outbox.committed()
            # After the relay, which asks for the rows meanwhile.
            asyncio.get_running_loop().call_soon(log_orders, events)
            asyncio.get_running_loop().call_soon(self._measured, events)

    async def _one(self, query: Any, parameters: dict[str, Any]) -> StoredOrder | None:
        async with self._autocommit.connect() as connection:
            found = await read_orders(connection, query, parameters)
        return found[0] if found else None


def _switch_columns(scopes: Collection[SwitchScope]) -> dict[str, object]:
    return {
        "brokers": [scope.broker for scope in scopes],
        "strategies": [scope.strategy_id for scope in scopes],
    }
