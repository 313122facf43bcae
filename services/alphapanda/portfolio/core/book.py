"""The book of one account: cash and positions, and the booking of fills, each once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from msgspec import Struct

from alphapanda.domain.order_events import Filled
from alphapanda.domain.signal import PositionKey
from alphapanda.portfolio.core.ledger import LedgerTransaction, entry_count, fill_transaction, opening
from alphapanda.portfolio.core.positions import Position, PositionChange
from alphapanda.portfolio.core.profit import Statement, statement, totals_of


class Booking(Struct, frozen=True, gc=False):
    """The booking of a fill.

    Attributes:
        filled: the event.
        change: of the fill's position.
        cash_change: of the account's cash, rupees, commission included.
        revision: the account's revision after it.
        first_sequence: number of its first entry in the account's ledger, from 1.
    """

    filled: Filled
    change: PositionChange
    cash_change: Decimal
    revision: int
    first_sequence: int

    @property
    def position(self) -> Position:
        """The fill's position after it."""
        return self.change.position

    @property
    def realised(self) -> Decimal:
        """Profit that the fill realised, rupees before commission; 0 if it only opened."""
        return self.change.realised

    @property
    def transaction(self) -> LedgerTransaction:
        """The fill's ledger transaction, made on demand because a replay reads none of them."""
        return fill_transaction(self.filled, self.change)


class PortfolioBook:
    """Cash and positions of one (broker, account).

    Replay keeps one from the opening on. The store makes one from the rows that a batch touches.

    Args:
        broker: the account's broker.
        account: the account's name at the broker.
        starting_cash: rupees at the opening, 0 or more.
        cash: rupees now; None for an account just opened.
        revision: 1 after the opening, one more with each fill booked.
        entries: entries in its ledger so far; None for an account just opened.
        positions: the positions that fills may touch; any other counts as flat.
        booked: ids of fills booked already.
    """

    def __init__(
        self,
        broker: str,
        account: str,
        starting_cash: Decimal,
        *,
        cash: Decimal | None = None,
        revision: int = 1,
        entries: int | None = None,
        positions: Iterable[Position] = (),
        booked: Iterable[str] = (),
    ) -> None:
        self.broker = broker
        self.account = account
        self.starting_cash = starting_cash
        self.cash = starting_cash if cash is None else cash
        self.revision = revision
        self.entries = len(self.opening.entries) if entries is None else entries
        self._positions = {position.key: position for position in positions}
        self._booked = set(booked)

    @property
    def opening(self) -> LedgerTransaction:
        """The ledger transaction of the account's opening."""
        return opening(self.broker, self.account, self.starting_cash)

    @property
    def positions(self) -> Mapping[PositionKey, Position]:
        """All positions by key, flat ones included."""
        return self._positions

    def position(self, key: PositionKey) -> Position:
        """The position of a key; flat if there never was one."""
        return self._positions.get(key) or Position(key)

    def apply(self, filled: Filled) -> Booking | None:
        """Books a fill; returns None if its fill_id was booked before.

        Raises:
            InvalidInput: the ledger can't hold the fill's amounts (Position.after); nothing is changed.
        """
        fill, order = filled.fill, filled.order
        if fill.fill_id in self._booked:
            return None
        change = self.position(order.key).after(order.side.sign * fill.quantity, fill.price, fill.commission)
        cash_change = -change.turnover - fill.commission
        first_sequence = self.entries + 1
        self._booked.add(fill.fill_id)
        self._positions[order.key] = change.position
        self.cash += cash_change
        self.revision += 1
        self.entries += entry_count(filled, change)
        return Booking(filled, change, cash_change, self.revision, first_sequence)

    def statement(self, prices: Mapping[str, Decimal]) -> Statement:
        """Value and profit at last prices by instrument_id."""
        positions = self._positions.values()
        return statement(self.cash, totals_of(positions), positions, prices)
