"""Compares what the same signals got at two brokers: a live one, and paper as its shadow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from alphapanda.domain.money import ZERO
from alphapanda.domain.order import Product, Side

_FOUR_DECIMALS = Decimal("0.0001")
_TWO_DECIMALS = Decimal("0.01")
_BASIS_POINTS = 10_000
MOST_IDS = 50
"""Ids of fills that a leg keeps."""


class SignalKey(NamedTuple):
    """What tells signals apart, whatever the broker: a frame makes one signal of a strategy and instrument for each broker."""

    strategy_id: str
    instrument_id: str
    product: Product
    side: Side
    correlation_id: str


class SignalFill(NamedTuple):
    """A fill of a signal: units > 0 at a price > 0 in rupees, at a market time."""

    signal: SignalKey
    fill_id: str
    quantity: int
    price: Decimal
    traded_at: datetime


class Leg(NamedTuple):
    """The fills of one signal at one broker.

    Attributes:
        quantity: units, > 0.
        turnover: rupees.
        fills: number of fills.
        first_at: market time of the first.
        last_at: market time of the last.
        fill_ids: oldest first, at most MOST_IDS.
    """

    quantity: int
    turnover: Decimal
    fills: int
    first_at: datetime
    last_at: datetime
    fill_ids: tuple[str, ...]

    @property
    def average_price(self) -> Decimal:
        """Rupees of one unit, rounded to four decimals."""
        return (self.turnover / self.quantity).quantize(_FOUR_DECIMALS)


class Pair(NamedTuple):
    """One signal at both brokers."""

    signal: SignalKey
    live: Leg
    shadow: Leg

    @property
    def units(self) -> int:
        """Units that both filled."""
        return min(self.live.quantity, self.shadow.quantity)

    @property
    def per_unit(self) -> Decimal:
        """What a unit cost more than at the shadow, rupees; negative where it was better."""
        more = self.live.turnover / self.live.quantity - self.shadow.turnover / self.shadow.quantity
        return (self.signal.side.sign * more).quantize(_FOUR_DECIMALS)

    @property
    def cost(self) -> Decimal:
        """`per_unit` times the units that both filled, rupees."""
        return self.per_unit * self.units

    @property
    def value(self) -> Decimal:
        """The units that both filled at the shadow's price, rupees."""
        return self.shadow.average_price * self.units

    @property
    def basis_points(self) -> Decimal | None:
        """`per_unit` in hundredths of a percent of the shadow's price; None where that rounds to nothing."""
        return basis_points(self.cost, self.value)


class SlippageReport(NamedTuple):
    """The pairs, newest first, and how many signals filled at one of the brokers alone."""

    pairs: Sequence[Pair]
    only_live: int
    only_shadow: int

    @property
    def cost(self) -> Decimal:
        """Sum of the pairs' costs, rupees."""
        return sum((pair.cost for pair in self.pairs), ZERO)

    @property
    def basis_points(self) -> Decimal | None:
        """The cost in hundredths of a percent of the value compared; None without any."""
        return basis_points(self.cost, sum((pair.value for pair in self.pairs), ZERO))


def compare(live: Iterable[SignalFill], shadow: Iterable[SignalFill]) -> SlippageReport:
    """Pairs the fills of two brokers by the signals that they are of, whatever the order in which they come."""
    measured, against = _legs(live), _legs(shadow)
    pairs = [Pair(signal, leg, against[signal]) for signal, leg in measured.items() if signal in against]
    pairs.sort(key=lambda pair: (pair.live.last_at, pair.signal), reverse=True)
    return SlippageReport(pairs, len(measured) - len(pairs), len(against) - len(pairs))


def basis_points(cost: Decimal, value: Decimal) -> Decimal | None:
    """A cost in hundredths of a percent of a value; None of nothing."""
    return (cost / value * _BASIS_POINTS).quantize(_TWO_DECIMALS) if value else None


def _legs(fills: Iterable[SignalFill]) -> Mapping[SignalKey, Leg]:
    of_signal: dict[SignalKey, list[SignalFill]] = {}
    for fill in fills:
        of_signal.setdefault(fill.signal, []).append(fill)
    return {signal: _leg(found) for signal, found in of_signal.items()}


def _leg(fills: list[SignalFill]) -> Leg:
    in_time = sorted(fills, key=lambda fill: (fill.traded_at, fill.fill_id))
    return Leg(
        sum(fill.quantity for fill in fills),
        sum((fill.quantity * fill.price for fill in fills), ZERO),
        len(fills),
        in_time[0].traded_at,
        in_time[-1].traded_at,
        tuple(fill.fill_id for fill in in_time[:MOST_IDS]),
    )
