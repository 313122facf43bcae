"""The books in PostgreSQL, schema `portfolio`. The database itself refuses a transaction that doesn't balance."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from alphapanda.domain.order import Product, Side
from alphapanda.domain.signal import PositionKey
from alphapanda.portfolio.core.book import PortfolioBook
from alphapanda.portfolio.core.ledger import LedgerAccount, LedgerTransaction
from alphapanda.portfolio.core.positions import Position
from alphapanda.portfolio.core.snapshots import Snapshot, SnapshotCause
from alphapanda.portfolio.store import statements as sql
from alphapanda.portfolio.store.port import (
    AccountBooks,
    AccountName,
    AccountState,
    BookedFill,
    BookingUnit,
    Cause,
    LedgerLine,
    PositionCursor,
    ReceivedFill,
    SnapshotCursor,
    StoredSnapshot,
    disagreements,
    fill_row,
    ledger_rows,
)
from alphapanda.storage.outbox import Outbox
from panda.events.v1.events_pb2 import Event

SCHEMA = "portfolio"


class PostgresPortfolioStore:
    """PortfolioStore in PostgreSQL.

    Args:
        engine: connections to the database.
        outbox: of schema `portfolio`.
    """

    def __init__(self, engine: AsyncEngine, outbox: Outbox) -> None:
        self._engine = engine
        self._outbox = outbox

    async def open_account(self, name: AccountName, starting_cash: Decimal) -> None:
        """See PortfolioStore."""
        async with self._engine.begin() as connection:
            await _open(connection, name, starting_cash)

    @asynccontextmanager
    async def unit(
        self, batch: Sequence[ReceivedFill], starting_cash: Decimal
    ) -> AsyncGenerator[BookingUnit]:
        """See PortfolioStore."""
        async with self._engine.begin() as connection:
            unit = BookingUnit(await _locked_books(connection, batch, starting_cash))
            yield unit
            await _write(connection, unit)

    async def books(self, name: AccountName) -> AccountBooks | None:
        """See PortfolioStore."""
        async with self._engine.connect() as connection:
            return await _books(connection, name)

    async def accounts(self, broker: str) -> Sequence[AccountName]:
        """See PortfolioStore."""
        async with self._engine.connect() as connection:
            return [AccountName(*row) for row in await connection.execute(sql.ACCOUNTS, {"broker": broker})]

    async def state(self, name: AccountName, day: date | None) -> AccountState | None:
        """See PortfolioStore."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(sql.STATE, name._asdict() | {"day": day})).one_or_none()
        return AccountState(row.revision, row.opened_at, row.day_base) if row else None

    async def revisions(self) -> Mapping[AccountName, int]:
        """See PortfolioStore."""
        async with self._engine.connect() as connection:
            rows = await connection.execute(sql.REVISIONS)
            return {AccountName(row.broker, row.account): row.revision for row in rows}

    async def fills_after(self, name: AccountName, revision: int, limit: int) -> Sequence[BookedFill]:
        """See PortfolioStore."""
        where = name._asdict() | {"revision": revision, "limit": limit}
        async with self._engine.connect() as connection:
            return [_fill(row) for row in await connection.execute(sql.FILLS_AFTER, where)]

    async def take_snapshot(
        self,
        name: AccountName,
        cause: Cause,
        make: Callable[[AccountBooks], Snapshot],
        event: Callable[[Snapshot, Cause], Event],
    ) -> bool:
        """See PortfolioStore."""
        async with self._engine.begin() as connection:
            await connection.execute(sql.LOCK, name._asdict())
            books = await _books(connection, name)
            if books is None:
                raise LookupError(f"{name} is not open")
            taken = make(books)
            if not (await connection.execute(sql.ADD_SNAPSHOT, asdict(taken))).rowcount:
                return False
            await self._outbox.add(connection, [event(taken, cause)])
            return True

    async def snapshots(
        self,
        name: AccountName,
        *,
        start: datetime | None,
        end: datetime | None,
        after: SnapshotCursor | None,
        limit: int,
    ) -> Sequence[StoredSnapshot]:
        """See PortfolioStore."""
        market_time, number = after or (None, None)
        where = {"start": start, "end": end, "after": market_time, "after_number": number, "limit": limit}
        async with self._engine.connect() as connection:
            rows = await connection.execute(sql.SNAPSHOTS, name._asdict() | where)
            return [StoredSnapshot(_snapshot(row), row.number) for row in rows]

    async def positions(
        self,
        name: AccountName,
        *,
        strategy_id: str,
        include_flat: bool,
        after: PositionCursor | None,
        limit: int,
    ) -> Sequence[Position]:
        """See PortfolioStore."""
        strategy, instrument, product = after or ("", "", 0)
        async with self._engine.connect() as connection:
            rows = await connection.execute(
                sql.POSITIONS,
                name._asdict()
                | {
                    "strategy_id": strategy_id,
                    "include_flat": include_flat,
                    "after_strategy": strategy,
                    "after_instrument": instrument,
                    "after_product": product,
                    "limit": limit,
                },
            )
            return [_position(row) for row in rows]

    async def fills(
        self, name: AccountName, *, strategy_id: str, order_id: str, before: int | None, limit: int
    ) -> Sequence[BookedFill]:
        """See PortfolioStore."""
        filters = {"strategy_id": strategy_id, "order_id": order_id, "before": before, "limit": limit}
        async with self._engine.connect() as connection:
            return [_fill(row) for row in await connection.execute(sql.FILLS, name._asdict() | filters)]

    async def ledger(
        self, name: AccountName, *, strategy_id: str, after: int, limit: int
    ) -> Sequence[LedgerLine]:
        """See PortfolioStore."""
        filters = {"strategy_id": strategy_id, "after": after, "limit": limit}
        async with self._engine.connect() as connection:
            return [_line(row) for row in await connection.execute(sql.LEDGER, name._asdict() | filters)]

    async def disagreements(self, name: AccountName) -> Sequence[str]:
        """See PortfolioStore."""
        async with self._engine.begin() as connection:
            account = (await connection.execute(sql.LOCK, name._asdict())).one()
            held = (await connection.execute(sql.BOOKS, name._asdict())).all()
            sums = {
                (
                    row.strategy_id,
                    row.instrument_id,
                    row.product,
                    LedgerAccount(row.ledger_account),
                ): row.amount
                for row in await connection.execute(sql.SUMS, name._asdict())
            }
        positions = [_position(row) for row in held if row.strategy_id is not None]
        return disagreements(account.cash, positions, sums)


async def _books(connection: AsyncConnection, name: AccountName) -> AccountBooks | None:
    rows = (await connection.execute(sql.BOOKS, name._asdict())).all()
    if not rows:
        return None
    positions = tuple(_position(row) for row in rows if row.strategy_id is not None)
    return AccountBooks(name, rows[0].starting_cash, rows[0].cash, rows[0].revision, positions)


async def _open(connection: AsyncConnection, name: AccountName, starting_cash: Decimal) -> None:
    book = PortfolioBook(name.broker, name.account, starting_cash)
    values = {"cash": book.cash, "revision": book.revision, "entries": book.entries}
    if (await connection.execute(sql.OPEN, name._asdict() | values)).rowcount:
        await _add_transactions(connection, [(book.opening, book.revision, 1)])


async def _locked_books(
    connection: AsyncConnection, batch: Sequence[ReceivedFill], starting_cash: Decimal
) -> dict[AccountName, PortfolioBook]:
    """The books of the batch's accounts, locked in one order by everybody, so that nobody waits in a circle."""
    keys: dict[AccountName, set[PositionKey]] = {}
    for received in batch:
        key = received.filled.order.key
        keys.setdefault(AccountName(key.broker, key.account), set()).add(key)
    rows = {}
    for name in sorted(keys):
        row = (await connection.execute(sql.LOCK, name._asdict())).one_or_none()
        if row is None:
            await _open(connection, name, starting_cash)
            row = (await connection.execute(sql.LOCK, name._asdict())).one()
        rows[name] = row
    # Read under the locks: whoever booked one of these fills has committed by now.
    fill_ids = [received.filled.fill.fill_id for received in batch]
    booked = [str(row[0]) for row in await connection.execute(sql.BOOKED, {"fill_ids": fill_ids})]
    return {
        name: PortfolioBook(
            name.broker,
            name.account,
            row.starting_cash,
            cash=row.cash,
            revision=row.revision,
            entries=row.entries,
            positions=await _held(connection, name, keys[name]),
            booked=booked,
        )
        for name, row in rows.items()
    }


async def _held(connection: AsyncConnection, name: AccountName, keys: set[PositionKey]) -> list[Position]:
    wanted = {
        "strategy_ids": [key.strategy_id for key in keys],
        "instrument_ids": [key.instrument_id for key in keys],
        "products": [int(key.product) for key in keys],
    }
    return [_position(row) for row in await connection.execute(sql.HELD, name._asdict() | wanted)]


async def _write(connection: AsyncConnection, unit: BookingUnit) -> None:
    if not unit.bookings:
        return
    fills = [fill_row(booking, received.correlation_id) for booking, received in unit.bookings]
    await connection.execute(
        sql.ADD_FILLS,
        _key_columns([fill.key for fill in fills])
        | {
            name: [getattr(fill, name) for fill in fills]
            for name in (
                "fill_id",
                "order_id",
                "quantity",
                "price",
                "commission",
                "realised",
                "traded_at",
                "correlation_id",
                "revision",
            )
        }
        | {"side": [int(fill.side) for fill in fills]},
    )
    await _add_transactions(
        connection,
        [(booking.transaction, booking.revision, booking.first_sequence) for booking, _ in unit.bookings],
    )
    positions = list({booking.position.key: booking.position for booking, _ in unit.bookings}.values())
    await connection.execute(
        sql.SET_POSITIONS,
        _key_columns([position.key for position in positions])
        | {
            name: [getattr(position, name) for position in positions]
            for name in ("quantity", "cost", "realised", "charges")
        },
    )
    for name, book in unit.books.items():
        await connection.execute(
            sql.ADVANCE,
            name._asdict() | {"cash": book.cash, "revision": book.revision, "entries": book.entries},
        )


async def _add_transactions(
    connection: AsyncConnection, transactions: Sequence[tuple[LedgerTransaction, int, int]]
) -> None:
    """Writes transactions, each with the account's revision after it and the number of its first entry."""
    await connection.execute(
        sql.ADD_TRANSACTIONS,
        {
            "transaction_id": [transaction.transaction_id for transaction, _, _ in transactions],
            "broker": [transaction.broker for transaction, _, _ in transactions],
            "account": [transaction.account for transaction, _, _ in transactions],
            "fill_id": [
                transaction.cause_id if transaction.key else None for transaction, _, _ in transactions
            ],
            "revision": [revision for _, revision, _ in transactions],
            "market_time": [transaction.market_time for transaction, _, _ in transactions],
        },
    )
    lines = [line for transaction, _, sequence in transactions for line in ledger_rows(transaction, sequence)]
    await connection.execute(
        sql.ADD_ENTRIES,
        {
            name: [getattr(line, name) for line in lines]
            for name in ("entry_id", "transaction_id", "strategy_id", "instrument_id", "sequence", "amount")
        }
        | {
            "broker": [line.name.broker for line in lines],
            "account": [line.name.account for line in lines],
            "product": [int(line.product or 0) for line in lines],
            "ledger_account": [int(line.ledger_account) for line in lines],
        },
    )


def _key_columns(keys: Sequence[PositionKey]) -> dict[str, list[str] | list[int]]:
    return {
        "broker": [key.broker for key in keys],
        "account": [key.account for key in keys],
        "strategy_id": [key.strategy_id for key in keys],
        "instrument_id": [key.instrument_id for key in keys],
        "product": [int(key.product) for key in keys],
    }


def _key(row: Row[tuple[object, ...]]) -> PositionKey:
    return PositionKey(row.broker, row.account, row.strategy_id, row.instrument_id, Product(row.product))


def _position(row: Row[tuple[object, ...]]) -> Position:
    return Position(_key(row), row.quantity, row.cost, row.realised, row.charges)


def _fill(row: Row[tuple[object, ...]]) -> BookedFill:
    return BookedFill(
        fill_id=str(row.fill_id),
        order_id=str(row.order_id),
        key=_key(row),
        side=Side(row.side),
        quantity=row.quantity,
        price=row.price,
        commission=row.commission,
        realised=row.realised,
        traded_at=row.traded_at,
        correlation_id=row.correlation_id,
        revision=row.revision,
    )


def _line(row: Row[tuple[object, ...]]) -> LedgerLine:
    return LedgerLine(
        entry_id=str(row.entry_id),
        transaction_id=str(row.transaction_id),
        sequence=row.sequence,
        name=AccountName(row.broker, row.account),
        strategy_id=row.strategy_id,
        instrument_id=row.instrument_id,
        product=Product(row.product) if row.product else None,
        ledger_account=LedgerAccount(row.ledger_account),
        amount=row.amount,
        fill_id=str(row.fill_id) if row.fill_id else "",
        market_time=row.market_time,
    )


def _snapshot(row: Row[tuple[object, ...]]) -> Snapshot:
    return Snapshot(
        snapshot_id=str(row.snapshot_id),
        broker=row.broker,
        account=row.account,
        cause=SnapshotCause(row.cause),
        market_time=row.market_time,
        trading_day=row.trading_day,
        revision=row.revision,
        cash=row.cash,
        equity=row.equity,
        realised=row.realised,
        unrealised=row.unrealised,
        charges=row.charges,
        open_positions=row.open_positions,
    )
