"""The transaction of a decision in PostgreSQL: it holds the account's lock."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import SimpleNamespace

from asyncpg import Record
from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from alphapanda.domain.order import TradingState
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.verdict import Verdict
from alphapanda.risk.core.book import DayKey, RiskBook
from alphapanda.risk.core.day import DayCounters
from alphapanda.risk.core.position import OrderProgress, PositionState
from alphapanda.risk.core.scoped_limits import LimitChange, ScopedLimits
from alphapanda.risk.store import rows
from alphapanda.risk.store import statements as sql
from alphapanda.risk.store.port import KillSwitch, SwitchScope
from alphapanda.storage.outbox import Outbox
from alphapanda.storage.recordset import recordset, together
from alphapanda.storage.requests import CommandKey, RequestMemory
from panda.events.v1.events_pb2 import Event


class Saving:
    """What decisions write, with the outbox: one statement, of those tables whose rows have changed."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._quietly = together(sql.SAVES, "SELECT")
        self._telling = together(sql.SAVES | {"outbox": outbox.insert}, outbox.notify)

    async def write(
        self,
        connection: AsyncConnection,
        tables: Mapping[str, Sequence[rows.Values]],
        events: Sequence[Event],
    ) -> None:
        """Writes rows by table, and the events that tell of them."""
        changed = {table: recordset(given) for table, given in tables.items() if given}
        if events:
            await connection.execute(self._telling(*changed, "outbox"), changed | self._outbox.values(events))
        elif changed:
            await connection.execute(self._quietly(*changed), changed)


class PostgresDecisionUnit:
    """See DecisionUnit.

    Args:
        connection: in a transaction that has locked the account, unless it is dry.
        outbox: the schema's.
        saving: writes to the schema.
        requests: the schema's remembered commands.
        whose: broker and account.
        limits: the account's.
        unknown_positions: those with records parked behind a bug.
        dry: whether it only looks, and nobody is to wait for it.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        outbox: Outbox,
        saving: Saving,
        requests: RequestMemory,
        whose: dict[str, str],
        limits: ScopedLimits,
        unknown_positions: frozenset[tuple[str, int]],
        *,
        dry: bool = False,
    ) -> None:
        self.unknown_positions = unknown_positions
        self.trading_state = TradingState.HALTED
        self.strategy_switches: Mapping[str, TradingState] = {}
        self.limits = limits
        self._connection = connection
        self._outbox = outbox
        self._saving = saving
        self._requests = requests
        self._whose = whose
        self._dry = dry
        self._positions: dict[PositionKey, PositionState] = {}
        self._orders: dict[str, OrderProgress] = {}
        self._days: dict[DayKey, DayCounters] = {}

    async def book(
        self, keys: Collection[PositionKey], signal_ids: Collection[str], *, whole: bool = False
    ) -> RiskBook:
        """See DecisionUnit."""
        asked = list(dict.fromkeys(keys))
        wanted = self._whose | {
            "strategies": [key.strategy_id for key in asked],
            "instruments": [key.instrument_id for key in asked],
            "products": [int(key.product) for key in asked],
            "ids": list(signal_ids),
        }
        query = sql.BOOK[whole, self._dry]
        found = (await self._connection.execute(query, wanted)).one()
        if "" not in found.switched and not self._dry:
            # A row to be held in common has to be there.
            await add_switch(self._connection, SwitchScope(self._whose["broker"]))
            found = (await self._connection.execute(query, wanted)).one()
        states = dict(zip(found.switched, map(TradingState, found.states), strict=True))
        self.trading_state = states.pop("", TradingState.ACTIVE)
        self.strategy_switches = states
        self._orders = {order.signal_id: order for order in map(rows.order_of, _rows(found.orders))}
        positions = [
            rows.position_of(row, self._orders.get(str(row.open_signal_id))) for row in _rows(found.positions)
        ]
        self._positions = {state.key: state for state in positions}
        self._days = {
            (row.broker, row.account, row.strategy_id): rows.day_of(row) for row in _rows(found.days)
        }
        return RiskBook(positions, self._orders.values(), map(str, found.judged), self._days)

    async def verdict(self, signal_id: str) -> Verdict | None:
        """See DecisionUnit."""
        return await stored_verdict(self._connection, signal_id)

    async def save(self, book: RiskBook, verdicts: Sequence[Verdict], events: Sequence[Event]) -> None:
        """See DecisionUnit."""
        changed = {
            "orders": [
                rows.order_values(order)
                for signal_id, order in book.orders.items()
                if order != self._orders.get(signal_id)
            ],
            "positions": [
                rows.position_values(state)
                for key, state in book.positions.items()
                if state != self._positions.get(key)
            ],
            "days": [
                rows.day_values(whose, counters)
                for whose, counters in book.days.items()
                if counters != self._days.get(whose)
            ],
            "verdicts": [rows.verdict_values(verdict) for verdict in verdicts],
        }
        await self._saving.write(self._connection, changed, events)

    async def account_switch(self) -> KillSwitch:
        """See DecisionUnit."""
        scope = SwitchScope(self._whose["broker"], account=self._whose["account"])
        await add_switch(self._connection, scope)
        return rows.switch_of((await self._connection.execute(sql.READ_SWITCH, scope._asdict())).one())

    async def save_account_switch(self, switch: KillSwitch, event: Event) -> None:
        """See DecisionUnit."""
        await self._connection.execute(sql.SET_SWITCH, rows.switch_values(switch))
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
        await self._connection.execute(sql.SAVE_LIMIT, made)
        await self._connection.execute(sql.SAVE_VERSION, self._whose | {"version": version})

    async def claim(self, key: CommandKey, request: Message) -> bytes | None:
        """See DecisionUnit."""
        return await self._requests.claim(self._connection, key, request)

    async def remember(self, key: CommandKey, answer: Message) -> None:
        """See DecisionUnit."""
        await self._requests.remember(self._connection, key, answer)


async def stored_verdict(connection: AsyncConnection, signal_id: str) -> Verdict | None:
    """The verdict on a signal."""
    row = (await connection.execute(sql.VERDICT, {"id": signal_id})).first()
    return None if row is None else rows.verdict_of(row)


async def locked_switch(connection: AsyncConnection, scope: SwitchScope) -> KillSwitch:
    """A kill switch, which waits for who holds it and is then kept from everybody else."""
    await add_switch(connection, scope)
    return rows.switch_of((await connection.execute(sql.LOCK_SWITCH, scope._asdict())).one())


async def add_switch(connection: AsyncConnection, scope: SwitchScope) -> None:
    """Makes certain that a kill switch has a row."""
    await connection.execute(sql.ADD_SWITCH, scope._asdict() | {"state": int(TradingState.ACTIVE)})


def _rows(found: Iterable[Record]) -> Iterable[SimpleNamespace]:
    """Whole rows, as the driver gives them within another, with columns as attributes."""
    return (SimpleNamespace(**record) for record in found)
