"""The books in memory, for replay and simulation."""

from __future__ import annotations

from asyncio import Lock
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal

from alphapanda.domain.signal import PositionKey
from alphapanda.portfolio.core.book import PortfolioBook
from alphapanda.portfolio.core.ledger import LedgerAccount
from alphapanda.portfolio.core.positions import Position
from alphapanda.portfolio.core.profit import sort_key
from alphapanda.portfolio.store.port import (
    AccountBooks,
    AccountName,
    BookedFill,
    BookingUnit,
    LedgerLine,
    PositionCursor,
    ReceivedFill,
    disagreements,
    fill_row,
    ledger_rows,
)


@dataclass(slots=True)
class _Rows:
    """The rows of one account."""

    starting_cash: Decimal
    cash: Decimal
    revision: int
    ledger: list[LedgerLine]
    positions: dict[PositionKey, Position] = field(default_factory=dict)
    fills: list[BookedFill] = field(default_factory=list)


class InMemoryPortfolioStore:
    """PortfolioStore without durability."""

    def __init__(self) -> None:
        self._accounts: dict[AccountName, _Rows] = {}
        self._fill_ids: set[str] = set()
        self._lock = Lock()

    async def open_account(self, name: AccountName, starting_cash: Decimal) -> None:
        """See PortfolioStore."""
        if name not in self._accounts:
            book = PortfolioBook(name.broker, name.account, starting_cash)
            self._accounts[name] = _Rows(
                starting_cash, book.cash, book.revision, list(ledger_rows(book.opening, 1))
            )

    @asynccontextmanager
    async def unit(
        self, batch: Sequence[ReceivedFill], starting_cash: Decimal
    ) -> AsyncGenerator[BookingUnit]:
        """See PortfolioStore."""
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
        )

    def _write(self, unit: BookingUnit) -> None:
        for booking, received in unit.bookings:
            key = booking.position.key
            rows = self._accounts[AccountName(key.broker, key.account)]
            rows.positions[key] = booking.position
            rows.cash += booking.cash_change
            rows.revision = booking.revision
            rows.fills.append(fill_row(booking, received.correlation_id))
            rows.ledger.extend(ledger_rows(booking.transaction, booking.first_sequence))
            self._fill_ids.add(booking.filled.fill.fill_id)

    async def books(self, name: AccountName) -> AccountBooks | None:
        """See PortfolioStore."""
        rows = self._accounts.get(name)
        if rows is None:
            return None
        positions = tuple(sorted(rows.positions.values(), key=sort_key))
        return AccountBooks(name, rows.starting_cash, rows.cash, rows.revision, positions)

    async def accounts(self, broker: str) -> Sequence[AccountName]:
        """See PortfolioStore."""
        return sorted(name for name in self._accounts if name.broker == broker)

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
        rows = self._accounts.get(name)
        found = [
            position
            for position in sorted(rows.positions.values() if rows else (), key=sort_key)
            if strategy_id in ("", position.key.strategy_id)
            and (include_flat or position.quantity)
            and (after is None or sort_key(position) > after)
        ]
        return found[:limit]

    async def fills(
        self, name: AccountName, *, strategy_id: str, order_id: str, before: int | None, limit: int
    ) -> Sequence[BookedFill]:
        """See PortfolioStore."""
        rows = self._accounts.get(name)
        found = [
            fill
            for fill in reversed(rows.fills if rows else ())
            if strategy_id in ("", fill.key.strategy_id)
            and order_id in ("", fill.order_id)
            and (before is None or fill.revision < before)
        ]
        return found[:limit]

    async def ledger(
        self, name: AccountName, *, strategy_id: str, after: int, limit: int
    ) -> Sequence[LedgerLine]:
        """See PortfolioStore."""
        rows = self._accounts.get(name)
        found = [
            line
            for line in (rows.ledger if rows else ())
            if line.sequence > after and strategy_id in ("", line.strategy_id)
        ]
        return found[:limit]

    async def disagreements(self, name: AccountName) -> Sequence[str]:
        """See PortfolioStore."""
        rows = self._accounts[name]
        sums: dict[tuple[str, str, int, LedgerAccount], Decimal] = defaultdict(Decimal)
        for line in rows.ledger:
            key = (line.strategy_id, line.instrument_id, int(line.product or 0), line.ledger_account)
            sums[key] += line.amount
        return disagreements(rows.cash, rows.positions.values(), sums)
