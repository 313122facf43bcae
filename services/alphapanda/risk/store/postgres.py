"""Risk's store in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime

from google.protobuf.message import Message
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from alphapanda.domain.order import PositionEffect, Product, TradingState
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.verdict import Verdict
from alphapanda.risk.core.book import DayKey, RiskBook
from alphapanda.risk.core.day import WHOLE_ACCOUNT, DayCounters
from alphapanda.risk.core.position import OrderProgress, PositionState
from alphapanda.risk.core.scoped_limits import NOTHING_SET, LimitChange, ScopedLimits
from alphapanda.risk.store import rows
from alphapanda.risk.store.port import (
    Answer,
    Change,
    HeldPosition,
    KillSwitch,
    NumberedVerdict,
    Reservation,
    SwitchScope,
    VerdictFilter,
)
from alphapanda.storage.outbox import Outbox
from alphapanda.storage.requests import CommandKey, RequestMemory
from panda.events.v1.events_pb2 import Event

SCHEMA = "risk"

_KEY = "broker, account, strategy_id, instrument_id, product"
_VERSION = (
    "SELECT limits_version, ARRAY(SELECT key FROM risk.parked_keys WHERE topic LIKE :broker || '.%') AS parked"
    " FROM risk.accounts WHERE broker = :broker AND account = :account"
)
_READ_VERSION = text(_VERSION)
_LOCK = text(f"{_VERSION} FOR UPDATE")
_ADD_ACCOUNT = text(
    "INSERT INTO risk.accounts (broker, account) VALUES (:broker, :account) ON CONFLICT DO NOTHING"
)
_POSITIONS = text(
    "SELECT p.* FROM risk.positions p JOIN unnest(CAST(:strategies AS text[]), CAST(:instruments AS text[]),"
    " CAST(:products AS smallint[])) AS asked (strategy_id, instrument_id, product)"
    " USING (strategy_id, instrument_id, product) WHERE broker = :broker AND account = :account"
)
_ALIVE = text(
    "SELECT * FROM risk.positions WHERE broker = :broker AND account = :account"
    " AND (quantity <> 0 OR open_signal_id IS NOT NULL)"
)
_DAYS = text(
    "SELECT * FROM risk.days WHERE broker = :broker AND account = :account"
    " AND strategy_id = ANY(CAST(:strategies AS text[]))"
)
_SAVE_DAY = text(
    "INSERT INTO risk.days (broker, account, strategy_id, day, trades, realised, tripped, recent)"
    " VALUES (:broker, :account, :strategy_id, :day, :trades, :realised, :tripped, CAST(:recent AS timestamptz[]))"
    " ON CONFLICT (broker, account, strategy_id) DO UPDATE SET day = excluded.day, trades = excluded.trades,"
    " realised = excluded.realised, tripped = excluded.tripped, recent = excluded.recent"
)
_LIMITS = text(
    "SELECT * FROM (SELECT DISTINCT ON (strategy_id, instrument_id, name) * FROM risk.limits"
    " WHERE broker = :broker AND account = :account ORDER BY strategy_id, instrument_id, name, version DESC) AS newest"
    " WHERE value IS NOT NULL ORDER BY strategy_id, instrument_id, name"
)
_SAVE_LIMIT = text(
    "INSERT INTO risk.limits (broker, account, strategy_id, instrument_id, name, version, value, author, reason,"
    " changed_at) VALUES (:broker, :account, :strategy_id, :instrument_id, :name, :version, :value, :author, :reason,"
    " :changed_at)"
)
_SAVE_VERSION = text(
    "UPDATE risk.accounts SET limits_version = :version WHERE broker = :broker AND account = :account"
)
_ORDERS = text("SELECT * FROM risk.orders WHERE signal_id = ANY(CAST(:ids AS uuid[]))")
_JUDGED = text("SELECT signal_id FROM risk.verdicts WHERE signal_id = ANY(CAST(:ids AS uuid[]))")
_SAVE_ORDER = text(
    f"INSERT INTO risk.orders (signal_id, {_KEY}, side, quantity, filled, revision, final, value)"
    " VALUES (:signal_id, :broker, :account, :strategy_id, :instrument_id, :product, :side, :quantity, :filled,"
    " :revision, :final, :value) ON CONFLICT (signal_id) DO UPDATE SET filled = excluded.filled,"
    " revision = excluded.revision, final = excluded.final, value = excluded.value"
)
_SAVE_POSITION = text(
    f"INSERT INTO risk.positions ({_KEY}, quantity, opened_at, open_signal_id, waiting_signal_id, waiting,"
    " cost, round_trip, losses, lost_at, wish, wished_at)"
    " VALUES (:broker, :account, :strategy_id, :instrument_id, :product, :quantity, :opened_at, :open_signal_id,"
    " :waiting_signal_id, :waiting, :cost, :round_trip, :losses, :lost_at, :wish, :wished_at)"
    f" ON CONFLICT ({_KEY}) DO UPDATE SET quantity = excluded.quantity,"
    " opened_at = excluded.opened_at, open_signal_id = excluded.open_signal_id,"
    " waiting_signal_id = excluded.waiting_signal_id, waiting = excluded.waiting, cost = excluded.cost,"
    " round_trip = excluded.round_trip, losses = excluded.losses, lost_at = excluded.lost_at, wish = excluded.wish,"
    " wished_at = excluded.wished_at"
)
_SAVE_VERDICT = text(
    f"INSERT INTO risk.verdicts (signal_id, correlation_id, {_KEY}, instrument_token, config_revision, approved,"
    " reason, message, side, quantity, order_type, effect, valid_until, decided_at, rules, largest_quantity)"
    " VALUES (:signal_id, :correlation_id, :broker, :account, :strategy_id, :instrument_id, :product,"
    " :instrument_token, :config_revision, :approved, :reason, :message, :side, :quantity, :order_type, :effect,"
    " :valid_until, :decided_at, CAST(:rules AS jsonb), :largest_quantity)"
)
_VERDICT = text("SELECT * FROM risk.verdicts WHERE signal_id = CAST(:id AS uuid)")
_WAITING = text("SELECT waiting FROM risk.positions WHERE waiting_signal_id = CAST(:id AS uuid)")
_HELD = text(
    f"SELECT {_KEY}, opened_at FROM risk.positions WHERE broker = ANY(CAST(:brokers AS text[])) AND product = :product"
    " AND quantity <> 0 ORDER BY broker, account, strategy_id, instrument_id"
)
_UNSEEN = text(
    "SELECT p.broker, p.account, p.strategy_id, p.instrument_id, p.product, o.signal_id FROM risk.positions p"
    " JOIN risk.orders o ON o.signal_id = p.open_signal_id JOIN risk.verdicts v ON v.signal_id = o.signal_id"
    " WHERE p.broker = ANY(CAST(:brokers AS text[])) AND o.revision = 0"
    " AND v.valid_until < CASE v.effect WHEN :reduces THEN CAST(:exits_before AS timestamptz)"
    " ELSE CAST(:entries_before AS timestamptz) END ORDER BY v.number"
)
_VERDICTS = text(
    "SELECT * FROM risk.verdicts WHERE (:broker = '' OR broker = :broker) AND (:account = '' OR account = :account)"
    " AND (:strategy_id = '' OR strategy_id = :strategy_id)"
    " AND (:instrument_id = '' OR instrument_id = :instrument_id)"
    " AND (CAST(:approved AS boolean) IS NULL OR approved = :approved)"
    " AND (CAST(:since AS timestamptz) IS NULL OR decided_at >= :since)"
    " AND (CAST(:until AS timestamptz) IS NULL OR decided_at < :until)"
    " AND number < :before ORDER BY number DESC LIMIT :limit"
)
_ADD_SWITCH = text(
    "INSERT INTO risk.kill_switches (broker, strategy_id, account, state, revision, changed_by, reason)"
    " VALUES (:broker, :strategy_id, :account, :state, 0, '', '') ON CONFLICT DO NOTHING"
)
_SWITCH = (
    "SELECT * FROM risk.kill_switches"
    " WHERE broker = :broker AND strategy_id = :strategy_id AND account = :account"
)
_READ_SWITCH = text(_SWITCH)
_LOCK_SWITCH = text(f"{_SWITCH} FOR UPDATE")
# All but the accounts' own, which change under their accounts' locks. Who sets a strategy's locks the broker's first.
_SWITCHES = "SELECT strategy_id, state FROM risk.kill_switches WHERE broker = :broker AND account = ''"
_READ_SWITCHES = text(_SWITCHES)
_SHARE_SWITCHES = text(f"{_SWITCHES} FOR SHARE")
_STRATEGY_SWITCHES = text(
    "SELECT * FROM risk.kill_switches WHERE broker = ANY(CAST(:brokers AS text[])) AND strategy_id <> ''"
    " AND revision > 0 ORDER BY broker, strategy_id"
)
_SET_SWITCH = text(
    "UPDATE risk.kill_switches SET state = :state, revision = :revision, changed_by = :changed_by,"
    " reason = :reason, changed_at = :changed_at"
    " WHERE broker = :broker AND strategy_id = :strategy_id AND account = :account"
)
_NO_END = 2**63 - 1


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
        self._limits: dict[tuple[str, str], ScopedLimits] = {}

    async def prepare(self, brokers: Sequence[str]) -> None:
        """See RiskStore."""
        async with self._engine.begin() as connection:
            for broker in brokers:
                await _add_switch(connection, SwitchScope(broker))

    @asynccontextmanager
    async def unit(self, broker: str, account: str, *, dry: bool = False) -> AsyncGenerator[_Unit]:
        """See RiskStore."""
        if dry:
            async with self._engine.connect() as connection:
                # One snapshot, and nobody waits for it.
                await connection.execution_options(isolation_level="REPEATABLE READ")
                yield await self._dry_unit(connection, {"broker": broker, "account": account})
            return
        whose = {"broker": broker, "account": account}
        async with self._engine.begin() as connection:
            row = (await connection.execute(_LOCK, whose)).one_or_none()
            if row is None:
                await connection.execute(_ADD_ACCOUNT, whose)
                row = (await connection.execute(_LOCK, whose)).one()
            states = await _states(connection, _SHARE_SWITCHES, broker)
            if "" not in states:
                await _add_switch(connection, SwitchScope(broker))
                states = await _states(connection, _SHARE_SWITCHES, broker)
            limits = await self._limits_at(connection, whose, int(row.limits_version))
            unknown = rows.unknown_positions(row.parked)
            yield _Unit(connection, self._outbox, self._requests, whose, states, limits, unknown)

    async def _dry_unit(self, connection: AsyncConnection, whose: dict[str, str]) -> _Unit:
        row = (await connection.execute(_READ_VERSION, whose)).one_or_none()
        version, parked = (row.limits_version, row.parked) if row is not None else (0, ())
        states = {"": TradingState.ACTIVE} | await _states(connection, _READ_SWITCHES, whose["broker"])
        limits = await self._limits_at(connection, whose, int(version))
        unknown = rows.unknown_positions(parked)
        return _Unit(connection, self._outbox, self._requests, whose, states, limits, unknown)

    async def _limits_at(
        self, connection: AsyncConnection, whose: dict[str, str], version: int
    ) -> ScopedLimits:
        """They change under the account's lock, and with their version: read once each."""
        kept = self._limits.get((whose["broker"], whose["account"]), NOTHING_SET)
        if kept.version != version:
            found = await connection.execute(_LIMITS, whose)
            kept = ScopedLimits(version, tuple(rows.limit_of(row) for row in found))
            newest = self._limits.get((whose["broker"], whose["account"]), NOTHING_SET)
            if newest.version < version:
                self._limits[whose["broker"], whose["account"]] = kept
        return kept

    async def verdict(self, signal_id: str) -> Verdict | Signal | None:
        """See RiskStore."""
        async with self._engine.connect() as connection:
            # The waiting first: what is decided between the two reads is then found as a verdict.
            waiting = (await connection.execute(_WAITING, {"id": signal_id})).first()
            if waiting is not None:
                return rows.waiting_of(waiting.waiting)
            return await _verdict(connection, signal_id)

    async def verdicts(
        self, wanted: VerdictFilter, before: int | None, limit: int
    ) -> Sequence[NumberedVerdict]:
        """See RiskStore."""
        asked = asdict(wanted) | {"before": _NO_END if before is None else before, "limit": limit}
        async with self._engine.connect() as connection:
            found = await connection.execute(_VERDICTS, asked)
            return [NumberedVerdict(row.number, rows.verdict_of(row)) for row in found]

    async def held_intraday(self, brokers: Collection[str]) -> Sequence[HeldPosition]:
        """See RiskStore."""
        asked = {"brokers": list(brokers), "product": int(Product.MIS)}
        async with self._engine.connect() as connection:
            found = await connection.execute(_HELD, asked)
            return [HeldPosition(rows.key_of(row), row.opened_at) for row in found]

    async def unseen(
        self, brokers: Collection[str], entries_before: datetime, exits_before: datetime
    ) -> Sequence[Reservation]:
        """See RiskStore."""
        asked = {
            "brokers": list(brokers),
            "reduces": int(PositionEffect.REDUCES),
            "entries_before": entries_before,
            "exits_before": exits_before,
        }
        async with self._engine.connect() as connection:
            found = await connection.execute(_UNSEEN, asked)
            return [Reservation(rows.key_of(row), str(row.signal_id)) for row in found]

    async def kill_switch(self, scope: SwitchScope) -> KillSwitch:
        """See RiskStore."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(_READ_SWITCH, scope._asdict())).first()
        return KillSwitch(scope) if row is None else rows.switch_of(row)

    async def strategy_switches(self, brokers: Collection[str]) -> Sequence[KillSwitch]:
        """See RiskStore."""
        async with self._engine.connect() as connection:
            found = await connection.execute(_STRATEGY_SWITCHES, {"brokers": list(brokers)})
            return [rows.switch_of(row) for row in found]

    async def set_kill_switch(
        self, key: CommandKey, request: Message, scope: SwitchScope, change: Change, answer: Answer
    ) -> bytes:
        """See RiskStore."""
        async with self._engine.begin() as connection:
            given = await self._requests.claim(connection, key, request)
            if given is not None:
                return given
            if scope.strategy_id:
                await _locked_switch(connection, SwitchScope(scope.broker))
            stands = await _locked_switch(connection, scope)
            changed = change(stands)
            if changed is not None:
                stands, event = changed
                await connection.execute(_SET_SWITCH, rows.switch_values(stands))
                await self._outbox.add(connection, [event])
            message = answer(stands)
            await self._requests.remember(connection, key, message)
            return message.SerializeToString(deterministic=True)


class _Unit:
    """A transaction that holds the account's lock."""

    def __init__(
        self,
        connection: AsyncConnection,
        outbox: Outbox,
        requests: RequestMemory,
        whose: dict[str, str],
        states: Mapping[str, TradingState],
        limits: ScopedLimits,
        unknown_positions: frozenset[tuple[str, int]],
    ) -> None:
        self.unknown_positions = unknown_positions
        self.trading_state = states[""]
        self.strategy_states = {name: state for name, state in states.items() if name}
        self.limits = limits
        self._connection = connection
        self._outbox = outbox
        self._requests = requests
        self._whose = whose
        self._positions: dict[PositionKey, PositionState] = {}
        self._orders: dict[str, OrderProgress] = {}
        self._days: dict[DayKey, DayCounters] = {}

    async def book(
        self, keys: Collection[PositionKey], signal_ids: Collection[str], *, whole: bool = False
    ) -> RiskBook:
        """See DecisionUnit."""
        asked = list(dict.fromkeys(keys))
        strategies = [key.strategy_id for key in asked]
        columns = {
            "strategies": strategies,
            "instruments": [key.instrument_id for key in asked],
            "products": [int(key.product) for key in asked],
        }
        found = list(await self._connection.execute(_POSITIONS, self._whose | columns)) if asked else []
        if whole:
            found += await self._connection.execute(_ALIVE, self._whose)
        ids = list(signal_ids)
        of_orders = {*ids, *(str(row.open_signal_id) for row in found if row.open_signal_id)}
        orders = await self._connection.execute(_ORDERS, {"ids": list(of_orders)}) if of_orders else ()
        self._orders = {order.signal_id: order for order in map(rows.order_of, orders)}
        judged = await self._connection.execute(_JUDGED, {"ids": ids}) if ids else ()
        states = [rows.position_of(row, self._orders.get(str(row.open_signal_id))) for row in found]
        self._positions = {state.key: state for state in states}
        named = {"strategies": list({WHOLE_ACCOUNT, *strategies})}
        days = await self._connection.execute(_DAYS, self._whose | named)
        self._days = {(row.broker, row.account, row.strategy_id): rows.day_of(row) for row in days}
        return RiskBook(states, self._orders.values(), [str(row.signal_id) for row in judged], self._days)

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
        days = [
            rows.day_values(whose, counters)
            for whose, counters in book.days.items()
            if counters != self._days.get(whose)
        ]
        if orders:
            await self._connection.execute(_SAVE_ORDER, orders)
        if positions:
            await self._connection.execute(_SAVE_POSITION, positions)
        if days:
            await self._connection.execute(_SAVE_DAY, days)
        if verdicts:
            await self._connection.execute(_SAVE_VERDICT, [rows.verdict_values(v) for v in verdicts])
        await self._outbox.add(self._connection, events)

    async def account_switch(self) -> KillSwitch:
        """See DecisionUnit."""
        scope = SwitchScope(self._whose["broker"], account=self._whose["account"])
        await _add_switch(self._connection, scope)
        return rows.switch_of((await self._connection.execute(_READ_SWITCH, scope._asdict())).one())

    async def save_account_switch(self, switch: KillSwitch, event: Event) -> None:
        """See DecisionUnit."""
        await self._connection.execute(_SET_SWITCH, rows.switch_values(switch))
        await self._outbox.add(self._connection, [event])

    async def save_limits(self, change: LimitChange) -> None:
        """See DecisionUnit."""
        version = self.limits.version + 1
        common = self._whose | {
            "strategy_id": change.scope.strategy_id,
            "instrument_id": change.scope.instrument_id,
            "version": version,
            "author": change.author,
            "reason": change.reason,
            "changed_at": change.at,
        }
        values = {**change.to_set, **dict.fromkeys(change.to_clear)}
        made = [common | {"name": name, "value": value} for name, value in values.items()]
        await self._connection.execute(_SAVE_LIMIT, made)
        await self._connection.execute(_SAVE_VERSION, self._whose | {"version": version})

    async def claim(self, key: CommandKey, request: Message) -> bytes | None:
        """See DecisionUnit."""
        return await self._requests.claim(self._connection, key, request)

    async def remember(self, key: CommandKey, answer: Message) -> None:
        """See DecisionUnit."""
        await self._requests.remember(self._connection, key, answer)


async def _verdict(connection: AsyncConnection, signal_id: str) -> Verdict | None:
    row = (await connection.execute(_VERDICT, {"id": signal_id})).first()
    return None if row is None else rows.verdict_of(row)


async def _states(connection: AsyncConnection, query: TextClause, broker: str) -> dict[str, TradingState]:
    found = await connection.execute(query, {"broker": broker})
    return {row.strategy_id: TradingState(row.state) for row in found}


async def _locked_switch(connection: AsyncConnection, scope: SwitchScope) -> KillSwitch:
    await _add_switch(connection, scope)
    return rows.switch_of((await connection.execute(_LOCK_SWITCH, scope._asdict())).one())


async def _add_switch(connection: AsyncConnection, scope: SwitchScope) -> None:
    await connection.execute(_ADD_SWITCH, scope._asdict() | {"state": int(TradingState.ACTIVE)})
