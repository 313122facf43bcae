"""Computes return, risk and drawdown from the equity at the end of each trading day.

The formulas are those of empyrical with a year of 252 trading days and a riskless rate of 0. Each answers on every series: with
a number, or with the reason why there is none. Ratios are floats, because they are only shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from itertools import pairwise
from math import sqrt
from typing import Final

import numpy as np

from alphapanda.replay.figure import MORE_THAN_A_NUMBER_HOLDS, Definition, NotDefined, Number, Unit
from alphapanda.replay.trading_days import DayEnd

YEAR_DAYS: Final = 252
LEAST_DAYS: Final = 20
"""Trading days from which a ratio of daily returns says something: a month."""
LEAST_DAYS_OF_A_RATE: Final = 63
"""Trading days from which a yearly rate says something: a quarter."""
_NOISE: Final = 1e-12
"""A deviation of daily returns below this is rounding."""

Series = np.typing.NDArray[np.float64]

DEFINITIONS: Final = {
    "total_return": Definition("Return", Unit.FRACTION, "equity at the end / starting cash - 1"),
    "cagr": Definition(
        "CAGR",
        Unit.FRACTION,
        f"(1 + return) ^ ({YEAR_DAYS} / trading days) - 1; from {LEAST_DAYS_OF_A_RATE} trading days on",
    ),
    "volatility": Definition(
        "Volatility",
        Unit.FRACTION,
        f"sample standard deviation of the daily returns x √{YEAR_DAYS}; from {LEAST_DAYS} trading days on",
    ),
    "sharpe": Definition(
        "Sharpe",
        Unit.RATIO,
        f"mean / sample standard deviation of the daily returns x √{YEAR_DAYS}, riskless rate 0; from {LEAST_DAYS} trading days on",
    ),
    "sortino": Definition(
        "Sortino",
        Unit.RATIO,
        f"mean / root mean square of the negative daily returns (over all days) x √{YEAR_DAYS}; from {LEAST_DAYS} trading days on",
    ),
    "calmar": Definition("Calmar", Unit.RATIO, "CAGR / max drawdown at days' ends"),
    "max_drawdown": Definition(
        "Max drawdown",
        Unit.FRACTION,
        "deepest fall of the equity from its peak, measured at every tick and fill",
    ),
    "max_drawdown_at_days_ends": Definition(
        "Max drawdown at days' ends",
        Unit.FRACTION,
        "deepest fall from its peak of the equity at the ends of the trading days, the starting cash included",
    ),
    "best_day": Definition("Best day", Unit.FRACTION, "largest daily return"),
    "worst_day": Definition("Worst day", Unit.FRACTION, "smallest daily return"),
    "trading_days": Definition(
        "Trading days",
        Unit.COUNT,
        "trading days of the exchange's calendar from the first to the last tick; one without ticks counts as flat",
    ),
}


def statistics(
    starting_cash: Decimal, ends: Sequence[DayEnd], max_drawdown: Decimal, *, traded: bool
) -> dict[str, Number | NotDefined]:
    """Computes the figures of DEFINITIONS.

    Args:
        starting_cash: rupees.
        ends: equity at the end of each trading day, in order.
        max_drawdown: a fraction, measured at every tick.
        traded: whether an order was filled.
    """
    equity = np.array([float(starting_cash), *(float(end.equity) for end in ends)])
    found: dict[str, Number | NotDefined] = {
        "max_drawdown": float(max_drawdown),
        "trading_days": len(ends),
    }
    with np.errstate(all="ignore"):
        returns = _returns(equity, ends)
        found["total_return"] = _total_return(equity)
        found["cagr"] = _cagr(found["total_return"], len(ends), traded=traded)
        found["max_drawdown_at_days_ends"] = _deepest_fall(equity)
        found["calmar"] = _calmar(found["cagr"], found["max_drawdown_at_days_ends"])
        for name, of_days in (("best_day", _largest), ("worst_day", _smallest)):
            found[name] = returns if isinstance(returns, NotDefined) else of_days(returns)
        for name, ratio in (("volatility", _volatility), ("sharpe", _sharpe), ("sortino", _sortino)):
            found[name] = _of_many(returns, ratio, traded=traded)
    return found


def monthly_returns(
    starting_cash: Decimal, ends: Sequence[DayEnd]
) -> list[tuple[tuple[int, int], float | None]]:
    """The return of each calendar month as ((year, month), fraction); None if the equity before it was 0 or less."""
    last: dict[tuple[int, int], float] = {}
    for day, equity in ends:
        last[day.year, day.month] = float(equity)
    closes = [float(starting_cash), *last.values()]
    return [
        (month, after / before - 1 if before > 0 else None)
        for month, (before, after) in zip(last, pairwise(closes), strict=True)
    ]


def daily_returns(starting_cash: Decimal, ends: Sequence[DayEnd]) -> list[float | None]:
    """The return of each trading day, a fraction; None if the equity before it was 0 or less."""
    closes = [float(starting_cash), *(float(end.equity) for end in ends)]
    return [after / before - 1 if before > 0 else None for before, after in pairwise(closes)]


def _returns(equity: Series, ends: Sequence[DayEnd]) -> Series | NotDefined:
    """The daily returns, at least one."""
    if len(equity) == 1:
        return NotDefined("there was no trading day")
    lost = np.flatnonzero(equity[:-1] <= 0)
    if len(lost):
        when: date | str = ends[lost[0] - 1].day if lost[0] else "the start"
        return NotDefined(f"the equity was 0 or less at {when}, and from there no return counts")
    return np.diff(equity) / equity[:-1]


def _total_return(equity: Series) -> float | NotDefined:
    if equity[0] <= 0:
        return NotDefined("there was no starting cash")
    return float(equity[-1] / equity[0] - 1)


def _cagr(total: Number | NotDefined, days: int, *, traded: bool) -> float | NotDefined:
    if isinstance(total, NotDefined):
        return total
    if not traded:
        return NotDefined("no order was filled")
    if days < LEAST_DAYS_OF_A_RATE:
        few = f"{days} trading days are no year; it needs {LEAST_DAYS_OF_A_RATE}"
        return NotDefined("a day is no year" if days == 1 else few)
    if total <= -1:
        return NotDefined("all was lost")
    try:
        return float((1 + float(total)) ** (YEAR_DAYS / days)) - 1
    except OverflowError:
        return NotDefined(MORE_THAN_A_NUMBER_HOLDS)


def _calmar(cagr: Number | NotDefined, fall: Number | NotDefined) -> float | NotDefined:
    for one in (cagr, fall):
        if isinstance(one, NotDefined):
            return one
    return float(cagr) / float(fall) if fall else NotDefined("no trading day ended below an earlier one")


def _deepest_fall(equity: Series) -> float | NotDefined:
    peaks = np.maximum.accumulate(equity)
    if peaks[0] <= 0:
        return NotDefined("there was no starting cash")
    return float(np.max(1 - equity / peaks))


def _of_many(
    returns: Series | NotDefined, ratio: Callable[[Series], float | NotDefined], *, traded: bool
) -> float | NotDefined:
    """A ratio of daily returns, or why they don't make one."""
    if not traded:
        return NotDefined("no order was filled")
    if isinstance(returns, NotDefined):
        return returns
    if len(returns) < LEAST_DAYS:
        days = "1 trading day is" if len(returns) == 1 else f"{len(returns)} trading days are"
        return NotDefined(f"{days} too few; it needs {LEAST_DAYS}")
    return ratio(returns)


def _volatility(returns: Series) -> float:
    return float(returns.std(ddof=1)) * sqrt(YEAR_DAYS)


def _sharpe(returns: Series) -> float | NotDefined:
    mean, deviation = float(returns.mean()), float(returns.std(ddof=1))
    if deviation <= _NOISE * max(1.0, abs(mean)):
        return NotDefined("the daily returns are all the same")
    return mean / deviation * sqrt(YEAR_DAYS)


def _sortino(returns: Series) -> float | NotDefined:
    mean, deviation = float(returns.mean()), float(np.sqrt(np.mean(np.minimum(returns, 0.0) ** 2)))
    if deviation <= _NOISE * max(1.0, abs(mean)):
        return NotDefined("no trading day lost")
    return mean / deviation * sqrt(YEAR_DAYS)


def _largest(returns: Series) -> float:
    return float(returns.max())


def _smallest(returns: Series) -> float:
    return float(returns.min())
