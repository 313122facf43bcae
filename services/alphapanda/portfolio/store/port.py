"""The port of portfolio's store, its rows, and the comparison of books with their ledger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple, Protocol

from alphapanda.domain.charges import NO_CHARGES, Charges
from alphapanda.domain.money import ZERO
from alphapanda.domain.order import Product, Side
from alphapanda.domain.order_events import Filled
from alphapanda.domain.signal import PositionKey
from alphapanda.portfolio.core.adjusting import Adjusted
from alphapanda.portfolio.core.book import Booking, PortfolioBook
from alphapanda.portfolio.core.ledger import LedgerAccount, LedgerTransaction
from alphapanda.portfolio.core.positions import Position
from alphapanda.portfolio.core.profit import StrategyTotals
from alphapanda.portfolio.core.snapshots import Snapshot
from panda.events.v1.events_pb2 import Event


class AccountName(NamedTuple):
    """An account's broker and its name at the broker."""

    broker: str
    account: str


class Cause(NamedTuple):
    """The id of an event that caused a change, and its correlation id."""

    event_id: str
    correlation_id: str


@dataclass(frozen=True, slots=True)
class ReceivedFill:
    """A received fill event with its correlation id."""

    filled: Filled
    correlation_id: str


@dataclass(frozen=True, slots=True)
class AccountBooks:
    """An account at one revision.

    Attributes:
        name: broker and account.
        starting_cash: rupees at the opening.
        cash: rupees now.
        revision: 1 after the opening, one more with each fill booked.
        strategies: totals of each strategy, ordered by name.
        positions: open positions, ordered by strategy, instrument, product.
        day_charges: rupees of charges beyond the fills' own commissions, which the broker's cash doesn't have.
        changed_at: market time of the newest fill booked; None if there is none, or it isn't known.
    """

    name: AccountName
    starting_cash: Decimal
    cash: Decimal
    revision: int
    strategies: tuple[StrategyTotals, ...]
    positions: tuple[Position, ...]
    day_charges: Decimal = ZERO
    changed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BookedFill:
    """A booked fill; amounts are rupees.

    Attributes:
        commission: as the broker told it.
        realised: before charges.
        revision: the account's after the fill.
        paid: charges booked with it.
        charges: their lines; none where only the sum is known.
    """

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
    paid: Decimal
    charges: Charges = NO_CHARGES


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """A stored ledger entry.

    Attributes:
        entry_id: its id.
        transaction_id: id of its transaction.
        sequence: 1, 2, 3 … in the account's ledger.
        name: broker and account.
        strategy_id: empty for an opening.
        instrument_id: empty for an opening.
        product: None for an opening.
        ledger_account: CASH, POSITIONS, REALISED_PNL, CHARGES or CAPITAL.
        amount: rupees, debit positive.
        fill_id: the fill that caused it; empty for an opening.
        market_time: of the fill; None for an opening.
        charges: the lines that an entry of CHARGES is the sum of; none where only the sum is known.
        booked_at: wall time at which its transaction was stored; None before.
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
    charges: Charges = NO_CHARGES
    booked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AccountState:
    """The revision of an account, and its equity at the start of the day.

    Attributes:
        revision: 1 after the opening, one more with each fill booked.
        opened_at: wall time; together with broker, account and revision it identifies one unchanging state of the books.
        day_base: equity at the day's start, rupees; None if unknown (PortfolioStore.state).
    """

    revision: int
    opened_at: datetime
    day_base: Decimal | None


class SnapshotCursor(NamedTuple):
    """The last snapshot of a page; the next page begins after it."""

    market_time: datetime
    number: int


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """A snapshot with its number among those of all accounts (1, 2, 3 …, with gaps)."""

    snapshot: Snapshot
    number: int


class PositionCursor(NamedTuple):
    """The last position of a page; the next page begins after it."""

    strategy_id: str
    instrument_id: str
    product: int


class BookingUnit:
    """The fills of one batch, booked together or not at all.

    Args:
        books: of the batch's accounts, which are locked, with the positions and fill ids that the batch touches.
    """

    def __init__(self, books: Mapping[AccountName, PortfolioBook]) -> None:
        self.books = books
        self.bookings: list[tuple[Booking, ReceivedFill]] = []
        self.adjusted: list[tuple[Adjusted, ReceivedFill]] = []

    def book(self, received: ReceivedFill) -> Booking | None:
        """Books a fill of the batch; returns None if it was booked before, or is an adjustment.

        Raises:
            InvalidInput: the ledger can't hold the fill's amounts (Position.after), or nothing is held that could be adjusted.
        """
        key = received.filled.order.key
        book = self.books[AccountName(key.broker, key.account)]
        if received.filled.fill.adjustment is not None:
            if adjusted := book.adjust(received.filled):
                self.adjusted.append((adjusted, received))
            return None
        booking = book.apply(received.filled)
        if booking:
            self.bookings.append((booking, received))
        return booking


class PortfolioStore(Protocol):
    """The books of all accounts."""

    async def open_account(self, name: AccountName, starting_cash: Decimal) -> None:
        """Opens an account with cash, rupees, 0 or more; does nothing if it is open already."""

    def unit(
        self, batch: Sequence[ReceivedFill], starting_cash: Decimal
    ) -> AbstractAsyncContextManager[BookingUnit]:
        """One transaction for a batch: opens missing accounts with `starting_cash` and locks all accounts of the batch.

        The bookings are stored if the block ends without an exception, otherwise none of them.
        """

    async def books(self, name: AccountName) -> AccountBooks | None:
        """The books of an account, all of one revision; None if it isn't open."""

    async def accounts(self, broker: str) -> Sequence[AccountName]:
        """The open accounts of a broker, ordered by name."""

    async def state(self, name: AccountName, day: date | None) -> AccountState | None:
        """The state of an account; None if it isn't open.

        The day's base is the equity of the day's DAY_START snapshot. An account without any DAY_START snapshot was opened
        during the day; its base is its starting cash. The base is None if `day` is None.
        """

    async def revisions(self) -> Mapping[AccountName, int]:
        """The revision of every open account."""

    async def fills_after(self, name: AccountName, revision: int, limit: int) -> Sequence[BookedFill]:
        """At most `limit` fills with a revision above `revision`, oldest first."""

    async def take_snapshot(
        self,
        name: AccountName,
        cause: Cause,
        make: Callable[[AccountBooks], Snapshot],
        event: Callable[[Snapshot, Cause], Event],
    ) -> bool:
        """Makes a snapshot of an open account's books with `make` and stores it with its event, in one transaction.

        Returns:
            False if its id exists already, or if it is a DAY_START snapshot and the day has snapshots already.
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

    async def charges(self, name: AccountName, *, strategy_id: str) -> Charges:
        """The charges of an account's fills so far, by line; an empty filter means all strategies."""

    async def fills(
        self, name: AccountName, *, strategy_id: str, order_id: str, before: int | None, limit: int
    ) -> Sequence[BookedFill]:
        """At most `limit` fills with a revision below `before`, newest first; an empty filter means all, `order_id` is a UUID."""

    async def ledger(
        self, name: AccountName, *, strategy_id: str, after: int, limit: int, order_id: str = ""
    ) -> Sequence[LedgerLine]:
        """At most `limit` entries with a sequence above `after`, oldest first; an empty filter means all."""

    async def disagreements(self, name: AccountName) -> Sequence[str]:
        """How an account's cash, positions and totals differ from the sums of its ledger, as sentences; empty if equal."""


def fill_row(booking: Booking, correlation_id: str) -> BookedFill:
    """The booked fill of a booking."""
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
        paid=booking.paid,
        charges=booking.charges,
    )


def ledger_rows(transaction: LedgerTransaction, first_sequence: int) -> tuple[LedgerLine, ...]:
    """The ledger lines of a transaction; its first entry is number `first_sequence` of the account."""
    transaction_id, key = transaction.transaction_id, transaction.key
    return tuple(
        LedgerLine(
            entry_id=transaction.entry_id(n),
            transaction_id=transaction_id,
            sequence=first_sequence + n,
            name=AccountName(transaction.broker, transaction.account),
            strategy_id=(entry.key or key).strategy_id if key else "",
            instrument_id=key.instrument_id if key else "",
            product=(entry.key or key).product if key else None,
            ledger_account=entry.ledger_account,
            amount=entry.amount,
            fill_id=transaction.cause_id if key and transaction.is_fill else "",
            market_time=transaction.market_time,
            charges=entry.charges,
        )
        for n, entry in enumerate(transaction.entries)
    )


def disagreements(
    cash: Decimal,
    positions: Iterable[Position],
    strategies: Iterable[StrategyTotals],
    ledger: Mapping[tuple[str, str, int, LedgerAccount], Decimal],
) -> list[str]:
    """How an account's cash, positions and totals differ from its ledger, as sentences; empty if equal.

    Args:
        cash: as stored.
        positions: all positions as stored, flat ones included.
        strategies: the strategies' totals as stored.
        ledger: sums of entries by (strategy_id, instrument_id, product, ledger account); an opening has "", "", 0.
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
