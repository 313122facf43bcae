"""The book of one account: cash and positions, and the booking of fills, each once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from msgspec import Struct

from alphapanda.domain.charge_days import ChargeDays
from alphapanda.domain.charges import NO_CHARGES, Charges
from alphapanda.domain.order_events import Fill, Filled
from alphapanda.domain.signal import PositionKey
from alphapanda.portfolio.core.adjusting import Adjusted, moved, rescaled
from alphapanda.portfolio.core.ledger import LedgerTransaction, entry_count, fill_transaction, opening
from alphapanda.portfolio.core.positions import Position, PositionChange
from alphapanda.portfolio.core.profit import Statement, statement, totals_of


class Booking(Struct, frozen=True, gc=False):
    """The booking of a fill.

    Attributes:
        filled: the event.
        change: of the fill's position.
        cash_change: of the account's cash, rupees, charges included.
        revision: the account's revision after it.
        first_sequence: number of its first entry in the account's ledger, from 1.
        paid: rupees of charges booked with it: the fill's commission, or the sum of `charges`.
        charges: their lines, in whole paise, as ChargeDays has them; none where only the commission is known.
    """

    filled: Filled
    change: PositionChange
    cash_change: Decimal
    revision: int
    first_sequence: int
    paid: Decimal
    charges: Charges = NO_CHARGES

    @property
    def day_charges(self) -> Decimal:
        """Rupees of charges beyond the fill's own commission."""
        return self.paid - self.filled.fill.commission

    @property
    def as_booked(self) -> Filled:
        """The event with the charges that were booked in place of the fill's own."""
        fill = self.filled.fill
        if not self.charges:
            return self.filled
        booked = Fill(
            fill.fill_id,
            fill.exchange_trade_id,
            fill.quantity,
            fill.price,
            self.paid,
            fill.traded_at,
            self.charges,
        )
        return Filled(self.filled.order, booked)

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
        return fill_transaction(self.filled, self.change, self.paid, self.charges)


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
        charge_days: the charges of the position keys that fills may touch, as far as they are of the day; None for an
            account just opened.
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
        charge_days: ChargeDays | None = None,
    ) -> None:
        self.broker = broker
        self.account = account
        self.starting_cash = starting_cash
        self.cash = starting_cash if cash is None else cash
        self.revision = revision
        self.entries = len(self.opening.entries) if entries is None else entries
        self._positions = {position.key: position for position in positions}
        self._booked = set(booked)
        self.charge_days = charge_days or ChargeDays()

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
        change = self.position(order.key).after(
            order.side.sign * fill.quantity, fill.price, fill.commission, fill.traded_at
        )
        charges, paid = NO_CHARGES, fill.commission
        if fill.charges:
            charges = self.charge_days.book(filled)
            paid = charges.total
            change = change.charged(paid - fill.commission)
        cash_change = -change.turnover - paid
        first_sequence = self.entries + 1
        self._booked.add(fill.fill_id)
        self._positions[order.key] = change.position
        self.cash += cash_change
        self.revision += 1
        self.entries += entry_count(change, paid)
        return Booking(filled, change, cash_change, self.revision, first_sequence, paid, charges)

    def adjust(self, filled: Filled) -> Adjusted | None:
        """Books an adjustment; returns None if it was booked before, or is booked with the event of the other position.

        Raises:
            InvalidInput: nothing is held that could be adjusted so; nothing is changed.
        """
        fill, key = filled.fill, filled.order.key
        adjustment = fill.adjustment
        if adjustment is None or not adjustment.books or fill.fill_id in self._booked:
            return None
        units = filled.order.side.sign * fill.quantity
        changes: tuple[PositionChange, ...]
        if adjustment.other is None:
            changes = (rescaled(self.position(key), units, fill.traded_at),)
        else:
            changes = moved(self.position(key), self.position(adjustment.other), -units, fill.traded_at)
        adjusted = Adjusted(filled, changes, self.revision + 1, self.entries + 1)
        self._booked.add(fill.fill_id)
        for change in changes:
            self._positions[change.position.key] = change.position
        self.revision += 1
        self.entries += len(adjusted.transaction.entries)
        return adjusted

    def statement(self, prices: Mapping[str, Decimal]) -> Statement:
        """Value and profit at last prices by instrument_id."""
        positions = self._positions.values()
        totals = totals_of(positions, self.charge_days.by_strategy())
        return statement(self.cash, totals, positions, prices)
