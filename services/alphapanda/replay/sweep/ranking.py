"""The sets of a sweep, ranked by a measure; and the best one of some trading days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from math import isfinite
from typing import Final

from alphapanda.domain.charges import NO_CHARGES, Charges
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.money import ZERO
from alphapanda.replay.figure import Figures, NotDefined, Number
from alphapanda.replay.statistics import LEAST_DAYS, LEAST_DAYS_OF_A_RATE, statistics
from alphapanda.replay.trading_days import DayEnd

MEASURES: Final = ("net_pnl", "total_return", "sharpe", "sortino", "calmar", "max_drawdown_at_days_ends")
"""What sets may be ranked by; all can be measured on any trading days."""
FALLS: Final = frozenset({"max_drawdown_at_days_ends"})
"""Measures of which less is better."""
LEAST_DAYS_OF: Final = {"sharpe": LEAST_DAYS, "sortino": LEAST_DAYS, "calmar": LEAST_DAYS_OF_A_RATE}
COLUMNS: Final = (
    *("net_pnl", "total_return", "sharpe", "max_drawdown", "round_trips", "win_rate", "profit_factor"),
    *("time_in_market", "charges"),
)  # fmt: skip
"""Figures of the ranked table; --json and --csv have all."""


@dataclass(frozen=True, slots=True)
class SetResult:
    """What one set came to.

    Attributes:
        number: its place in the sweep, from 0.
        strategy_type: name of the type.
        parameters: those that were given, as text.
        figures: of the set's account.
        starting_cash: of its purse, rupees.
        ends: equity at the end of each trading day.
        failures: the strategy's errors, a line each.
        charges: of all its fills, by line.
    """

    number: int
    strategy_type: str
    parameters: Mapping[str, str]
    figures: Figures
    starting_cash: Decimal
    ends: tuple[DayEnd, ...]
    failures: tuple[str, ...] = ()
    charges: Charges = NO_CHARGES

    @property
    def name(self) -> str:
        """The type with its parameters, such as "ema_cross fast=5 slow=30"."""
        return " ".join([self.strategy_type, *(f"{name}={value}" for name, value in self.parameters.items())])


def ranked(results: Sequence[SetResult], measure: str) -> list[SetResult]:
    """The results, the best first; those without the measure last; where equal, in the order of the sweep."""
    return sorted(results, key=lambda each: (*_order(each.figures.value(measure), measure), each.number))


def best_of_days(
    results: Sequence[SetResult], measure: str, first: int, end: int
) -> tuple[SetResult, Number | None]:
    """The best set on the trading days [first, end), measured on its run over all days, and its measure there.

    Args:
        results: at least one, with the same trading days.
        measure: one of MEASURES.
        first: number of the first day.
        end: number of the day after the last.
    """
    measured = [(each, _measured(each, measure, first, end)) for each in results]
    return min(measured, key=lambda pair: (*_order(pair[1], measure), pair[0].number))


def require_measurable(measure: str, days: int) -> None:
    """Raises InvalidInput where a number of trading days is too short for a measure."""
    least = LEAST_DAYS_OF.get(measure, 1)
    if days < least:
        raise InvalidInput(
            "--walk-forward",
            f"{days}d",
            f"{measure} means nothing below {least} trading days; choose by --rank-by net_pnl, or on more days",
        )


def days_of(results: Sequence[SetResult]) -> list[date]:
    """The trading days of the sweep."""
    return [end.day for end in results[0].ends]


def _measured(result: SetResult, measure: str, first: int, end: int) -> Number | None:
    before = result.ends[first - 1].equity if first else result.starting_cash
    part = result.ends[first:end]
    if measure == "net_pnl":
        return part[-1].equity - before
    value = statistics(before, part, ZERO, traded=True)[measure]
    return None if isinstance(value, NotDefined) or not isfinite(value) else value


def _order(value: Number | None, measure: str) -> tuple[bool, Decimal]:
    """Sorts the best value first, and no value last."""
    if value is None:
        return True, ZERO
    exact = Decimal(value)
    return False, exact if measure in FALLS else -exact
