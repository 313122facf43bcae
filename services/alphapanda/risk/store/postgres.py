"""Risk's store in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager

from google.protobuf.message import Message
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from alphapanda.domain.order import Product, TradingState
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.verdict import Verdict
from alphapanda.risk.core.book import RiskBook
from alphapanda.risk.core.position import OrderProgress, PositionState
from alphapanda.risk.store import rows
from alphapanda.risk.store.port import Answer, Change, HeldPosition, KillSwitch
from alphapanda.storage.outbox import Outbox
from alphapanda.storage.requests import CommandKey, RequestMemory
from panda.events.v1.events_pb2 import Event

SCHEMA = "risk"

_KEY = "broker, account, strategy_id, instrument_id, product"
_LOCK = text("SELECT 1 FROM risk.accounts WHERE broker = :broker AND account = :account FOR UPDATE")
_ADD_ACCOUNT = text(
    "INSERT INTO risk.accounts (broker, account) VALUES (:broker, :account) ON CONFLICT DO NOTHING"
)
_POSITIONS = text(
    "SELECT p.* FROM risk.positions p JOIN unnest(CAST(:strategies AS text[]), CAST(:instruments AS text[]),"
    " CAST(:products AS smallint[])) AS asked (strategy_id, instrument_id, product)"
    " USING (strategy_id, instrument_id, product) WHERE broker = :broker AND account = :account"
)
_ORDERS = text("SELECT * FROM risk.orders WHERE signal_id = ANY(CAST(:ids AS uuid[]))")
_JUDGED = text("SELECT signal_id FROM risk.verdicts WHERE signal_id = ANY(CAST(:ids AS uuid[]))")
_SAVE_ORDER = text(
    f"INSERT INTO risk.orders (signal_id, {_KEY}, side, quantity, filled, revision, final)"
    " VALUES (:signal_id, :broker, :account, :strategy_id, :instrument_id, :product, :side, :quantity, :filled,"
    " :revision, :final) ON CONFLICT (signal_id) DO UPDATE SET filled = excluded.filled,"
    " revision = excluded.revision, final = excluded.final"
)
_SAVE_POSITION = text(
    f"INSERT INTO risk.positions ({_KEY}, quantity, opened_at, open_signal_id, waiting_signal_id, waiting)"
    " VALUES (:broker, :account, :strategy_id, :instrument_id, :product, :quantity, :opened_at, :open_signal_id,"
    f" :waiting_signal_id, :waiting) ON CONFLICT ({_KEY}) DO UPDATE SET quantity = excluded.quantity,"
    " opened_at = excluded.opened_at, open_signal_id = excluded.open_signal_id,"
    " waiting_signal_id = excluded.waiting_signal_id, waiting = excluded.waiting"
)
_SAVE_VERDICT = text(
    f"INSERT INTO risk.verdicts (signal_id, correlation_id, {_KEY}, instrument_token, config_revision, approved,"
    " reason, message, side, quantity, order_type, effect, valid_until, decided_at, rules)"
    " VALUES (:signal_id, :correlation_id, :broker, :account, :strategy_id, :instrument_id, :product,"
    " :instrument_token, :config_revision, :approved, :reason, :message, :side, :quantity, :order_type, :effect,"
    " :valid_until, :decided_at, CAST(:rules AS jsonb))"
)
_VERDICT = text("SELECT * FROM risk.verdicts WHERE signal_id = CAST(:id AS uuid)")
_WAITING = text("SELECT waiting FROM risk.positions WHERE waiting_signal_id = CAST(:id AS uuid)")
_HELD = text(
    f"SELECT {_KEY}, opened_at FROM risk.positions WHERE broker = ANY(CAST(:brokers AS text[])) AND product = :product"
    " AND quantity <> 0 ORDER BY broker, account, strategy_id, instrument_id"
)
_ADD_SWITCH = text(
    "INSERT INTO risk.kill_switches (broker, state, revision, changed_by, reason)"
    " VALUES (:broker, :state, 0, '', '') ON CONFLICT DO NOTHING"
)
_SWITCH = "SELECT * FROM risk.kill_switches WHERE broker = :broker"
_READ_SWITCH = text(_SWITCH)
_SHARE_SWITCH = text(f"{_SWITCH} FOR SHARE")
_LOCK_SWITCH = text(f"{_SWITCH} FOR UPDATE")
_SET_SWITCH = text(
    "UPDATE risk.kill_switches SET state = :state, revision = :revision, changed_by = :changed_by,"
    " reason = :reason, changed_at = :changed_at WHERE broker = :broker"
)


class PostgresRiskStore:
    """The port on the schema `risk`.

    Args:
        engine: the database.
        outbox: the schema's outbox.
    """

    def __init__(self, engine: AsyncEngine, outbox: Outbox) -> None:
        self._engine = engine
        self._outbox = outbox
        self._requests = RequestMemory(SCHEMA)

    async def prepare(self, brokers: Sequence[str]) -> None:
        """See RiskStore."""
        async with self._engine.begin() as connection:
            for broker in brokers:
                await _add_switch(connection, broker)

    @asynccontextmanager
    async def unit(self, broker: str, account: str) -> AsyncGenerator[_Unit]:
        """See RiskStore."""
        whose = {"broker": broker, "account": account}
        async with self._engine.begin() as connection:
            if (await connection.execute(_LOCK, whose)).first() is None:
                await connection.execute(_ADD_ACCOUNT, whose)
                await connection.execute(_LOCK, whose)
            switch = (await connection.execute(_SHARE_SWITCH, {"broker": broker})).first()
            if switch is None:
                await _add_switch(connection, broker)
                switch = (await connection.execute(_SHARE_SWITCH, {"broker": broker})).one()
            yield _Unit(connection, self._outbox, whose, TradingState(switch.state))

    async def verdict(self, signal_id: str) -> Verdict | Signal | None:
        """See RiskStore."""
        async with self._engine.connect() as connection:
            # The waiting first: what is decided between the two reads is then found as a verdict.
            waiting = (await connection.execute(_WAITING, {"id": signal_id})).first()
            if waiting is not None:
                return rows.waiting_of(waiting.waiting)
            return await _verdict(connection, signal_id)

    async def held_intraday(self, brokers: Collection[str]) -> Sequence[HeldPosition]:
        """See RiskStore."""
        asked = {"brokers": list(brokers), "product": int(Product.MIS)}
        async with self._engine.connect() as connection:
            found = await connection.execute(_HELD, asked)
            return [HeldPosition(rows.key_of(row), row.opened_at) for row in found]

    async def kill_switch(self, broker: str) -> KillSwitch:
        """See RiskStore."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(_READ_SWITCH, {"broker": broker})).first()
        return KillSwitch(broker) if row is None else rows.switch_of(row)

    async def set_kill_switch(
        self, key: CommandKey, request: Message, broker: str, change: Change, answer: Answer
    ) -> bytes:
        """See RiskStore."""
        async with self._engine.begin() as connection:
            given = await self._requests.claim(connection, key, request)
            if given is not None:
                return given
            await _add_switch(connection, broker)
            stands = rows.switch_of((await connection.execute(_LOCK_SWITCH, {"broker": broker})).one())
            changed = change(stands)
            if changed is not None:
                stands, event = changed
                values = {
                    "broker": broker,
                    "state": int(stands.state),
                    "revision": stands.revision,
                    "changed_by": stands.changed_by,
                    "reason": stands.reason,
                    "changed_at": stands.changed_at,
                }
                await connection.execute(_SET_SWITCH, values)
                await self._outbox.add(connection, [event])
            message = answer(stands)
            await self._requests.remember(connection, key, message)
            return message.SerializeToString(deterministic=True)


class _Unit:
    """A transaction that holds the account's lock."""

    def __init__(
        self, connection: AsyncConnection, outbox: Outbox, whose: dict[str, str], state: TradingState
    ) -> None:
        self.trading_state = state
        self._connection = connection
        self._outbox = outbox
        self._whose = whose
        self._positions: dict[PositionKey, PositionState] = {}
        self._orders: dict[str, OrderProgress] = {}

    async def book(self, keys: Collection[PositionKey], signal_ids: Collection[str]) -> RiskBook:
        """See DecisionUnit."""
        asked = list(dict.fromkeys(keys))
        found = (
            await self._connection.execute(
                _POSITIONS,
                self._whose
                | {
                    "strategies": [key.strategy_id for key in asked],
                    "instruments": [key.instrument_id for key in asked],
                    "products": [int(key.product) for key in asked],
                },
            )
        ).all()
        ids = list(signal_ids)
        of_orders = {*ids, *(str(row.open_signal_id) for row in found if row.open_signal_id)}
        orders = await self._connection.execute(_ORDERS, {"ids": list(of_orders)})
        self._orders = {order.signal_id: order for order in map(rows.order_of, orders)}
        judged = await self._connection.execute(_JUDGED, {"ids": ids}) if ids else ()
        states = [rows.position_of(row, self._orders.get(str(row.open_signal_id))) for row in found]
        self._positions = {state.key: state for state in states}
        return RiskBook(states, self._orders.values(), [str(row.signal_id) for row in judged])

    async def verdict(self, signal_id: str) -> Verdict | None:
        """See DecisionUnit."""
        return await _verdict(self._connection, signal_id)

    async def save(self, book: RiskBook, verdicts: Sequence[Verdict], events: Sequence[Event]) -> None:
        """See DecisionUnit."""
        orders = [
            rows.order_values(order)
            for signal_id, order in book.orders.items()
            if order != self._orders.get(signal_id)
        ]
        positions = [
            rows.position_values(state)
            for key, state in book.positions.items()
            if state != self._positions.get(key)
        ]
        if orders:
            await self._connection.execute(_SAVE_ORDER, orders)
        if positions:
            await self._connection.execute(_SAVE_POSITION, positions)
        if verdicts:
            await self._connection.execute(_SAVE_VERDICT, [rows.verdict_values(v) for v in verdicts])
        await self._outbox.add(self._connection, events)


async def _verdict(connection: AsyncConnection, signal_id: str) -> Verdict | None:
    row = (await connection.execute(_VERDICT, {"id": signal_id})).first()
    return None if row is None else rows.verdict_of(row)


async def _add_switch(connection: AsyncConnection, broker: str) -> None:
    await connection.execute(_ADD_SWITCH, {"broker": broker, "state": int(TradingState.ACTIVE)})
