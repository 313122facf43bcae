"""The book of one account: its cash and positions, changed by fills, each once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from msgspec import Struct

from alphapanda.domain.order_events import Filled
from alphapanda.domain.signal import PositionKey
from alphapanda.portfolio.core.ledger import LedgerTransaction, entry_count, fill_transaction, opening
from alphapanda.portfolio.core.positions import Position, PositionChange
from alphapanda.portfolio.core.profit import Statement, statement, totals_of


class Booking(Struct, frozen=True):
    """A fill as booked.

    Attributes:
        filled: the event.
        change: what it did to its position.
        cash_change: what it did to cash, commission included.
        revision: of the account, after it.
        first_sequence: number of its first line in the account's ledger, from 1.
    """

    filled: Filled
    change: PositionChange
    cash_change: Decimal
    revision: int
    first_sequence: int

    @property
    def position(self) -> Position:
        """Its position after it."""
        return self.change.position

    @property
    def realised(self) -> Decimal:
        """Profit it realised, rupees before commission; 0 where it only opened."""
        return self.change.realised

    @property
    def transaction(self) -> LedgerTransaction:
        """Its lines in the ledger, made when asked for: a replay reads none of them."""
        return fill_transaction(self.filled, self.change)


class PortfolioBook:
    """Cash and positions of one (broker, account).

    Replay keeps one from the opening on; a store makes one of the rows that a batch touches.

    Args:
        broker: its broker.
        account: its account at the broker.
        starting_cash: rupees it was opened with, 0 or more.
        cash: rupees now; None for an account just opened.
        revision: 1 after the opening, one more with each fill booked.
        entries: lines in its ledger so far; None for an account just opened.
        positions: those that fills may touch; others are taken for new.
        booked: fill ids booked already.
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
        """The transaction it was opened with."""
        return opening(self.broker, self.account, self.starting_cash)

    @property
    def positions(self) -> Mapping[PositionKey, Position]:
        """By key, flat ones too."""
        return self._positions

    def position(self, key: PositionKey) -> Position:
        """What is held under a key; flat where nothing ever was."""
        return self._positions.get(key) or Position(key)

    def apply(self, filled: Filled) -> Booking | None:
        """Books a fill; None where its fill_id was booked before.

        Raises:
            InvalidInput: see Position.after; nothing is changed then.
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
