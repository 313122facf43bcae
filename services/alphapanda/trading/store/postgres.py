"""Trading's store in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

from google.protobuf.message import Message
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from alphapanda.domain.order import Product, TradingState
from alphapanda.domain.order_events import Fill
from alphapanda.domain.signal import PositionKey
from alphapanda.storage.outbox import Outbox
from alphapanda.storage.requests import CommandKey, RequestMemory
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.square_off import Exposure
from alphapanda.trading.order_log import log_orders
from alphapanda.trading.store.port import (
    Account,
    ChangedOrder,
    GivenUp,
    KillSwitchCopy,
    OrderFilter,
    PositionFilter,
    StoredOrder,
    TradingTransaction,
    by_key,
    stricter,
)
from alphapanda.trading.store.rows import (
    CHANGING_COLUMNS,
    INTENT_COLUMNS,
    ORDER_COLUMNS,
    intent_columns,
    key_columns,
    order_columns,
    order_from,
)
from panda.events.v1.events_pb2 import Event

SCHEMA = "trading"

_ADD = text(
    f"INSERT INTO trading.orders ({', '.join(ORDER_COLUMNS)}, created_at)"
    f" VALUES ({', '.join(':' + name for name in ORDER_COLUMNS)}, :created_at)"
    " ON CONFLICT (signal_id) DO NOTHING"
    " RETURNING NOT EXISTS (SELECT FROM trading.tombstones WHERE signal_id = :signal_id) AS alive"
)
_TAKE_BACK = text("DELETE FROM trading.orders WHERE order_id = :order_id")
# A signal is buried by who has the table alone, so that an order is added either before, and found, or after, and then
# its own statement sees the tombstone. Nobody is kept waiting often: only orders that never came are asked about.
_ALONE = text("LOCK TABLE trading.orders IN SHARE ROW EXCLUSIVE MODE")
_BURY = text(
    "INSERT INTO trading.tombstones (signal_id, buried_at) SELECT CAST(:signal_id AS uuid), :buried_at"
    " WHERE NOT EXISTS (SELECT FROM trading.orders WHERE signal_id = CAST(:signal_id AS uuid))"
    " ON CONFLICT (signal_id) DO NOTHING"
)
_BURIED = text("SELECT EXISTS (SELECT FROM trading.tombstones WHERE signal_id = CAST(:signal_id AS uuid))")
_SAVE = text(
    f"UPDATE trading.orders SET {', '.join(f'{name} = :{name}' for name in CHANGING_COLUMNS)}"
    " WHERE order_id = :order_id"
)
_SAVE_INTENT = text(
    f"INSERT INTO trading.intents ({', '.join(INTENT_COLUMNS)})"
    f" VALUES ({', '.join(':' + name for name in INTENT_COLUMNS)})"
    " ON CONFLICT (intent_id) DO UPDATE SET quantity = excluded.quantity, status = excluded.status,"
    " epoch = excluded.epoch, broker_order_id = excluded.broker_order_id, filled = excluded.filled"
)
_DROP_INTENTS = text("DELETE FROM trading.intents WHERE order_id = :order_id AND number >= :count")
_SAVE_FILL = text(
    "INSERT INTO trading.fills (fill_id, order_id, exchange_trade_id, quantity, price, commission, traded_at)"
    " VALUES (:fill_id, :order_id, :exchange_trade_id, :quantity, :price, :commission, :traded_at)"
)
_MOVE_POSITION = text(
    "INSERT INTO trading.positions AS held (broker, account, strategy_id, instrument_id, product, quantity)"
    " VALUES (:broker, :account, :strategy_id, :instrument_id, :product, :quantity)"
    " ON CONFLICT (broker, account, strategy_id, instrument_id, product)"
    " DO UPDATE SET quantity = held.quantity + excluded.quantity"
)
_POSITION = text(
    "SELECT quantity FROM trading.positions WHERE broker = :broker AND account = :account"
    " AND strategy_id = :strategy_id AND instrument_id = :instrument_id AND product = :product"
)
_SELECT = (
    "SELECT o.*, (SELECT json_agg(i ORDER BY i.number) FROM trading.intents i WHERE i.order_id = o.order_id) AS intents,"
    " (SELECT array_agg(f.fill_id) FROM trading.fills f WHERE f.order_id = o.order_id) AS fill_ids"
    " FROM trading.orders o"
)
_ORDER = text(f"{_SELECT} WHERE order_id = :order_id")
# Locked first and read then: one statement would read the intents and fills as they were before it waited.
_LOCK = text("SELECT FROM trading.orders WHERE order_id = :order_id FOR UPDATE")
_ORDER_OF_SIGNAL = text(f"{_SELECT} WHERE signal_id = :signal_id")
_OPEN_ORDERS = text("SELECT order_id FROM trading.orders WHERE status < 7 ORDER BY seq")
_GIVEN_UP = text(
    "SELECT i.order_id, i.number, i.tag, o.broker, o.account FROM trading.intents i JOIN trading.orders o USING (order_id)"
    " WHERE i.status = 10 AND i.epoch > 0 AND i.broker_order_id = '' AND o.created_at >= :since ORDER BY o.seq, i.number"
)
_NEWEST = text(
    f"{_SELECT} WHERE (:broker = '' OR broker = :broker)"
    " AND (:account = '' OR account = :account) AND (:strategy_id = '' OR strategy_id = :strategy_id)"
    " AND (:any_status OR status = ANY(CAST(:statuses AS smallint[])))"
    " AND seq < :before ORDER BY seq DESC LIMIT :limit"
)
# Held in common by everybody who is about to submit, alone by who changes it: after the change is
# committed, nobody's submit that read the older state is still to be committed.
_SWITCH = text(
    "SELECT strategy_id, state, revision FROM trading.kill_switches"
    " WHERE broker = :broker AND strategy_id IN ('', :strategy_id) FOR SHARE"
)
_SWITCH_FIRST = text(
    "INSERT INTO trading.kill_switches (broker, strategy_id, state, revision)"
    " VALUES (:broker, :strategy_id, :state, 0) ON CONFLICT DO NOTHING"
)
_SWITCH_ALONE = text(
    "SELECT revision FROM trading.kill_switches WHERE broker = :broker AND strategy_id = :strategy_id FOR UPDATE"
)
_SWITCH_CHANGE = text(
    "UPDATE trading.kill_switches SET state = :state, revision = :revision"
    " WHERE broker = :broker AND strategy_id = :strategy_id"
)
_HELD = text(
    "SELECT broker, account, strategy_id, instrument_id, product, sum(quantity)::bigint AS held FROM ("
    " SELECT broker, account, strategy_id, instrument_id, product, quantity FROM trading.positions WHERE quantity <> 0"
    " UNION ALL SELECT broker, account, strategy_id, instrument_id, product, 0 FROM trading.orders"
    " WHERE status < 7 AND status > 1) AS exposed"
    " WHERE (:strategy_id = '' OR strategy_id = :strategy_id) AND (:instrument_id = '' OR instrument_id = :instrument_id)"
    " AND (:broker = '' OR broker = :broker) AND (:account = '' OR account = :account) GROUP BY 1, 2, 3, 4, 5"
)
# The account's row is locked by the last statement of a transaction and no longer; who changes orders of several
# accounts takes them in one order, so nobody waits in a circle.
_RAISE = text(
    "WITH raised AS (INSERT INTO trading.accounts AS held (broker, account, revision)"
    " VALUES (:broker, :account, :count) ON CONFLICT (broker, account)"
    " DO UPDATE SET revision = held.revision + :count RETURNING revision)"
    " UPDATE trading.orders o SET account_revision = raised.revision - :count + k.number"
    " FROM raised, unnest(CAST(:order_ids AS uuid[])) WITH ORDINALITY AS k (order_id, number)"
    " WHERE o.order_id = k.order_id"
)
_REVISION = text("SELECT revision FROM trading.accounts WHERE broker = :broker AND account = :account")
_REVISIONS = text("SELECT broker, account, revision FROM trading.accounts")
_CHANGED = text(
    f"{_SELECT} WHERE broker = :broker AND account = :account AND account_revision > :after"
    " AND (:strategy_id = '' OR strategy_id = :strategy_id) ORDER BY account_revision LIMIT :limit"
)
_END_OF_ORDERS = 2**63 - 1


class PostgresTradingTransaction:
    """A transaction on one connection."""

    def __init__(
        self, connection: AsyncConnection, outbox: Outbox, requests: RequestMemory, wall_time: datetime
    ) -> None:
        self._connection = connection
        self._outbox = outbox
        self._requests = requests
        self._wall_time = wall_time
        self._intents_held: dict[str, int] = {}
        self._changed: dict[Account, dict[str, None]] = {}
        self.published: list[Event] = []

    async def add(self, order: Order) -> bool:
        """As the port says."""
        columns = order_columns(order) | {"created_at": self._wall_time}
        alive = (await self._connection.execute(_ADD, columns)).scalar_one_or_none()
        if alive is False:
            await self._connection.execute(_TAKE_BACK, {"order_id": order.order_id})
        if not alive:
            return False
        await self._save_intents(order)
        self._note(order)
        return True

    async def bury(self, signal_id: str) -> bool:
        """As the port says."""
        await self._connection.execute(_ALONE)
        await self._connection.execute(_BURY, {"signal_id": signal_id, "buried_at": self._wall_time})
        return await self.is_buried(signal_id)

    async def is_buried(self, signal_id: str) -> bool:
        """As the port says."""
        return bool((await self._connection.execute(_BURIED, {"signal_id": signal_id})).scalar_one())

    async def locked(self, order_id: str) -> Order | None:
        """As the port says."""
        await self._connection.execute(_LOCK, {"order_id": order_id})
        found = await read_orders(self._connection, _ORDER, {"order_id": order_id})
        if not found:
            return None
        order = found[0].order
        self._intents_held[order_id] = len(order.intents)
        return order

    async def save(self, order: Order, fills: Sequence[Fill] = ()) -> None:
        """As the port says."""
        await self._connection.execute(_SAVE, order_columns(order))
        self._note(order)
        await self._save_intents(order)
        count = len(order.intents)
        if count < self._intents_held.get(order.order_id, count + 1):
            await self._connection.execute(_DROP_INTENTS, {"order_id": order.order_id, "count": count})
        if not fills:
            return
        await self._connection.execute(
            _SAVE_FILL,
            [
                {
                    "fill_id": fill.fill_id,
                    "order_id": order.order_id,
                    "exchange_trade_id": fill.exchange_trade_id,
                    "quantity": fill.quantity,
                    "price": fill.price,
                    "commission": fill.commission,
                    "traded_at": fill.traded_at,
                }
                for fill in fills
            ],
        )
        moved = order.side.sign * sum(fill.quantity for fill in fills)
        await self._connection.execute(_MOVE_POSITION, key_columns(order.key) | {"quantity": moved})

    async def position(self, key: PositionKey) -> int:
        """As the port says."""
        found = (await self._connection.execute(_POSITION, key_columns(key))).scalar_one_or_none()
        return int(found or 0)

    async def exposures(self, wanted: PositionFilter) -> Sequence[Exposure]:
        """As the port says."""
        rows = await self._connection.execute(_HELD, asdict(wanted))
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

    async def kill_switch(self, broker: str, strategy_id: str = "") -> KillSwitchCopy:
        """As the port says."""
        asked = {"", strategy_id}
        copies = await self._switches(broker, strategy_id)
        if copies.keys() != asked:
            # A row to be held in common has to be there.
            for missing in sorted(asked - copies.keys()):
                await self._first_switch(broker, missing)
            copies = await self._switches(broker, strategy_id)
        return stricter(copies[""], copies[strategy_id])

    async def apply_kill_switch(
        self, broker: str, state: TradingState, revision: int, strategy_id: str = ""
    ) -> int:
        """As the port says."""
        whose = {"broker": broker, "strategy_id": strategy_id}
        await self._first_switch(broker, strategy_id)
        held = int((await self._connection.execute(_SWITCH_ALONE, whose)).scalar_one())
        if revision <= held:
            return held
        change = {"state": int(state), "revision": revision}
        await self._connection.execute(_SWITCH_CHANGE, whose | change)
        return revision

    async def claim(self, key: CommandKey, request: Message) -> bytes | None:
        """As the port says."""
        return await self._requests.claim(self._connection, key, request)

    async def remember(self, key: CommandKey, answer: Message) -> None:
        """As the port says."""
        await self._requests.remember(self._connection, key, answer)

    async def publish(self, events: Sequence[Event]) -> None:
        """As the port says."""
        await self._outbox.add(self._connection, events)
        self.published += events

    async def raise_revisions(self) -> None:
        """Raises the revisions of the accounts whose orders it changed; the last it does."""
        for account in sorted(self._changed):
            order_ids = list(self._changed[account])
            await self._connection.execute(
                _RAISE, account._asdict() | {"order_ids": order_ids, "count": len(order_ids)}
            )

    def _note(self, order: Order) -> None:
        account = Account(order.key.broker, order.key.account)
        self._changed.setdefault(account, {})[order.order_id] = None

    async def _save_intents(self, order: Order) -> None:
        if order.intents:
            rows = [intent_columns(order, intent) for intent in order.intents]
            await self._connection.execute(_SAVE_INTENT, rows)

    async def _switches(self, broker: str, strategy_id: str) -> dict[str, KillSwitchCopy]:
        rows = await self._connection.execute(_SWITCH, {"broker": broker, "strategy_id": strategy_id})
        return {row.strategy_id: KillSwitchCopy(TradingState(row.state), row.revision) for row in rows}

    async def _first_switch(self, broker: str, strategy_id: str) -> None:
        first = {"broker": broker, "strategy_id": strategy_id, "state": int(TradingState.ACTIVE)}
        await self._connection.execute(_SWITCH_FIRST, first)


class PostgresTradingStore:
    """The store.

    Args:
        engine: connections to the database.
        outbox: of schema `trading`.
        wall_clock: aware wall time.
    """

    def __init__(self, engine: AsyncEngine, outbox: Outbox, wall_clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._outbox = outbox
        self._requests = RequestMemory(SCHEMA)
        self._wall_clock = wall_clock

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[TradingTransaction]:
        """As the port says."""
        async with self._engine.begin() as connection:
            transaction = PostgresTradingTransaction(
                connection, self._outbox, self._requests, self._wall_clock()
            )
            yield transaction
            await transaction.raise_revisions()
        log_orders(transaction.published)

    async def next_epoch(self) -> int:
        """As the port says."""
        async with self._engine.begin() as connection:
            return int((await connection.execute(text("SELECT nextval('trading.epochs')"))).scalar_one())

    async def find(self, order_id: str) -> StoredOrder | None:
        """As the port says."""
        return await self._one(_ORDER, {"order_id": order_id})

    async def find_by_signal(self, signal_id: str) -> StoredOrder | None:
        """As the port says."""
        return await self._one(_ORDER_OF_SIGNAL, {"signal_id": signal_id})

    async def open_orders(self) -> Sequence[str]:
        """As the port says."""
        async with self._engine.connect() as connection:
            return [str(row.order_id) for row in await connection.execute(_OPEN_ORDERS)]

    async def given_up(self, since: datetime) -> Sequence[GivenUp]:
        """As the port says."""
        async with self._engine.connect() as connection:
            return [
                GivenUp(str(row.order_id), row.number, row.tag, row.broker, row.account)
                for row in await connection.execute(_GIVEN_UP, {"since": since})
            ]

    async def newest(self, wanted: OrderFilter, before: int | None, limit: int) -> Sequence[StoredOrder]:
        """As the port says."""
        parameters = {
            "broker": wanted.broker,
            "account": wanted.account,
            "strategy_id": wanted.strategy_id,
            "any_status": not wanted.statuses,
            "statuses": [int(status) for status in wanted.statuses],
            "before": _END_OF_ORDERS if before is None else before,
            "limit": limit,
        }
        async with self._engine.connect() as connection:
            return await read_orders(connection, _NEWEST, parameters)

    async def account_revision(self, account: Account) -> int:
        """As the port says."""
        async with self._engine.connect() as connection:
            found = (await connection.execute(_REVISION, account._asdict())).scalar_one_or_none()
        return int(found or 0)

    async def account_revisions(self) -> Mapping[Account, int]:
        """As the port says."""
        async with self._engine.connect() as connection:
            rows = await connection.execute(_REVISIONS)
            return {Account(row.broker, row.account): row.revision for row in rows}

    async def changed(
        self, account: Account, strategy_id: str, after: int, limit: int
    ) -> Sequence[ChangedOrder]:
        """As the port says."""
        where = account._asdict() | {"strategy_id": strategy_id, "after": after, "limit": limit}
        async with self._engine.connect() as connection:
            return [
                ChangedOrder(_stored(row), row.account_revision)
                for row in await connection.execute(_CHANGED, where)
            ]

    async def _one(self, query: Any, parameters: dict[str, Any]) -> StoredOrder | None:
        async with self._engine.connect() as connection:
            found = await read_orders(connection, query, parameters)
        return found[0] if found else None


async def read_orders(
    connection: AsyncConnection, query: Any, parameters: dict[str, Any]
) -> list[StoredOrder]:
    """The orders of a query on trading.orders, with their intents and fills."""
    return [_stored(row) for row in await connection.execute(query, parameters)]


def _stored(row: Row[Any]) -> StoredOrder:
    return StoredOrder(order_from(row), row.seq, row.created_at)
