"""What an account holds and has on its way, at the last prices, and what its day has made so far.

A last price has no age here: it is the mark, as it is in the portfolio's books. A missing one makes the sum unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal

from alphapanda.domain.money import ZERO, to_paisa
from alphapanda.risk.core.position import PositionState

PriceOf = Callable[[str], Decimal | None]
"""From an instrument's id to its last price; None where there is none."""


class ValueUnknown(Exception):
    """A sum that can't be made; the message says of what the price, or the cost, is missing."""


@dataclass(frozen=True, slots=True)
class InstrumentExposure:
    """One instrument in an account, all its positions together.

    Attributes:
        instrument_id: ours.
        held: signed units, long and short offset.
        in_flight: signed units on their way.
        most: units it can come to hold, long and short added up.
        price: last price; None where there is none.
        gross: rupees of `most`; None without a price.
        net: signed rupees of what is held and on its way; None without a price.
    """

    instrument_id: str
    held: int
    in_flight: int
    most: int
    price: Decimal | None

    @property
    def gross(self) -> Decimal | None:
        """Rupees of `most`; None without a price."""
        return None if self.price is None else self.most * self.price

    @property
    def net(self) -> Decimal | None:
        """Signed rupees of what is held and on its way; None without a price."""
        return None if self.price is None else (self.held + self.in_flight) * self.price


def by_instrument(states: Iterable[PositionState], price_of: PriceOf) -> list[InstrumentExposure]:
    """What there is of each instrument, in the order of their ids."""
    sums: dict[str, tuple[int, int, int]] = {}
    for state in states:
        in_flight = state.open.on_its_way if state.open else 0
        if state.quantity or in_flight:
            held, flying, most = sums.get(state.key.instrument_id, (0, 0, 0))
            sums[state.key.instrument_id] = (
                held + state.quantity,
                flying + in_flight,
                most + state.most,
            )
    return [InstrumentExposure(name, *of, price_of(name)) for name, of in sorted(sums.items())]


def gross_value(
    states: Iterable[PositionState], price_of: PriceOf, instrument_id: str | None = None
) -> Decimal:
    """Rupees of positions, long and short added up, what is on its way included.

    Args:
        states: of one account.
        price_of: last prices.
        instrument_id: only this instrument's positions; None: all.

    Raises:
        ValueUnknown: a price is missing.
    """
    total = ZERO
    for state in states:
        if instrument_id in (None, state.key.instrument_id) and (most := state.most):
            total += most * _price(state, price_of)
    return total


def unrealised(states: Iterable[PositionState], price_of: PriceOf) -> Decimal:
    """What the positions of an account would make at the last prices, before charges.

    Raises:
        ValueUnknown: a price is missing, or what a position cost.
    """
    total = ZERO
    for state in states:
        if state.quantity:
            if not state.history.cost:
                raise ValueUnknown(f"what the position in {state.key.instrument_id} cost isn't known")
            total += state.quantity * _price(state, price_of) - state.history.cost
    return total


def rupees(amount: Decimal) -> str:
    """An amount for a person: in paise, finer only where it is."""
    whole = to_paisa(amount)
    return f"{whole:f}" if whole == amount else f"{amount.normalize():f}"


def _price(state: PositionState, price_of: PriceOf) -> Decimal:
    price = price_of(state.key.instrument_id)
    if price is None:
        raise ValueUnknown(f"there is no price of {state.key.instrument_id}")
    return price
