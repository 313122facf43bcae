"""Profit and value of an account at given prices; the strategies' profits add up to the account's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from alphapanda.domain.charges import NO_CHARGES, Charges, merged
from alphapanda.domain.money import ZERO
from alphapanda.portfolio.core.positions import Position


@dataclass(frozen=True, slots=True)
class Profit:
    """Profit of a position, strategy or account; rupees, exact.

    Attributes:
        realised: by closing fills, before commission.
        unrealised: market value - cost; None if a price is missing.
        charges: charges paid, 0 or more.
        lines: the charges by line; none for a position.
    """

    realised: Decimal
    unrealised: Decimal | None
    charges: Decimal
    lines: Charges = NO_CHARGES

    @property
    def net(self) -> Decimal | None:
        """Realised + unrealised - charges; None if a price is missing."""
        return None if self.unrealised is None else self.realised + self.unrealised - self.charges


@dataclass(frozen=True, slots=True)
class ValuedPosition:
    """A position with its last price, None if unknown."""

    position: Position
    last_price: Decimal | None

    @property
    def market_value(self) -> Decimal | None:
        """Market value, signed rupees; 0 when flat, None if the price is missing."""
        if not self.position.quantity:
            return ZERO
        return None if self.last_price is None else self.position.quantity * self.last_price

    @property
    def profit(self) -> Profit:
        """The position's profit."""
        value = self.market_value
        return Profit(
            self.position.realised,
            None if value is None else value - self.position.cost,
            self.position.charges,
        )


@dataclass(frozen=True, slots=True)
class StrategyTotals:
    """Realised profit and charges of one strategy over all its positions, flat ones included; rupees.

    Attributes:
        strategy_id: the strategy.
        realised: by closing fills, before commission.
        charges: charges paid, 0 or more.
        lines: the charges by line; what they lack is known as a sum only.
    """

    strategy_id: str
    realised: Decimal
    charges: Decimal
    lines: Charges = NO_CHARGES


@dataclass(frozen=True, slots=True)
class StrategyProfit:
    """Profit of one strategy, and its number of open positions."""

    strategy_id: str
    profit: Profit
    open_positions: int


@dataclass(frozen=True, slots=True)
class Statement:
    """An account valued at given prices.

    Attributes:
        cash: rupees.
        equity: cash + market value; None if a price is missing.
        profit: of the account.
        strategies: profit by strategy, ordered by name.
        positions: the given positions, ordered by strategy, instrument, product.
        without_price: ids of held instruments without a price, ordered.
    """

    cash: Decimal
    equity: Decimal | None
    profit: Profit
    strategies: tuple[StrategyProfit, ...]
    positions: tuple[ValuedPosition, ...]
    without_price: tuple[str, ...]


def statement(
    cash: Decimal,
    strategies: Iterable[StrategyTotals],
    positions: Iterable[Position],
    prices: Mapping[str, Decimal],
) -> Statement:
    """Values an account at given prices.

    Args:
        cash: rupees.
        strategies: the totals of every strategy that has ever had a fill.
        positions: at least the open ones; flat ones are listed and add nothing.
        prices: last prices by instrument_id; an instrument without a price is absent.
    """
    valued = tuple(
        ValuedPosition(position, prices.get(position.key.instrument_id))
        for position in sorted(positions, key=sort_key)
    )
    value = _sum(line.market_value for line in valued)
    lines: defaultdict[str, list[ValuedPosition]] = defaultdict(list)
    for line in valued:
        lines[line.position.key.strategy_id].append(line)
    by_strategy = tuple(
        _strategy_profit(totals, lines[totals.strategy_id])
        for totals in sorted(strategies, key=lambda totals: totals.strategy_id)
    )
    return Statement(
        cash=cash,
        equity=None if value is None else cash + value,
        profit=_total(strategy.profit for strategy in by_strategy),
        strategies=by_strategy,
        positions=valued,
        without_price=tuple(
            sorted({line.position.key.instrument_id for line in valued if line.market_value is None})
        ),
    )


def totals_of(
    positions: Iterable[Position], lines: Mapping[str, Charges] | None = None
) -> list[StrategyTotals]:
    """The totals of all strategies, ordered by name, from all their positions, flat ones included.

    Args:
        positions: all positions.
        lines: the charges by line, by strategy.
    """
    totals: dict[str, StrategyTotals] = {}
    for position in positions:
        name = position.key.strategy_id
        so_far = totals.get(name) or StrategyTotals(name, ZERO, ZERO)
        totals[name] = StrategyTotals(
            name,
            so_far.realised + position.realised,
            so_far.charges + position.charges,
            (lines or {}).get(name, NO_CHARGES),
        )
    return [totals[name] for name in sorted(totals)]


def _strategy_profit(totals: StrategyTotals, lines: Iterable[ValuedPosition]) -> StrategyProfit:
    held = [line for line in lines if line.position.quantity]
    unrealised = _sum(line.profit.unrealised for line in held)
    by_line = merged([totals.lines], totals.charges)
    return StrategyProfit(
        totals.strategy_id, Profit(totals.realised, unrealised, totals.charges, by_line), len(held)
    )


def sort_key(position: Position) -> tuple[str, str, int]:
    """Sort key of positions: strategy, instrument, product."""
    return position.key.strategy_id, position.key.instrument_id, position.key.product


def _total(parts: Iterable[Profit]) -> Profit:
    profits = tuple(parts)
    return Profit(
        sum((part.realised for part in profits), ZERO),
        _sum(part.unrealised for part in profits),
        sum((part.charges for part in profits), ZERO),
        merged(part.lines for part in profits),
    )


def _sum(amounts: Iterable[Decimal | None]) -> Decimal | None:
    total = ZERO
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total
