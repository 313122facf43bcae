"""The port of the portfolio store, and the rows it returns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple, Protocol

from alphapanda.domain.order import Product, Side
from alphapanda.domain.order_events import Filled
from alphapanda.domain.signal import PositionKey
from alphapanda.portfolio.core.book import Booking, PortfolioBook
from alphapanda.portfolio.core.ledger import LedgerAccount, LedgerTransaction
from alphapanda.portfolio.core.positions import Position
from alphapanda.portfolio.core.profit import StrategyTotals
from alphapanda.portfolio.core.snapshots import Snapshot
from panda.events.v1.events_pb2 import Event


class AccountName(NamedTuple):
    """Names an account: its broker, and its name there."""

    broker: str
    account: str


class Cause(NamedTuple):
    """The event that caused something, and the correlation id of its chain."""

    event_id: str
    correlation_id: str


@dataclass(frozen=True, slots=True)
class ReceivedFill:
    """A fill as received, with the correlation id of its chain."""

    filled: Filled
    correlation_id: str


@dataclass(frozen=True, slots=True)
class AccountBooks:
    """An account at one revision.

    Attributes:
        name: its broker and account.
        starting_cash: rupees it was opened with.
        cash: rupees now.
        revision: 1 after the opening, one more with each fill booked.
        strategies: what each has realised and paid in all, ordered by name.
        positions: the open ones, ordered by strategy, instrument, product.
    """

    name: AccountName
    starting_cash: Decimal
    cash: Decimal
    revision: int
    strategies: tuple[StrategyTotals, ...]
    positions: tuple[Position, ...]


@dataclass(frozen=True, slots=True)
class BookedFill:
    """A fill as booked; `realised` rupees before commission, `revision` the account's after it."""

    fill_id: str
    order_id: str
    key: PositionKey
    side: Side
    quantity: int
    price: Decimal
    commission: Decimal
    realised: Decimal
    traded_at: datetime
    correlation_id: str
    revision: int


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """An entry as stored.

    Attributes:
        entry_id: its identity.
        transaction_id: the transaction it belongs to.
        sequence: 1, 2, 3 … in the account's ledger.
        name: its broker and account.
        strategy_id: empty for capital.
        instrument_id: empty for capital.
        product: None for capital.
        ledger_account: CASH, POSITIONS, REALISED_PNL, CHARGES or CAPITAL.
        amount: rupees, debit positive.
        fill_id: its cause; empty for capital.
        market_time: of the cause; None for capital.
    """

    entry_id: str
    transaction_id: str
    sequence: int
    name: AccountName
    strategy_id: str
    instrument_id: str
    product: Product | None
    ledger_account: LedgerAccount
    amount: Decimal
    fill_id: str
    market_time: datetime | None


@dataclass(frozen=True, slots=True)
class AccountState:
    """The revision of an account, and its equity when the day began.

    Attributes:
        revision: 1 after the opening, one more with each fill booked.
        opened_at: wall time; with broker, account and revision it names books that never change.
        day_base: equity at the day's start, rupees; None where it is unknown. See PortfolioStore.state.
    """

    revision: int
    opened_at: datetime
    day_base: Decimal | None


class SnapshotCursor(NamedTuple):
    """Where a page of snapshots begins: after this one."""

    market_time: datetime
    number: int


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """A snapshot with its place among those of all accounts (1, 2, 3 …, with gaps)."""

    snapshot: Snapshot
    number: int


class PositionCursor(NamedTuple):
    """Where a page of positions begins: after this one."""

    strategy_id: str
    instrument_id: str
    product: int


class BookingUnit:
    """The fills of one batch, booked together or not at all.

    Args:
        books: of the accounts that the batch's fills name, locked, with the positions and fill ids the batch touches.
    """

    def __init__(self, books: Mapping[AccountName, PortfolioBook]) -> None:
        self.books = books
        self.bookings: list[tuple[Booking, ReceivedFill]] = []

    def book(self, received: ReceivedFill) -> Booking | None:
        """Books a fill of the batch; None where it was booked before.

        Raises:
            InvalidInput: see Position.after.
        """
        key = received.filled.order.key
        booking = self.books[AccountName(key.broker, key.account)].apply(received.filled)
        if booking:
            self.bookings.append((booking, received))
        return booking


class PortfolioStore(Protocol):
    """The books of all accounts."""

    async def open_account(self, name: AccountName, starting_cash: Decimal) -> None:
        """Opens an account with cash, rupees > 0; does nothing where it is open, with whatever it began."""

    def unit(
        self, batch: Sequence[ReceivedFill], starting_cash: Decimal
    ) -> AbstractAsyncContextManager[BookingUnit]:
        """One transaction for a batch: accounts not open yet are opened with `starting_cash`, all are locked.

        What was booked is stored where the block ends without an exception, and nothing of it where it doesn't.
        """

    async def books(self, name: AccountName) -> AccountBooks | None:
        """An account at one revision; None where it isn't open."""

    async def accounts(self, broker: str) -> Sequence[AccountName]:
        """The open accounts of a broker, ordered by name."""

    async def state(self, name: AccountName, day: date | None) -> AccountState | None:
        """The state of an account; None where it isn't open.

        The day's base is the equity of its DAY_START snapshot; for an account that never saw a day begin, and so was
        opened within the day, the cash it began with. None for no day.
        """

    async def revisions(self) -> Mapping[AccountName, int]:
        """The revision of every open account."""

    async def fills_after(self, name: AccountName, revision: int, limit: int) -> Sequence[BookedFill]:
        """At most `limit` fills of a revision above `revision`, oldest first."""

    async def take_snapshot(
        self,
        name: AccountName,
        cause: Cause,
        make: Callable[[AccountBooks], Snapshot],
        event: Callable[[Snapshot, Cause], Event],
    ) -> bool:
        """Stores the snapshot that `make` makes of an open account's books, with its event, in one transaction.

        Returns:
            False where its id is there already, or where it is a day's start and the day has snapshots already.
        """

    async def snapshots(
        self,
        name: AccountName,
        *,
        start: datetime | None,
        end: datetime | None,
        after: SnapshotCursor | None,
        limit: int,
    ) -> Sequence[StoredSnapshot]:
        """At most `limit` snapshots with start <= market time < end after `after`, by market time and number."""

    async def positions(
        self,
        name: AccountName,
        *,
        strategy_id: str,
        include_flat: bool,
        after: PositionCursor | None,
        limit: int,
    ) -> Sequence[Position]:
        """At most `limit` positions after `after`, ordered by strategy, instrument, product; no strategy means all."""

    async def fills(
        self, name: AccountName, *, strategy_id: str, order_id: str, before: int | None, limit: int
    ) -> Sequence[BookedFill]:
        """At most `limit` fills of a revision below `before`, newest first; an empty filter means all, `order_id` is a UUID."""

    async def ledger(
        self, name: AccountName, *, strategy_id: str, after: int, limit: int
    ) -> Sequence[LedgerLine]:
        """At most `limit` entries with a sequence above `after`, oldest first; an empty filter means all."""

    async def disagreements(self, name: AccountName) -> Sequence[str]:
        """How cash and positions differ from what the account's ledger adds up to, as sentences; empty is right."""


def fill_row(booking: Booking, correlation_id: str) -> BookedFill:
    """The row of a booking."""
    order, fill = booking.filled.order, booking.filled.fill
    return BookedFill(
        fill_id=fill.fill_id,
        order_id=order.order_id,
        key=order.key,
        side=order.side,
        quantity=fill.quantity,
        price=fill.price,
        commission=fill.commission,
        realised=booking.realised,
        traded_at=fill.traded_at,
        correlation_id=correlation_id,
        revision=booking.revision,
    )


def ledger_rows(transaction: LedgerTransaction, first_sequence: int) -> tuple[LedgerLine, ...]:
    """The rows of a transaction whose first entry is number `first_sequence` of its account."""
    transaction_id, key = transaction.transaction_id, transaction.key
    return tuple(
        LedgerLine(
            entry_id=transaction.entry_id(n),
            transaction_id=transaction_id,
            sequence=first_sequence + n,
            name=AccountName(transaction.broker, transaction.account),
            strategy_id=key.strategy_id if key else "",
            instrument_id=key.instrument_id if key else "",
            product=key.product if key else None,
            ledger_account=entry.ledger_account,
            amount=entry.amount,
            fill_id=transaction.cause_id if key else "",
            market_time=transaction.market_time,
        )
        for n, entry in enumerate(transaction.entries)
    )


def disagreements(
    cash: Decimal,
    positions: Iterable[Position],
    strategies: Iterable[StrategyTotals],
    ledger: Mapping[tuple[str, str, int, LedgerAccount], Decimal],
) -> list[str]:
    """How an account's cash and positions differ from its ledger.

    Args:
        cash: as stored.
        positions: as stored, flat ones too.
        strategies: their totals as stored.
        ledger: sums of the entries by (strategy_id, instrument_id, product, ledger account); capital has "", "", 0.
    """
    found = []
    in_ledger = sum(
        (amount for (*_, account), amount in ledger.items() if account is LedgerAccount.CASH), Decimal(0)
    )
    if cash != in_ledger:
        found.append(f"cash is {cash}, the ledger says {in_ledger}")
    rest = {key: amount for key, amount in ledger.items() if key[3] not in _OF_THE_ACCOUNT}
    for position in positions:
        key = position.key
        for account, stored in (
            (LedgerAccount.POSITIONS, position.cost),
            (LedgerAccount.REALISED_PNL, -position.realised),
            (LedgerAccount.CHARGES, position.charges),
        ):
            summed = rest.pop((key.strategy_id, key.instrument_id, int(key.product), account), Decimal(0))
            if stored != summed:
                found.append(
                    f"{account.name} of {key.strategy_id} {key.instrument_id} {key.product.name} is {stored},"
                    f" the ledger says {summed}"
                )
    found += [f"the ledger has {amount} under {key}, where no position is" for key, amount in rest.items()]
    return found + _wrong_totals(strategies, ledger)


def _wrong_totals(
    strategies: Iterable[StrategyTotals], ledger: Mapping[tuple[str, str, int, LedgerAccount], Decimal]
) -> list[str]:
    summed: defaultdict[tuple[str, LedgerAccount], Decimal] = defaultdict(Decimal)
    for (strategy_id, _, _, account), amount in ledger.items():
        if account in _OF_A_STRATEGY:
            summed[strategy_id, account] += amount
    found = []
    for totals in strategies:
        for account, stored in (
            (LedgerAccount.REALISED_PNL, -totals.realised),
            (LedgerAccount.CHARGES, totals.charges),
        ):
            if stored != (in_ledger := summed.pop((totals.strategy_id, account), Decimal(0))):
                found.append(
                    f"{account.name} of strategy {totals.strategy_id} is {stored} in all, the ledger says {in_ledger}"
                )
    found += [
        f"{account.name} of strategy {strategy_id} is {amount} in the ledger, where no totals are"
        for (strategy_id, account), amount in summed.items()
        if amount
    ]
    return found


_OF_A_STRATEGY = (LedgerAccount.REALISED_PNL, LedgerAccount.CHARGES)
_OF_THE_ACCOUNT = (LedgerAccount.CASH, LedgerAccount.CAPITAL)
