"""Reads what a decision needs from PostgreSQL, and stores what it changed together with its events."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from types import SimpleNamespace
from typing import Any

from asyncpg import Record
from google.protobuf.message import Message
from sqlalchemy import Row, TextClause
from sqlalchemy.ext.asyncio import AsyncConnection
from typing_extensions import override

from alphapanda.domain.funds import AccountFunds
from alphapanda.domain.order import TradingState
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.verdict import Verdict
from alphapanda.risk.core.book import AccountName, RiskBook
from alphapanda.risk.core.limit_changes import LimitChange
from alphapanda.risk.core.scoped_limits import ScopedLimits
from alphapanda.risk.store import rows
from alphapanda.risk.store import statements as sql
from alphapanda.risk.store.port import Arming, DecisionUnit, KillSwitch, SwitchScope
from alphapanda.storage.outbox import Outbox
from alphapanda.storage.recordset import recordset, together
from alphapanda.storage.requests import CommandKey, RequestMemory
from panda.events.v1.events_pb2 import Event

BROKERS_OWN = ""
"""In place of a strategy's id: the switch is the broker's own."""


class LoadedBook:
    """The rows of a book as they were read.

    Args:
        row: result of a BOOK or READ statement.
        whose: broker and account.
        funds: funds of the account; None if they are unknown or a live broker's.
    """

    def __init__(self, row: Row[Any], whose: AccountName, funds: AccountFunds | None) -> None:
        self._whose = whose
        self._funds = funds
        states: dict[str, TradingState] = dict(zip(row.switched, map(TradingState, row.states), strict=True))
        self.has_switch = BROKERS_OWN in states
        self.trading_state: TradingState = states.pop(BROKERS_OWN, TradingState.ACTIVE)
        self.strategy_switches: Mapping[str, TradingState] = states
        self.switch_changes = int(row.switch_changes or 0)
        self._orders = {order.signal_id: order for order in map(rows.order_of, _rows(row.orders))}
        positions = [
            rows.position_of(one, self._orders.get(str(one.open_signal_id))) for one in _rows(row.positions)
        ]
        self._positions = {state.key: state for state in positions}
        self._days = {(one.broker, one.account, one.strategy_id): rows.day_of(one) for one in _rows(row.days)}
        self._rejections = dict(map(rows.rejections_of, _rows(row.rejections)))
        self._judged = [str(signal_id) for signal_id in row.judged]

    def book(self) -> RiskBook:
        """Makes a book to decide on."""
        funds = {} if self._funds is None else {self._whose: self._funds}
        return RiskBook(
            self._positions.values(), self._orders.values(), self._judged, self._days, funds, self._rejections
        )

    def funds_after(self, book: RiskBook) -> rows.Values:
        """The parameters that store the account's funds after decisions on this book."""
        return rows.funds_values(book.funds.get(self._whose))

    def changes(self, book: RiskBook, verdicts: Sequence[Verdict]) -> dict[str, Sequence[rows.Values]]:
        """The new and changed rows, by table, after decisions on this book."""
        return {
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
            "rejections": [
                rows.rejections_values(whose, rejections)
                for whose, rejections in book.rejections.items()
                if rejections != self._rejections.get(whose)
            ],
            "verdicts": [rows.verdict_values(verdict) for verdict in verdicts],
        }


class DecisionWriter:
    """Stores decisions and their events in one statement, which writes only the tables with changes."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._locked = together(sql.SAVES, "SELECT")
        self._locked_with_events = together(sql.SAVES | {"outbox": outbox.insert}, outbox.notify)
        self._compared = together(sql.SAVES_IF_UNCHANGED, f"SELECT version FROM {sql.UNCHANGED}")
        self._compared_with_events = together(
            sql.SAVES_IF_UNCHANGED | {"outbox": outbox.insert_where(sql.EXISTS)},
            f"{outbox.notify} FROM {sql.UNCHANGED}",
        )

    async def write(
        self,
        connection: AsyncConnection,
        whose: Mapping[str, object],
        tables: Mapping[str, Sequence[rows.Values]],
        events: Sequence[Event],
    ) -> None:
        """Writes rows and events in a transaction that holds the account's lock.

        Args:
            connection: a connection in that transaction.
            whose: broker, account, and the parameters of its funds.
            tables: rows by table.
            events: events of the decisions.
        """
        changed = {table: recordset(given) for table, given in tables.items() if given}
        if events:
            values = {**changed, **whose, **self._outbox.values(events)}
            await connection.execute(self._locked_with_events("version", *changed, "outbox"), values)
        elif changed:
            await connection.execute(self._locked("version", *changed), {**changed, **whose})

    async def write_if_unchanged(
        self,
        connection: AsyncConnection,
        read_at: Mapping[str, object],
        tables: Mapping[str, Sequence[rows.Values]],
        events: Sequence[Event],
    ) -> bool:
        """Writes rows and events by compare-and-set, without a lock.

        Args:
            connection: a connection on which each statement is its own transaction.
            read_at: broker, account, the versions at which the account and the switches were read, and the parameters
                of its funds.
            tables: rows by table.
            events: events of the decisions.

        Returns:
            False if the account or a switch has changed; nothing is written then.
        """
        changed = {table: recordset(given) for table, given in tables.items() if given}
        if events:
            statement = self._compared_with_events(sql.UNCHANGED, *changed, "outbox")
            values = {**changed, **read_at, **self._outbox.values(events)}
        elif changed:
            statement, values = self._compared(sql.UNCHANGED, *changed), {**changed, **read_at}
        else:
            return True
        return (await connection.execute(statement, values)).first() is not None


class PostgresDecisionUnit(DecisionUnit):
    """A transaction on an account.

    Args:
        connection: a connection in a transaction, which has locked the account unless it is dry.
        outbox: outbox of the schema.
        writer: stores decisions.
        requests: the commands carried out before, with their answers.
        whose: broker and account.
        limits: limits of the account.
        unknown_positions: positions with records parked because of a bug.
        funds: funds of the account; None if they are unknown or a live broker's.
        armed_day: the exchange's day for which it is armed; None: none.
        dry: whether it only reads, without locks.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        outbox: Outbox,
        writer: DecisionWriter,
        requests: RequestMemory,
        whose: dict[str, str],
        limits: ScopedLimits,
        unknown_positions: frozenset[tuple[str, int]],
        funds: AccountFunds | None,
        armed_day: date | None,
        *,
        dry: bool = False,
    ) -> None:
        self._connection = connection
        self._outbox = outbox
        self._writer = writer
        self._requests = requests
        self._whose = whose
        self._limits = limits
        self._unknown_positions = unknown_positions
        self._funds = funds
        self._armed_day = armed_day
        self._dry = dry
        self._loaded: LoadedBook | None = None

    @property
    @override
    def trading_state(self) -> TradingState:
        return self._read.trading_state

    @property
    @override
    def strategy_switches(self) -> Mapping[str, TradingState]:
        return self._read.strategy_switches

    @property
    @override
    def unknown_positions(self) -> frozenset[tuple[str, int]]:
        return self._unknown_positions

    @property
    @override
    def limits(self) -> ScopedLimits:
        return self._limits

    @property
    @override
    def armed_day(self) -> date | None:
        return self._armed_day

    @override
    async def book(
        self, keys: Collection[PositionKey], signal_ids: Collection[str], *, whole: bool = False
    ) -> RiskBook:
        query, wanted = sql.BOOK[whole], self._whose | rows.wanted(keys, signal_ids)
        loaded = await self._load(query, wanted)
        if not loaded.has_switch and not self._dry:
            # Only a row that exists can be locked; one that this transaction adds is locked.
            await add_switch(self._connection, SwitchScope(self._whose["broker"]))
            await self._connection.execute(sql.LOCK, self._whose)
            loaded = await self._load(query, wanted)
        self._loaded = loaded
        return loaded.book()

    async def _load(self, query: TextClause, wanted: Mapping[str, object]) -> LoadedBook:
        row = (await self._connection.execute(query, wanted)).one()
        return LoadedBook(row, (self._whose["broker"], self._whose["account"]), self._funds)

    @override
    async def verdict(self, signal_id: str) -> Verdict | None:
        return await stored_verdict(self._connection, signal_id)

    @override
    async def save(self, book: RiskBook, verdicts: Sequence[Verdict], events: Sequence[Event]) -> None:
        whose = self._whose | self._read.funds_after(book)
        await self._writer.write(self._connection, whose, self._read.changes(book, verdicts), events)

    @override
    async def account_switch(self) -> KillSwitch:
        scope = SwitchScope(self._whose["broker"], account=self._whose["account"])
        await add_switch(self._connection, scope)
        return rows.switch_of((await self._connection.execute(sql.READ_SWITCH, scope._asdict())).one())

    @override
    async def save_account_switch(self, switch: KillSwitch, event: Event) -> None:
        await self._connection.execute(sql.SET_SWITCH, rows.switch_values(switch))
        await self._outbox.add(self._connection, [event])

    @override
    async def save_limits(self, change: LimitChange) -> None:
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

    @override
    async def arming(self) -> Arming:
        row = (await self._connection.execute(sql.ARMING, self._whose)).one_or_none()
        return Arming() if row is None else Arming(*row)

    @override
    async def save_arming(self, arming: Arming) -> None:
        await self._connection.execute(sql.SAVE_ARMING, self._whose | arming._asdict())

    @override
    async def save_halts(self, revision: int, halts: Mapping[str, str]) -> None:
        await self._connection.execute(sql.CLEAR_HALTS, self._whose)
        if halts:
            given = {"instruments": list(halts), "reasons": list(halts.values())}
            await self._connection.execute(sql.ADD_HALTS, self._whose | given)
        await self._connection.execute(sql.SAVE_HALTS, self._whose | {"revision": revision})

    @override
    async def claim(self, key: CommandKey, request: Message) -> bytes | None:
        return await self._requests.claim(self._connection, key, request)

    @override
    async def remember(self, key: CommandKey, answer: Message) -> None:
        await self._requests.remember(self._connection, key, answer)

    @property
    def _read(self) -> LoadedBook:
        if self._loaded is None:
            raise RuntimeError("the unit's book was not read")
        return self._loaded


async def stored_verdict(connection: AsyncConnection, signal_id: str) -> Verdict | None:
    """Reads the verdict on a signal; None if there is none."""
    row = (await connection.execute(sql.VERDICT, {"id": signal_id})).first()
    return None if row is None else rows.verdict_of(row)


async def locked_switch(connection: AsyncConnection, scope: SwitchScope) -> KillSwitch:
    """Reads and locks a kill switch, waiting for its lock; adds its row first if there is none."""
    await add_switch(connection, scope)
    return rows.switch_of((await connection.execute(sql.LOCK_SWITCH, scope._asdict())).one())


async def add_switch(connection: AsyncConnection, scope: SwitchScope) -> None:
    """Adds the row of a kill switch if there is none."""
    await connection.execute(sql.ADD_SWITCH, scope._asdict() | {"state": int(TradingState.ACTIVE)})


def _rows(found: Iterable[Record]) -> Iterable[SimpleNamespace]:
    """Composite rows inside a row, with their columns as attributes."""
    return (SimpleNamespace(**record) for record in found)
