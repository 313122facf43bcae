"""Profit and value of an account at given prices; strategies add up to the account."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby

from alphapanda.domain.money import ZERO
from alphapanda.portfolio.core.positions import Position


@dataclass(frozen=True, slots=True)
class Profit:
    """Rupees, exact.

    Attributes:
        realised: by closing fills, before commission.
        unrealised: market value - cost; None where a price is missing.
        charges: paid, 0 or more.
    """

    realised: Decimal
    unrealised: Decimal | None
    charges: Decimal

    @property
    def net(self) -> Decimal | None:
        """Realised + unrealised - charges; None where a price is missing."""
        return None if self.unrealised is None else self.realised + self.unrealised - self.charges


@dataclass(frozen=True, slots=True)
class ValuedPosition:
    """A position at its last price (None where unknown)."""

    position: Position
    last_price: Decimal | None

    @property
    def market_value(self) -> Decimal | None:
        """Signed; 0 when flat, None where a price is missing."""
        if not self.position.quantity:
            return ZERO
        return None if self.last_price is None else self.position.quantity * self.last_price

    @property
    def profit(self) -> Profit:
        """Of this position."""
        value = self.market_value
        return Profit(
            self.position.realised,
            None if value is None else value - self.position.cost,
            self.position.charges,
        )


@dataclass(frozen=True, slots=True)
class StrategyProfit:
    """Profit of one strategy, and how many positions it holds."""

    strategy_id: str
    profit: Profit
    open_positions: int


@dataclass(frozen=True, slots=True)
class Statement:
    """An account at given prices.

    Attributes:
        cash: rupees.
        equity: cash + market value; None where a price is missing.
        profit: of the account.
        strategies: the same by strategy, ordered by name.
        positions: all, flat ones too, ordered by strategy, instrument, product.
        without_price: instruments held without a price, ordered.
    """

    cash: Decimal
    equity: Decimal | None
    profit: Profit
    strategies: tuple[StrategyProfit, ...]
    positions: tuple[ValuedPosition, ...]
    without_price: tuple[str, ...]


def statement(cash: Decimal, positions: Iterable[Position], prices: Mapping[str, Decimal]) -> Statement:
    """The statement of an account.

    Args:
        cash: rupees.
        positions: all of the account.
        prices: last prices by instrument_id; an instrument without a price is absent.
    """
    valued = tuple(
        ValuedPosition(position, prices.get(position.key.instrument_id))
        for position in sorted(positions, key=sort_key)
    )
    value = _sum(line.market_value for line in valued)
    strategies = []
    for strategy_id, group in groupby(valued, key=lambda line: line.position.key.strategy_id):
        lines = tuple(group)
        held = sum(1 for line in lines if line.position.quantity)
        strategies.append(StrategyProfit(strategy_id, _total(line.profit for line in lines), held))
    return Statement(
        cash=cash,
        equity=None if value is None else cash + value,
        profit=_total(strategy.profit for strategy in strategies),
        strategies=tuple(strategies),
        positions=valued,
        without_price=tuple(
            sorted({line.position.key.instrument_id for line in valued if line.market_value is None})
        ),
    )


def sort_key(position: Position) -> tuple[str, str, int]:
    """The order in which positions are listed: strategy, instrument, product."""
    return position.key.strategy_id, position.key.instrument_id, position.key.product


def _total(parts: Iterable[Profit]) -> Profit:
    profits = tuple(parts)
    return Profit(
        sum((part.realised for part in profits), ZERO),
        _sum(part.unrealised for part in profits),
        sum((part.charges for part in profits), ZERO),
    )


def _sum(amounts: Iterable[Decimal | None]) -> Decimal | None:
    total = ZERO
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total
