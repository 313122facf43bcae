"""The books in memory, for simulation: nothing survives."""

from __future__ import annotations

from asyncio import Lock
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal

from typing_extensions import override

from alphapanda.domain.charge_days import ChargeDays
from alphapanda.domain.charges import Charges, merged
from alphapanda.domain.signal import PositionKey
from alphapanda.portfolio.core.book import PortfolioBook
from alphapanda.portfolio.core.ledger import LedgerAccount
from alphapanda.portfolio.core.positions import Position
from alphapanda.portfolio.core.profit import sort_key, totals_of
from alphapanda.portfolio.core.snapshots import Snapshot, SnapshotCause
from alphapanda.portfolio.store.port import (
    AccountBooks,
    AccountName,
    AccountState,
    BookedFill,
    BookingUnit,
    Cause,
    LedgerLine,
    PortfolioStore,
    PositionCursor,
    ReceivedFill,
    SnapshotCursor,
    StoredSnapshot,
    disagreements,
    fill_row,
    ledger_rows,
)
from panda.events.v1.events_pb2 import Event

_OPENED_AT = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class _Rows:
    """The rows of one account."""

    starting_cash: Decimal
    cash: Decimal
    revision: int
    ledger: list[LedgerLine]
    positions: dict[PositionKey, Position] = field(default_factory=dict)
    fills: list[BookedFill] = field(default_factory=list)
    charge_days: ChargeDays = field(default_factory=ChargeDays)
    day_charges: Decimal = Decimal(0)
    changed_at: datetime | None = None


class InMemoryPortfolioStore(PortfolioStore):
    """PortfolioStore without durability."""

    def __init__(self) -> None:
        self._accounts: dict[AccountName, _Rows] = {}
        self._fill_ids: set[str] = set()
        self._snapshots: list[StoredSnapshot] = []
        self._lock = Lock()
        self.events: list[Event] = []

    @override
    async def open_account(self, name: AccountName, starting_cash: Decimal) -> None:
        if name not in self._accounts:
            book = PortfolioBook(name.broker, name.account, starting_cash)
            self._accounts[name] = _Rows(
                starting_cash, book.cash, book.revision, list(ledger_rows(book.opening, 1))
            )

    @override
    @asynccontextmanager
    async def unit(
        self, batch: Sequence[ReceivedFill], starting_cash: Decimal
    ) -> AsyncGenerator[BookingUnit]:
        async with self._lock:
            books: dict[AccountName, PortfolioBook] = {}
            opened: list[AccountName] = []
            for received in batch:
                key = received.filled.order.key
                name = AccountName(key.broker, key.account)
                if name not in self._accounts:
                    await self.open_account(name, starting_cash)
                    opened.append(name)
                if name not in books:
                    books[name] = self._book(name)
            unit = BookingUnit(books)
            try:
                yield unit
            except BaseException:
                for name in opened:
                    del self._accounts[name]
                raise
            self._write(unit)

    def _book(self, name: AccountName) -> PortfolioBook:
        rows = self._accounts[name]
        return PortfolioBook(
            name.broker,
            name.account,
            rows.starting_cash,
            cash=rows.cash,
            revision=rows.revision,
            entries=len(rows.ledger),
            positions=rows.positions.values(),
            booked=self._fill_ids,
            charge_days=deepcopy(rows.charge_days),
        )

    def _write(self, unit: BookingUnit) -> None:
        for booking, received in unit.bookings:
            key = booking.position.key
            rows = self._accounts[AccountName(key.broker, key.account)]
            rows.charge_days = unit.books[AccountName(key.broker, key.account)].charge_days
            rows.day_charges += booking.day_charges
            rows.positions[key] = booking.position
            rows.cash += booking.cash_change
            rows.revision = booking.revision
            rows.changed_at = booking.position.changed_at
            rows.fills.append(fill_row(booking, received.correlation_id))
            rows.ledger.extend(ledger_rows(booking.transaction, booking.first_sequence))
            self._fill_ids.add(booking.filled.fill.fill_id)
        for adjusted, _ in unit.adjusted:
            key = adjusted.filled.order.key
            rows = self._accounts[AccountName(key.broker, key.account)]
            rows.revision = adjusted.revision
            for change in adjusted.changes:
                rows.positions[change.position.key] = change.position
                rows.changed_at = change.position.changed_at
            rows.ledger.extend(ledger_rows(adjusted.transaction, adjusted.first_sequence))
            self._fill_ids.add(adjusted.filled.fill.fill_id)

    @override
    async def books(self, name: AccountName) -> AccountBooks | None:
        rows = self._accounts.get(name)
        if rows is None:
            return None
        every = rows.positions.values()
        held = tuple(sorted((position for position in every if position.quantity), key=sort_key))
        totals = tuple(totals_of(every, rows.charge_days.by_strategy()))
        return AccountBooks(
            name,
            rows.starting_cash,
            rows.cash,
            rows.revision,
            totals,
            held,
            rows.day_charges,
            rows.changed_at,
        )

    @override
    async def accounts(self, broker: str) -> Sequence[AccountName]:
        return sorted(name for name in self._accounts if name.broker == broker)

    @override
    async def state(self, name: AccountName, day: date | None) -> AccountState | None:
        rows = self._accounts.get(name)
        if rows is None:
            return None
        starts = {
            one.trading_day: one.equity
            for one in self._snapshots_of(name)
            if one.cause is SnapshotCause.DAY_START
        }
        base = None
        if day is not None:
            base = starts.get(day) if starts else rows.starting_cash
        return AccountState(rows.revision, _OPENED_AT, base)

    @override
    async def revisions(self) -> Mapping[AccountName, int]:
        return {name: rows.revision for name, rows in self._accounts.items()}

    @override
    async def fills_after(self, name: AccountName, revision: int, limit: int) -> Sequence[BookedFill]:
        rows = self._accounts.get(name)
        return [fill for fill in (rows.fills if rows else ()) if fill.revision > revision][:limit]

    @override
    async def take_snapshot(
        self,
        name: AccountName,
        cause: Cause,
        make: Callable[[AccountBooks], Snapshot],
        event: Callable[[Snapshot, Cause], Event],
    ) -> bool:
        books = await self.books(name)
        if books is None:
            raise LookupError(f"{name} is not open")
        taken = make(books)
        known = self._snapshots_of(name)
        if any(one.snapshot_id == taken.snapshot_id for one in known):
            return False
        if taken.cause is SnapshotCause.DAY_START and any(
            one.trading_day == taken.trading_day for one in known
        ):
            return False
        self._snapshots.append(StoredSnapshot(taken, len(self._snapshots) + 1))
        self.events.append(event(taken, cause))
        return True

    @override
    async def snapshots(
        self,
        name: AccountName,
        *,
        start: datetime | None,
        end: datetime | None,
        after: SnapshotCursor | None,
        limit: int,
    ) -> Sequence[StoredSnapshot]:
        found = [
            one
            for one in self._snapshots
            if (one.snapshot.broker, one.snapshot.account) == name
            and (start is None or one.snapshot.market_time >= start)
            and (end is None or one.snapshot.market_time < end)
            and (after is None or (one.snapshot.market_time, one.number) > after)
        ]
        return sorted(found, key=lambda one: (one.snapshot.market_time, one.number))[:limit]

    def _snapshots_of(self, name: AccountName) -> list[Snapshot]:
        kept = [one.snapshot for one in self._snapshots]
        return [one for one in kept if (one.broker, one.account) == name]

    @override
    async def positions(
        self,
        name: AccountName,
        *,
        strategy_id: str,
        include_flat: bool,
        after: PositionCursor | None,
        limit: int,
    ) -> Sequence[Position]:
        rows = self._accounts.get(name)
        found = [
            position
            for position in sorted(rows.positions.values() if rows else (), key=sort_key)
            if strategy_id in ("", position.key.strategy_id)
            and (include_flat or position.quantity)
            and (after is None or sort_key(position) > after)
        ]
        return found[:limit]

    @override
    async def charges(self, name: AccountName, *, strategy_id: str) -> Charges:
        rows = self._accounts[name]
        asked = [one for one in rows.positions.values() if strategy_id in ("", one.key.strategy_id)]
        lines = rows.charge_days.by_strategy()
        total = sum((one.charges for one in asked), Decimal(0))
        return merged((of for whose, of in lines.items() if strategy_id in ("", whose)), total)

    @override
    async def fills(
        self, name: AccountName, *, strategy_id: str, order_id: str, before: int | None, limit: int
    ) -> Sequence[BookedFill]:
        rows = self._accounts.get(name)
        found = [
            fill
            for fill in reversed(rows.fills if rows else ())
            if strategy_id in ("", fill.key.strategy_id)
            and order_id in ("", fill.order_id)
            and (before is None or fill.revision < before)
        ]
        return found[:limit]

    @override
    async def ledger(
        self, name: AccountName, *, strategy_id: str, after: int, limit: int, order_id: str = ""
    ) -> Sequence[LedgerLine]:
        rows = self._accounts.get(name)
        of_order = {fill.fill_id for fill in (rows.fills if rows else ()) if fill.order_id == order_id}
        found = [
            line
            for line in (rows.ledger if rows else ())
            if line.sequence > after
            and strategy_id in ("", line.strategy_id)
            and (not order_id or line.fill_id in of_order)
        ]
        return found[:limit]

    @override
    async def disagreements(self, name: AccountName) -> Sequence[str]:
        rows = self._accounts[name]
        sums: dict[tuple[str, str, int, LedgerAccount], Decimal] = defaultdict(Decimal)
        for line in rows.ledger:
            key = (line.strategy_id, line.instrument_id, int(line.product or 0), line.ledger_account)
            sums[key] += line.amount
        positions = rows.positions.values()
        return disagreements(rows.cash, positions, totals_of(positions), sums)
