"""The books in PostgreSQL, schema `portfolio`; the database refuses a ledger transaction that doesn't balance."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal
from types import SimpleNamespace

from asyncpg import Record
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from typing_extensions import override

from alphapanda.domain.charge_days import ChargeDays, from_text
from alphapanda.domain.charges import Charges, merged
from alphapanda.domain.money import ZERO
from alphapanda.domain.signal import PositionKey
from alphapanda.portfolio.core.adjusting import Adjusted
from alphapanda.portfolio.core.book import Booking, PortfolioBook
from alphapanda.portfolio.core.ledger import LedgerAccount
from alphapanda.portfolio.core.positions import Position
from alphapanda.portfolio.core.snapshots import Snapshot
from alphapanda.portfolio.store import rows
from alphapanda.portfolio.store import statements as sql
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
)
from alphapanda.storage.engine import without_transactions
from alphapanda.storage.outbox import Outbox
from alphapanda.storage.recordset import recordset
from panda.events.v1.events_pb2 import Event


class PostgresPortfolioStore(PortfolioStore):
    """PortfolioStore in PostgreSQL.

    Args:
        engine: connections to the database.
        outbox: of schema `portfolio`.
    """

    def __init__(self, engine: AsyncEngine, outbox: Outbox) -> None:
        self._engine = engine
        self._single = without_transactions(engine)
        self._snapshot_of_all = engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        self._outbox = outbox
        self._add_snapshot = sql.add_snapshot(outbox)

    @override
    async def open_account(self, name: AccountName, starting_cash: Decimal) -> None:
        async with self._engine.begin() as connection:
            await _open(connection, name, starting_cash)

    @override
    @asynccontextmanager
    async def unit(
        self, batch: Sequence[ReceivedFill], starting_cash: Decimal
    ) -> AsyncGenerator[BookingUnit]:
        async with self._engine.begin() as connection:
            unit = BookingUnit(await _locked_books(connection, batch, starting_cash))
            yield unit
            await _save(connection, unit)

    @override
    async def books(self, name: AccountName) -> AccountBooks | None:
        async with self._single.connect() as connection:
            row = (await connection.execute(sql.BOOKS, name._asdict())).one_or_none()
        if row is None:
            return None
        lines = rows.charges_by_strategy(_whole(row.charges))
        strategies = tuple(rows.totals_of(one, lines) for one in _whole(row.strategies))
        positions = tuple(rows.position_of(one) for one in _whole(row.positions))
        return AccountBooks(
            name,
            row.starting_cash,
            row.cash,
            row.revision,
            strategies,
            positions,
            row.day_charges,
            row.changed_at,
        )

    @override
    async def accounts(self, broker: str) -> Sequence[AccountName]:
        async with self._single.connect() as connection:
            return [AccountName(*row) for row in await connection.execute(sql.ACCOUNTS, {"broker": broker})]

    @override
    async def state(self, name: AccountName, day: date | None) -> AccountState | None:
        async with self._single.connect() as connection:
            row = (await connection.execute(sql.STATE, name._asdict() | {"day": day})).one_or_none()
        return AccountState(row.revision, row.opened_at, row.day_base) if row else None

    @override
    async def revisions(self) -> Mapping[AccountName, int]:
        async with self._single.connect() as connection:
            found = await connection.execute(sql.REVISIONS)
            return {AccountName(row.broker, row.account): row.revision for row in found}

    @override
    async def fills_after(self, name: AccountName, revision: int, limit: int) -> Sequence[BookedFill]:
        where = name._asdict() | {"after": revision, "limit": limit}
        async with self._single.connect() as connection:
            return [rows.fill_of(row) for row in await connection.execute(sql.FILLS_AFTER("after"), where)]

    @override
    async def take_snapshot(
        self,
        name: AccountName,
        cause: Cause,
        make: Callable[[AccountBooks], Snapshot],
        event: Callable[[Snapshot, Cause], Event],
    ) -> bool:
        while True:
            books = await self.books(name)
            if books is None:
                raise LookupError(f"{name} is not open")
            taken = make(books)
            values = asdict(taken) | self._outbox.values([event(taken, cause)])
            async with self._single.connect() as connection:
                stored = (await connection.execute(self._add_snapshot, values)).one()
            if stored.current:
                return bool(stored.added)
            # A fill was booked since the books were read, so they are read again.

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
        filters: dict[str, object] = {"start": start, "end": end, "after": after and after.market_time}
        given = {filter_: value for filter_, value in filters.items() if value is not None}
        values = name._asdict() | given | {"limit": limit}
        if after:
            values["after_number"] = after.number
        async with self._single.connect() as connection:
            found = await connection.execute(sql.SNAPSHOTS(*given), values)
            return [StoredSnapshot(rows.snapshot_of(row), row.number) for row in found]

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
        asked = {"strategy_id": strategy_id, "open": not include_flat, "after": after}
        given = [filter_ for filter_, value in asked.items() if value]
        values: dict[str, object] = name._asdict() | {"limit": limit}
        if strategy_id:
            values["strategy_id"] = strategy_id
        if after:
            values |= {f"after_{column}": value for column, value in zip(_AFTER, after, strict=True)}
        async with self._single.connect() as connection:
            return [rows.position_of(row) for row in await connection.execute(sql.POSITIONS(*given), values)]

    @override
    async def charges(self, name: AccountName, *, strategy_id: str) -> Charges:
        async with self._single.connect() as connection:
            asked = name._asdict() | {"strategy_id": strategy_id}
            row = (await connection.execute(sql.CHARGES, asked)).one()
        return merged(rows.charges_by_strategy(_whole(row.lines)).values(), row.charges)

    @override
    async def fills(
        self, name: AccountName, *, strategy_id: str, order_id: str, before: int | None, limit: int
    ) -> Sequence[BookedFill]:
        filters = {"strategy_id": strategy_id or None, "order_id": order_id or None, "before": before}
        given = {filter_: value for filter_, value in filters.items() if value is not None}
        async with self._single.connect() as connection:
            found = await connection.execute(sql.FILLS(*given), name._asdict() | given | {"limit": limit})
            return [rows.fill_of(row) for row in found]

    @override
    async def ledger(
        self, name: AccountName, *, strategy_id: str, after: int, limit: int, order_id: str = ""
    ) -> Sequence[LedgerLine]:
        filters = {"strategy_id": strategy_id, "order_id": order_id, "after": after}
        given = {filter_: value for filter_, value in filters.items() if value}
        async with self._single.connect() as connection:
            found = await connection.execute(sql.LEDGER(*given), name._asdict() | given | {"limit": limit})
            return [rows.line_of(row) for row in found]

    @override
    async def disagreements(self, name: AccountName) -> Sequence[str]:
        # Reads a snapshot of the database without locks, because a proof takes longer as the ledger grows.
        async with self._snapshot_of_all.begin() as connection:
            account = (await connection.execute(sql.BOOKS, name._asdict())).one()
            positions = (await connection.execute(sql.EVERY_POSITION, name._asdict())).all()
            sums = {
                (
                    row.strategy_id,
                    row.instrument_id,
                    row.product,
                    LedgerAccount(row.ledger_account),
                ): row.amount
                for row in await connection.execute(sql.SUMS, name._asdict())
            }
        strategies = [rows.totals_of(one) for one in _whole(account.strategies)]
        return disagreements(account.cash, map(rows.position_of, positions), strategies, sums)


_AFTER = ("strategy", "instrument", "product")


async def _open(connection: AsyncConnection, name: AccountName, starting_cash: Decimal) -> None:
    book = PortfolioBook(name.broker, name.account, starting_cash)
    opened = await connection.execute(sql.OPEN, rows.account_values(name, book))
    if opened.rowcount and book.opening.entries:
        await _write(
            connection,
            {
                "ledger_transactions": [rows.transaction_values(book.opening, book.revision)],
                "ledger_entries": rows.entry_values(book.opening, 1),
            },
        )


async def _locked_books(
    connection: AsyncConnection, batch: Sequence[ReceivedFill], starting_cash: Decimal
) -> dict[AccountName, PortfolioBook]:
    """Locks the batch's accounts and reads their books, with the positions and fill ids that the batch touches."""
    keys: dict[AccountName, set[PositionKey]] = {}
    for received in batch:
        key = received.filled.order.key
        touched = keys.setdefault(AccountName(key.broker, key.account), set())
        touched.add(key)
        adjustment = received.filled.fill.adjustment
        if adjustment is not None and adjustment.other is not None:
            touched.add(adjustment.other)
    every = [key for of_account in keys.values() for key in of_account]
    asked = {
        "brokers": [name.broker for name in keys],
        "accounts": [name.account for name in keys],
        "fill_ids": [received.filled.fill.fill_id for received in batch],
        "key_brokers": [key.broker for key in every],
        "key_accounts": [key.account for key in every],
        "strategies": [key.strategy_id for key in every],
        "instruments": [key.instrument_id for key in every],
        "products": [int(key.product) for key in every],
    }
    while True:
        found = (await connection.execute(sql.LOCKED_BOOKS, asked)).one()
        accounts = {AccountName(row.broker, row.account): row for row in _whole(found.accounts)}
        for name in sorted(keys.keys() - accounts.keys()):
            await _open(connection, name, starting_cash)
        seen = {AccountName(row.broker, row.account): row.revision for row in _whole(found.seen)}
        if all(name in accounts and accounts[name].revision == seen.get(name) for name in keys):
            break
    booked = [str(fill_id) for fill_id in found.booked]
    if any(received.filled.fill.adjustment is not None for received in batch):
        rows_found = await connection.execute(sql.ADJUSTED, {"fill_ids": asked["fill_ids"]})
        booked += [str(row.adjustment_id) for row in rows_found]
    positions = [rows.position_of(row) for row in _whole(found.positions)]
    days = {rows.key_of(row): from_text(row.sums) for row in _whole(found.charge_days)}
    payers = [(AccountName(row.broker, row.account), row) for row in _whole(found.dp_payers)]
    return {
        name: PortfolioBook(
            name.broker,
            name.account,
            row.starting_cash,
            cash=row.cash,
            revision=row.revision,
            entries=row.entries,
            positions=[held for held in positions if held.key in keys[name]],
            booked=booked,
            charge_days=ChargeDays(
                {key: day for key, day in days.items() if key in keys[name]},
                {one.instrument_id: (one.day, one.strategy_id) for whose, one in payers if whose == name},
            ),
        )
        for name, row in accounts.items()
    }


async def _save(connection: AsyncConnection, unit: BookingUnit) -> None:
    bookings = [booking for booking, _ in unit.bookings]
    adjusted = [one for one, _ in unit.adjusted]
    booked: list[Booking | Adjusted] = [*bookings, *adjusted]
    if not booked:
        return
    touched = [booking.position for booking in bookings]
    touched += [change.position for one in adjusted for change in one.changes]
    changed = dict.fromkeys(AccountName(one.key.broker, one.key.account) for one in touched)
    positions = {
        one.key: unit.books[AccountName(one.key.broker, one.key.account)].position(one.key) for one in touched
    }
    by_day, changed_at = dict.fromkeys(changed, ZERO), {}
    for booking in bookings:
        name = AccountName(booking.position.key.broker, booking.position.key.account)
        by_day[name] += booking.day_charges
    for one in touched:
        changed_at[AccountName(one.key.broker, one.key.account)] = one.changed_at
    await _write(
        connection,
        {
            "accounts": [
                rows.account_values(name, unit.books[name])
                | {"day_charges": by_day[name], "changed_at": changed_at[name]}
                for name in changed
            ],
            "fills": [
                rows.fill_values(booking, received.correlation_id) for booking, received in unit.bookings
            ],
            "ledger_transactions": [
                rows.transaction_values(one.transaction, one.revision)
                for one in booked
                if one.transaction.entries
            ],
            "ledger_entries": [
                entry for one in booked for entry in rows.entry_values(one.transaction, one.first_sequence)
            ],
            "positions": [rows.position_values(position) for position in positions.values()],
            "strategy_totals": rows.totals_values(bookings, adjusted),
            **_adjustment_rows(unit),
            **_charge_rows(unit, bookings),
        },
    )


def _adjustment_rows(unit: BookingUnit) -> dict[str, Sequence[rows.Values]]:
    """The rows of adjustments; none where there are none, so that a batch of fills has the statement that it always had."""
    found = [rows.adjustment_values(one, received.correlation_id) for one, received in unit.adjusted]
    return {"adjustments": found} if found else {}


def _charge_rows(unit: BookingUnit, bookings: Sequence[Booking]) -> dict[str, Sequence[rows.Values]]:
    """The rows that remember a day's charges and their totals; none where fills have no charge lines."""
    if not any(booking.charges for booking in bookings):
        return {}
    charged = {booking.position.key for booking in bookings if booking.charges}
    tables: dict[str, Sequence[rows.Values]] = {
        "charge_days": [
            rows.charge_day_values(
                key, unit.books[AccountName(key.broker, key.account)].charge_days.days[key]
            )
            for key in charged
        ],
        "charge_totals": rows.charge_totals_values(bookings),
    }
    payers = [
        rows.dp_payer_values(name, instrument_id, *book.charge_days.dp_payers[instrument_id])
        for name, book in unit.books.items()
        for instrument_id in sorted(book.charge_days.changed)
    ]
    return tables | ({"dp_payers": payers} if payers else {})


async def _write(connection: AsyncConnection, tables: Mapping[str, Sequence[rows.Values]]) -> None:
    """Writes rows by table, in one statement."""
    await connection.execute(sql.SAVE(*tables), {table: recordset(given) for table, given in tables.items()})


def _whole(found: Iterable[Record]) -> Iterable[SimpleNamespace]:
    """Converts composite values, as the driver returns whole rows within a row, to objects with columns as attributes."""
    return (SimpleNamespace(**record) for record in found)
