"""Computes the figures of a report from a replay's journal. Ratios are floats, because they are only shown.

Daily returns are those of the equity at the end of each trading day; a year has 252 trading days; the risk-free rate is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from math import sqrt
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from alphapanda.replay.journal import EquitySample, Trade

TRADING_DAYS: Final = 252
IST: Final = ZoneInfo("Asia/Kolkata")


@dataclass(frozen=True, slots=True)
class Statistics:
    """Performance figures of a replay; a figure that isn't defined (no day, no loss, no deviation) is None.

    A return isn't defined from an equity of 0 or less, nor where it is beyond what a float holds.

    Attributes:
        total_return: change of equity divided by the starting cash, a fraction.
        cagr: compound annual growth rate, with TRADING_DAYS days a year, a fraction.
        sharpe: Sharpe ratio: mean daily return divided by its sample standard deviation, annualised.
        sortino: Sortino ratio: mean daily return divided by the root mean square of the negative ones, annualised.
        max_drawdown: largest fall of the equity from its peak, measured at every tick and fill, a fraction >= 0.
        profit_factor: sum of realised gains divided by sum of realised losses, before costs.
        win_rate: share of fills with a realised gain among those with a realised gain or loss, a fraction.
        exposure: share of trading days with a fill or an overnight position, a fraction.
        turnover: rupees bought and sold, divided by the starting cash.
        costs: commission and charges, rupees.
        monthly: return of each calendar month as ((year, month), fraction).
    """

    total_return: float
    cagr: float | None
    sharpe: float | None
    sortino: float | None
    max_drawdown: float
    profit_factor: float | None
    win_rate: float | None
    exposure: float
    turnover: float
    costs: Decimal
    monthly: tuple[tuple[tuple[int, int], float | None], ...]


def statistics(
    starting_cash: Decimal, samples: Sequence[EquitySample], trades: Sequence[Trade], max_drawdown: Decimal
) -> Statistics:
    """Computes the figures of one replay.

    Args:
        starting_cash: rupees, > 0.
        samples: samples of equity, in time order.
        trades: all fills, in order.
        max_drawdown: a fraction, from EquityTracker.
    """
    start = float(starting_cash)
    ends = [sample for sample in samples if sample.ends_day]
    equity = np.array([start, *(float(sample.equity) for sample in ends)])
    returns = np.diff(equity) / equity[:-1] if (equity[:-1] > 0).all() else np.array([])
    gains = sum((trade.realised for trade in trades if trade.realised > 0), Decimal(0))
    losses = -sum((trade.realised for trade in trades if trade.realised < 0), Decimal(0))
    closing = [trade for trade in trades if trade.realised]
    wins = sum(1 for trade in closing if trade.realised > 0)
    traded = sum((trade.filled.fill.price * trade.filled.fill.quantity for trade in trades), Decimal(0))
    total = float(equity[-1] / start - 1)
    return Statistics(
        total_return=total,
        cagr=_yearly(total, len(ends)),
        sharpe=_sharpe(returns),
        sortino=_sortino(returns),
        max_drawdown=float(max_drawdown),
        profit_factor=float(gains / losses) if losses else None,
        win_rate=wins / len(closing) if closing else None,
        exposure=_exposure(ends, trades),
        turnover=float(traded / starting_cash),
        costs=sum((trade.filled.fill.commission for trade in trades), Decimal(0)),
        monthly=_monthly(start, ends),
    )


def _yearly(total: float, days: int) -> float | None:
    if not days or total <= -1:
        return None
    try:
        return float((1 + total) ** (TRADING_DAYS / days)) - 1
    except OverflowError:
        return None


def _sharpe(returns: np.typing.NDArray[np.float64]) -> float | None:
    if len(returns) <= 1 or not (deviation := float(returns.std(ddof=1))):
        return None
    return float(returns.mean()) / deviation * sqrt(TRADING_DAYS)


def _sortino(returns: np.typing.NDArray[np.float64]) -> float | None:
    if len(returns) <= 1 or not (deviation := float(np.sqrt(np.mean(np.minimum(returns, 0.0) ** 2)))):
        return None
    return float(returns.mean()) / deviation * sqrt(TRADING_DAYS)


def _exposure(ends: Sequence[EquitySample], trades: Sequence[Trade]) -> float:
    """The share of days with a fill or an overnight position."""
    if not ends:
        return 0.0
    by_day: dict[object, list[Trade]] = {}
    for trade in trades:
        by_day.setdefault(_day(trade.filled.fill.traded_at), []).append(trade)
    held: dict[object, int] = {}
    exposed = 0
    for end in ends:
        carried = any(held.values())
        today = by_day.get(_day(end.at), [])
        held |= {trade.filled.order.key: trade.position for trade in today}
        exposed += bool(today) or carried
    return exposed / len(ends)


def _monthly(start: float, ends: Sequence[EquitySample]) -> tuple[tuple[tuple[int, int], float | None], ...]:
    last: dict[tuple[int, int], float] = {}
    for sample in ends:
        day = _day(sample.at)
        last[day.year, day.month] = float(sample.equity)
    closes = [start, *last.values()]
    return tuple(
        (month, after / before - 1 if before > 0 else None)
        for month, (before, after) in zip(last, pairwise(closes), strict=True)
    )


def _day(at: datetime) -> datetime:
    return at.astimezone(IST).replace(hour=0, minute=0, second=0, microsecond=0)
