"""Risk's store in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from google.protobuf.message import Message
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from typing_extensions import override

from alphapanda.domain.funds import AccountFunds
from alphapanda.domain.order import PositionEffect, Product, TradingState
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.verdict import Verdict
from alphapanda.risk.core.book import RiskBook, Superseded
from alphapanda.risk.core.scoped_limits import NOTHING_SET, ScopedLimits
from alphapanda.risk.store import rows
from alphapanda.risk.store import statements as sql
from alphapanda.risk.store.port import (
    ACCOUNTS_REMEMBERED,
    AccountReading,
    Answer,
    Change,
    DueReconciliation,
    HeldPosition,
    KillSwitch,
    NumberedVerdict,
    Reservation,
    RiskStore,
    SwitchScope,
    VerdictFilter,
)
from alphapanda.risk.store.unit import (
    DecisionWriter,
    LoadedBook,
    PostgresDecisionUnit,
    add_switch,
    locked_switch,
    stored_verdict,
)
from alphapanda.storage.engine import without_transactions
from alphapanda.storage.outbox import Outbox
from alphapanda.storage.requests import CommandKey, RequestMemory
from panda.events.v1.events_pb2 import Event


@dataclass(frozen=True, slots=True)
class PostgresAccountReading(AccountReading):
    """An account read without a lock: its version and its rows."""

    broker: str
    account: str
    version: int
    loaded: LoadedBook
    account_limits: ScopedLimits
    parked_positions: frozenset[tuple[str, int]]
    armed_for: date | None

    @property
    @override
    def armed_day(self) -> date | None:
        return self.armed_for

    @property
    @override
    def trading_state(self) -> TradingState:
        return self.loaded.trading_state

    @property
    @override
    def strategy_switches(self) -> Mapping[str, TradingState]:
        return self.loaded.strategy_switches

    @property
    @override
    def unknown_positions(self) -> frozenset[tuple[str, int]]:
        return self.parked_positions

    @property
    @override
    def limits(self) -> ScopedLimits:
        return self.account_limits

    @override
    def book(self) -> RiskBook:
        return self.loaded.book()

    @property
    def read_at(self) -> dict[str, object]:
        """The versions that must not have changed when the decision is stored."""
        return {
            "broker": self.broker,
            "account": self.account,
            "version": self.version,
            "switch_changes": self.loaded.switch_changes,
        }


class PostgresRiskStore(RiskStore):
    """Risk's store on the schema `risk`.

    Args:
        engine: the database.
        outbox: the schema's outbox.
        starting_cash: cash of a new account in rupees, by simulated broker.
        account: the account that `prepare` opens at simulated brokers, as portfolio does, so that both remember the same
            starting cash; empty: none.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        outbox: Outbox,
        starting_cash: Mapping[str, Decimal] = MappingProxyType({}),
        account: str = "",
    ) -> None:
        self._engine = engine
        self._reading = without_transactions(engine)
        self._outbox = outbox
        self._starting_cash = starting_cash
        self._account = account
        self._writer = DecisionWriter(outbox)
        self._requests = RequestMemory(sql.SCHEMA)
        self._limits: dict[tuple[str, str], ScopedLimits] = {}

    @override
    async def prepare(self, brokers: Sequence[str]) -> None:
        async with self._engine.begin() as connection:
            for broker in brokers:
                await add_switch(connection, SwitchScope(broker))
                if self._account and broker in self._starting_cash:
                    await self._add_account(connection, {"broker": broker, "account": self._account})

    @override
    @asynccontextmanager
    async def unit(
        self, broker: str, account: str, *, dry: bool = False
    ) -> AsyncGenerator[PostgresDecisionUnit]:
        if dry:
            async with self._engine.connect() as connection:
                # One snapshot, without locks.
                await connection.execution_options(isolation_level="REPEATABLE READ")
                yield await self._dry_unit(connection, {"broker": broker, "account": account})
            return
        whose = {"broker": broker, "account": account}
        async with self._engine.begin() as connection:
            row = (await connection.execute(sql.LOCK, whose)).one_or_none()
            if row is None:
                await self._add_account(connection, whose)
                row = (await connection.execute(sql.LOCK, whose)).one()
            yield await self._unit(connection, whose, row)

    @override
    async def read(
        self,
        broker: str,
        account: str,
        keys: Collection[PositionKey],
        signal_ids: Collection[str],
        *,
        whole: bool = False,
    ) -> PostgresAccountReading | None:
        whose, cash = {"broker": broker, "account": account}, self._starting_cash.get(broker)
        async with self._reading.connect() as connection:
            found = await connection.execute(sql.READ[whole], whose | rows.wanted(keys, signal_ids))
            row = found.one_or_none()
            loaded = LoadedBook(row, (broker, account), rows.funds_of(row, cash)) if row is not None else None
            if row is None or loaded is None or not loaded.has_switch:
                return None
            limits = await self._limits_at(connection, whose, row)
        return PostgresAccountReading(
            broker,
            account,
            int(row.version),
            loaded,
            limits,
            rows.unknown_positions(row.parked),
            row.armed_day,
        )

    @override
    async def save_if_unchanged(
        self, reading: AccountReading, book: RiskBook, verdicts: Sequence[Verdict], events: Sequence[Event]
    ) -> bool:
        if not isinstance(reading, PostgresAccountReading):
            raise TypeError(f"{type(reading).__name__} is not a reading of this store")
        async with self._reading.connect() as connection:
            read_at = reading.read_at | reading.loaded.funds_after(book)
            written = await self._writer.write_if_unchanged(
                connection, read_at, reading.loaded.changes(book, verdicts), events
            )
            if written and events:
                self._outbox.committed()
        return written

    async def _dry_unit(self, connection: AsyncConnection, whose: dict[str, str]) -> PostgresDecisionUnit:
        row = (await connection.execute(sql.READ_ACCOUNT, whose)).one_or_none()
        return await self._unit(connection, whose, row, dry=True)

    async def _add_account(self, connection: AsyncConnection, whose: Mapping[str, str]) -> None:
        cash = self._starting_cash.get(whose["broker"])
        await connection.execute(sql.ADD_ACCOUNT, {**whose, "starting_cash": cash})

    async def _unit(
        self,
        connection: AsyncConnection,
        whose: dict[str, str],
        row: Row[Any] | None,
        *,
        dry: bool = False,
    ) -> PostgresDecisionUnit:
        """A unit on an account; None: it has no row yet, which only a dry unit reads."""
        cash = self._starting_cash.get(whose["broker"])
        if row is not None:
            parked, armed_day = row.parked, row.armed_day
            funds = rows.funds_of(row, cash)
        else:
            parked, armed_day = (), None
            funds = None if cash is None else AccountFunds(cash)
        return PostgresDecisionUnit(
            connection,
            self._outbox,
            self._writer,
            self._requests,
            whose,
            NOTHING_SET if row is None else await self._limits_at(connection, whose, row),
            rows.unknown_positions(parked),
            funds,
            armed_day,
            dry=dry,
        )

    async def _limits_at(
        self, connection: AsyncConnection, whose: dict[str, str], row: Row[Any]
    ) -> ScopedLimits:
        """The account's limits and halts, cached by their versions: every change makes a new one."""
        at = (int(row.limits_version), int(row.halts_revision))
        kept = self._limits.get((whose["broker"], whose["account"]), NOTHING_SET)
        if (kept.version, kept.halts_revision) != at:
            found = await connection.execute(sql.LIMITS, whose)
            limits = tuple(rows.limit_of(one) for one in found)
            halts = {}
            if at[1]:
                halts = {one.instrument_id: one.reason for one in await connection.execute(sql.HALTS, whose)}
            kept = ScopedLimits(at[0], limits, halts, at[1])
            newest = self._limits.get((whose["broker"], whose["account"]), NOTHING_SET)
            if (newest.version, newest.halts_revision) < at:
                if len(self._limits) >= ACCOUNTS_REMEMBERED:
                    self._limits.clear()
                self._limits[whose["broker"], whose["account"]] = kept
        return kept

    @override
    async def verdict(self, signal_id: str) -> Verdict | Signal | None:
        async with self._reading.connect() as connection:
            # Waiting signals first: one that is decided between the two reads is then found as a verdict.
            waiting = (await connection.execute(sql.WAITING, {"id": signal_id})).first()
            if waiting is not None:
                return rows.waiting_of(waiting.waiting)
            return await stored_verdict(connection, signal_id)

    @override
    async def verdicts(
        self, wanted: VerdictFilter, before: int | None, limit: int
    ) -> Sequence[NumberedVerdict]:
        statement, values = sql.verdicts(wanted, before, limit)
        async with self._reading.connect() as connection:
            found = await connection.execute(statement, values)
            return [NumberedVerdict(row.number, rows.verdict_of(row)) for row in found]

    @override
    async def held_intraday(self, brokers: Collection[str]) -> Sequence[HeldPosition]:
        return await self._held(brokers, Product.MIS)

    @override
    async def held_contracts(self, brokers: Collection[str]) -> Sequence[HeldPosition]:
        return await self._held(brokers, Product.NRML)

    async def _held(self, brokers: Collection[str], product: Product) -> Sequence[HeldPosition]:
        asked = {"brokers": list(brokers), "product": int(product)}
        async with self._reading.connect() as connection:
            found = await connection.execute(sql.HELD, asked)
            return [HeldPosition(rows.key_of(row), row.opened_at) for row in found]

    @override
    async def overdue_reservations(
        self, brokers: Collection[str], entries_before: datetime, exits_before: datetime
    ) -> Sequence[Reservation]:
        asked = {
            "brokers": list(brokers),
            "reduces": int(PositionEffect.REDUCES),
            "entries_before": entries_before,
            "exits_before": exits_before,
        }
        async with self._reading.connect() as connection:
            found = await connection.execute(sql.OVERDUE, asked)
            return [Reservation(rows.key_of(row), str(row.signal_id)) for row in found]

    @override
    async def superseded(self, brokers: Collection[str]) -> Sequence[Superseded]:
        async with self._reading.connect() as connection:
            found = await connection.execute(sql.SUPERSEDED, {"brokers": list(brokers)})
            return [
                Superseded(rows.key_of(row), str(row.signal_id), str(row.waiting_signal_id)) for row in found
            ]

    @override
    async def accounts(self, broker: str) -> Collection[str]:
        async with self._reading.connect() as connection:
            found = await connection.execute(sql.ACCOUNTS, {"broker": broker})
            return [row.account for row in found]

    @override
    async def kill_switch(self, scope: SwitchScope) -> KillSwitch:
        async with self._reading.connect() as connection:
            row = (await connection.execute(sql.READ_SWITCH, scope._asdict())).first()
        return KillSwitch(scope) if row is None else rows.switch_of(row)

    @override
    async def strategy_switches(self, brokers: Collection[str]) -> Sequence[KillSwitch]:
        async with self._reading.connect() as connection:
            found = await connection.execute(sql.STRATEGY_SWITCHES, {"brokers": list(brokers)})
            return [rows.switch_of(row) for row in found]

    @override
    async def reconciliation_due(self, broker: str) -> DueReconciliation | None:
        async with self._reading.connect() as connection:
            row = (await connection.execute(sql.RECONCILIATION, {"broker": broker})).first()
        if row is None:
            return None
        return DueReconciliation(row.cause, TradingState(row.state_before), row.due_since)

    @override
    async def end_reconciliation(self, broker: str) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(sql.END_RECONCILIATION, {"broker": broker})

    @override
    async def held(self, broker: str) -> Mapping[tuple[str, str, Product], int]:
        async with self._reading.connect() as connection:
            found = await connection.execute(sql.HELD_AT_BROKER, {"broker": broker})
            held = {(row.account, row.instrument_id, Product(row.product)): int(row.held) for row in found}
        return {which: quantity for which, quantity in held.items() if quantity}

    @override
    async def set_kill_switch(
        self, key: CommandKey, request: Message, scope: SwitchScope, change: Change, answer: Answer
    ) -> bytes:
        async with self._engine.begin() as connection:
            given = await self._requests.claim(connection, key, request)
            if given is not None:
                return given
            if scope.strategy_id:
                await locked_switch(connection, SwitchScope(scope.broker))
            current = await locked_switch(connection, scope)
            changed = change(current)
            if changed is not None:
                current, event = changed
                await connection.execute(sql.SET_SWITCH, rows.switch_values(current))
                await connection.execute(sql.COUNT_CHANGE, scope._asdict())
                await self._outbox.add(connection, [event])
            message = answer(current)
            await self._requests.remember(connection, key, message)
            return message.SerializeToString(deterministic=True)
