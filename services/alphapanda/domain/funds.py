"""The funds of a simulated account: what it owns, what is blocked, and what is available for entries.

One definition for risk, which decides by it, and for everything that shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import NamedTuple, Protocol

from msgspec import Struct

from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.margin import MarginModel
from alphapanda.domain.money import ZERO
from alphapanda.domain.order import Product, Side
from alphapanda.domain.signal import PositionKey

ChargesOf = Callable[[Instrument, Product, Side, int, Decimal, date], Decimal]
"""Returns the charges in rupees of an order: its instrument, product, side, units, price in rupees, and the exchange's day."""


class AccountFunds(Struct, frozen=True, gc=False):
    """The funds of an account, in rupees. Unrealised profit and loss doesn't count.

    Attributes:
        starting_cash: cash at the account's opening, 0 or more.
        realised: realised profit less charges, since then.
        margin: blocked by positions, at their average prices.
        blocked: blocked by open orders.
    """

    starting_cash: Decimal
    realised: Decimal = ZERO
    margin: Decimal = ZERO
    blocked: Decimal = ZERO

    @property
    def balance(self) -> Decimal:
        """What the account owns: starting cash, realised profit, less charges."""
        return self.starting_cash + self.realised

    @property
    def used_margin(self) -> Decimal:
        """Blocked by positions and open orders."""
        return self.margin + self.blocked

    @property
    def available(self) -> Decimal:
        """What entries may use; negative after losses or charges that used up more than was left."""
        return self.starting_cash + self.realised - self.margin - self.blocked

    def moved(self, realised: Decimal, margin: Decimal, blocked: Decimal) -> AccountFunds:
        """The funds after these changes."""
        return AccountFunds(
            self.starting_cash, self.realised + realised, self.margin + margin, self.blocked + blocked
        )


class Payable(NamedTuple):
    """What an account's funds pay of an order that is about to fill.

    Attributes:
        units: units that may fill, from 0 to those of the order; of a flip that can't be paid its closing part.
        message: what is lacking, in one line; empty where all may fill.
    """

    units: int
    message: str = ""


@dataclass(frozen=True, slots=True)
class FundsTerms:
    """How the funds of a broker's simulated accounts are measured.

    Attributes:
        margins: the margin model.
        slippage: largest slippage of a fill, as a fraction of the price, >= 0.
        charges: charges of an order.
        enforced: whether entries that can't be paid are refused.
    """

    margins: MarginModel
    slippage: Decimal
    charges: ChargesOf
    enforced: bool = True

    @property
    def at_the_fill(self) -> FundsTerms:
        """The terms for a price that has its slippage already."""
        return FundsTerms(self.margins, ZERO, self.charges, self.enforced)


class Held(Protocol):
    """A position in some room's books."""

    @property
    def quantity(self) -> int:
        """Signed units held."""

    @property
    def cost(self) -> Decimal:
        """Signed rupees for which they were bought, or sold."""

    @property
    def key(self) -> PositionKey:
        """Its key."""


def margin_of(held: Held, margins: MarginModel, instruments: InstrumentDirectory, day: date) -> Decimal:
    """The rupees that a position blocks; where the margin can't be known, what it cost.

    Args:
        held: the position.
        margins: the margin model.
        instruments: today's instruments.
        day: the exchange's day.
    """
    instrument, cost = instruments.by_id(held.key.instrument_id), abs(held.cost)
    if instrument is None:
        return cost
    margin = margins.margin(instrument, held.key.product, held.quantity, cost, day)
    return cost if margin is None else margin


def no_charges(*_: object) -> Decimal:
    """Charges of 0."""
    return ZERO
