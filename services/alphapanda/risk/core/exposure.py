"""An account's exposure and unrealised profit at the last prices, open orders included.

Last prices of any age count, as they do for the portfolio's marks. A missing price makes a sum unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal

from alphapanda.domain.money import ZERO, to_paisa
from alphapanda.risk.core.position import PositionState

PriceOf = Callable[[str], Decimal | None]
"""Returns the last price of an instrument id; None if there is none."""


class ValueUnknown(Exception):
    """A sum can't be computed; the message says which price or cost is missing."""


@dataclass(frozen=True, slots=True)
class InstrumentExposure:
    """An account's exposure in one instrument, over all its positions.

    Attributes:
        instrument_id: the platform's id.
        held: signed units held, long and short offset.
        in_flight: signed units of open orders that may still fill.
        most: largest number of units that positions and open orders can reach, long and short added up.
        price: last price; None if there is none.
    """

    instrument_id: str
    held: int
    in_flight: int
    most: int
    price: Decimal | None

    @property
    def gross(self) -> Decimal | None:
        """Value of `most` in rupees; None without a price."""
        return None if self.price is None else self.most * self.price

    @property
    def net(self) -> Decimal | None:
        """Signed value of held and in-flight units in rupees; None without a price."""
        return None if self.price is None else (self.held + self.in_flight) * self.price


def by_instrument(states: Iterable[PositionState], price_of: PriceOf) -> list[InstrumentExposure]:
    """The exposure in each instrument, sorted by instrument id."""
    sums: dict[str, tuple[int, int, int]] = {}
    for state in states:
        in_flight = state.open.on_its_way if state.open else 0
        if state.quantity or in_flight:
            held, flying, most = sums.get(state.key.instrument_id, (0, 0, 0))
            sums[state.key.instrument_id] = (
                held + state.quantity,
                flying + in_flight,
                most + state.max_units,
            )
    return [InstrumentExposure(name, *of, price_of(name)) for name, of in sorted(sums.items())]


def gross_value(
    states: Iterable[PositionState], price_of: PriceOf, instrument_id: str | None = None
) -> Decimal:
    """The gross value of positions and their open orders in rupees, long and short added up.

    Args:
        states: of one account.
        price_of: last prices.
        instrument_id: only this instrument's positions; None: all.

    Raises:
        ValueUnknown: a price is missing.
    """
    total = ZERO
    for state in states:
        if instrument_id in (None, state.key.instrument_id) and (most := state.max_units):
            total += most * _price(state, price_of)
    return total


def unrealised(states: Iterable[PositionState], price_of: PriceOf) -> Decimal:
    """The unrealised profit of an account's positions at the last prices, in rupees, before charges.

    Raises:
        ValueUnknown: a price, or the cost of a position, is missing.
    """
    total = ZERO
    for state in states:
        if state.quantity:
            if not state.history.cost:
                raise ValueUnknown(f"what the position in {state.key.instrument_id} cost isn't known")
            total += state.quantity * _price(state, price_of) - state.history.cost
    return total


def rupees(amount: Decimal) -> str:
    """An amount as text with two decimals, or more if it has more."""
    whole = to_paisa(amount)
    return f"{whole:f}" if whole == amount else f"{amount.normalize():f}"


def _price(state: PositionState, price_of: PriceOf) -> Decimal:
    price = price_of(state.key.instrument_id)
    if price is None:
        raise ValueUnknown(f"there is no price of {state.key.instrument_id}")
    return price
