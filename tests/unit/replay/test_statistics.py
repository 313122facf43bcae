from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from math import isfinite, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.order import OrderStatus, PositionEffect, Product, Side
from alphapanda.domain.order_events import Fill, Filled, OrderState
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import AT_MARKET
from alphapanda.replay.drawdowns import drawdown_figures, drawdowns
from alphapanda.replay.figure import NotDefined
from alphapanda.replay.journal import ReplayJournal, Trade
from alphapanda.replay.performance import DEFINITIONS, OF_A_STRATEGY, performance
from alphapanda.replay.statistics import monthly_returns, statistics
from alphapanda.replay.trading_days import DayEnd, day_ends

CALENDAR = load_nse_calendar()
KEY = PositionKey("paper", "default", "s", "NSE:INFY", Product.MIS)
FIRST = date(2025, 1, 1)
CASH = Decimal(1000)


def trade(at: datetime, side: Side, quantity: int, price: str, position: int, charges: str = "0.10") -> Trade:
    fill = Fill(f"{at}{side}", "1", quantity, Decimal(price), Decimal(charges), at)
    order = OrderState(
        *("o", "s", KEY, 1, side, quantity, AT_MARKET, PositionEffect.OPENS, OrderStatus.FILLED),
        *(2, quantity, 0, Decimal(price), at),
    )
    return Trade(Filled(order, fill), Decimal(0), position)


def ends_of(*equity: float | str) -> list[DayEnd]:
    """Equity at the ends of trading days, one after the other."""
    days = [FIRST + timedelta(days=number) for number in range(2 * len(equity) + 9)]
    trading = [day for day in days if CALENDAR.is_trading_day(day)]
    return [DayEnd(day, Decimal(value)) for day, value in zip(trading, equity, strict=False)]


def walk(days: int) -> list[Decimal]:
    chance = np.random.default_rng(5)
    return [Decimal(f"{value:.2f}") for value in 1000 * np.cumprod(1 + chance.normal(0.001, 0.01, days))]


def test_each_figure_of_days_is_empyricals():
    """Return, CAGR, volatility, Sharpe, Sortino, deepest fall and Calmar by empyrical's formulas (0.5.5), on a year."""
    equity = walk(244)
    found = statistics(CASH, ends_of(*equity), Decimal("0.2"), traded=True)
    closes = np.array([1000.0, *map(float, equity)])
    returns = closes[1:] / closes[:-1] - 1
    grown = np.cumprod(1 + returns)
    annual = grown[-1] ** (252 / len(returns)) - 1
    # empyrical prepends 100 as the starting value of max_drawdown, too.
    falls = np.concatenate([[1.0], grown]) / np.maximum.accumulate(np.concatenate([[1.0], grown])) - 1
    downside = sqrt(np.mean(np.clip(returns, -np.inf, 0) ** 2)) * sqrt(252)
    expected = {
        "total_return": grown[-1] - 1,
        "cagr": annual,
        "volatility": np.std(returns, ddof=1) * 252 ** (1 / 2),
        "sharpe": np.mean(returns) / np.std(returns, ddof=1) * sqrt(252),
        "sortino": np.mean(returns) * 252 / downside,
        "max_drawdown_at_days_ends": -falls.min(),
        "calmar": annual / abs(falls.min()),
        "best_day": returns.max(),
        "worst_day": returns.min(),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-12)
    assert found["max_drawdown"] == 0.2
    deepest = drawdowns(CASH, ends_of(*equity))[0]
    assert deepest.depth == pytest.approx(-falls.min(), rel=1e-12)


def test_a_row_on_a_holiday_is_no_trading_day():
    """A flat row on Republic Day, or on a Sunday, changes no figure; what it changed belongs to the next trading day."""
    friday, monday, tuesday = date(2024, 1, 25), date(2024, 1, 29), date(2024, 1, 30)
    without = {friday: Decimal(900), monday: Decimal(950), tuesday: Decimal(940)}
    holiday, sunday = date(2024, 1, 26), date(2024, 1, 28)
    flat = dict(sorted({**without, holiday: Decimal(900), sunday: Decimal(900)}.items()))
    assert (
        day_ends(flat, CALENDAR) == day_ends(without, CALENDAR) == [DayEnd(*one) for one in without.items()]
    )
    assert day_ends({friday: Decimal(900), holiday: Decimal(880)}, CALENDAR) == [DayEnd(friday, Decimal(880))]
    assert day_ends({sunday: Decimal(900)}, CALENDAR) == []


def test_a_trading_day_without_ticks_counts_as_flat():
    """Positions have the value of the day before; a special session on a Saturday is a trading day like any other."""
    friday, saturday, monday = date(2024, 3, 1), date(2024, 3, 2), date(2024, 3, 4)
    assert day_ends({friday: Decimal(1), monday: Decimal(3)}, CALENDAR) == [
        (friday, Decimal(1)),
        (saturday, Decimal(1)),
        (monday, Decimal(3)),
    ]


@pytest.mark.parametrize(
    ("equity", "traded", "reasons"),
    [
        ([1010], True, {"cagr": "a day is no year", "calmar": "a day is no year", "sharpe": "1 trading day is"}),
        ([1010, 990], True, {"cagr": "2 trading days are no year", "sharpe": "2 trading days are too few"}),
        ([1010] * 80, True, {"sortino": "no trading day lost", "calmar": "no trading day ended below"}),
        ([1000] * 80, True, {"sharpe": "the daily returns are all the same"}),
        ([1000] * 80, False, {"sharpe": "no order was filled", "cagr": "no order was filled"}),
        ([f"{1000 * 1.001**n:.12f}" for n in range(1, 81)], True, {"sharpe": "are all the same"}),
        ([500, -5, *[7] * 80], True, {"sharpe": "was 0 or less at 2025-01-02", "best_day": "was 0 or less"}),
        ([900] * 79 + [-1], True, {"cagr": "all was lost"}),
        (["1e200"] * 80, True, {"cagr": "beyond what a number holds"}),
        (["1e400"] * 80, True, {"total_return": "beyond what a number holds"}),
        ([], True, {"best_day": "there was no trading day", "sharpe": "there was no trading day"}),
    ],
)  # fmt: skip
def test_what_is_not_defined_says_why(equity, traded, reasons):
    """A short, constant, untraded, ruined or boundless series has a reason in place of 10^14, nan or inf."""
    ends = ends_of(*equity)
    found = statistics(CASH, ends, Decimal(0), traded=traded)
    found |= {name: found[name] for name in found}
    for name, reason in reasons.items():
        value = found[name]
        assert isinstance(value, NotDefined) or not isfinite(value), name
        if isinstance(value, NotDefined):
            assert reason in value


def test_months_begin_where_the_last_one_ended():
    """The first month counts from the starting cash; from an equity of 0 or less no return is defined."""
    ends = [
        DayEnd(date(2025, 1, 31), Decimal(990)),
        DayEnd(date(2025, 2, 3), Decimal(0)),
        DayEnd(date(2025, 3, 3), Decimal(9)),
    ]
    assert monthly_returns(CASH, ends) == [((2025, 1), pytest.approx(-0.01)), ((2025, 2), -1.0), ((2025, 3), None)]  # fmt: skip


def test_a_fall_has_a_depth_a_length_and_a_recovery():
    """Two falls, the deepest first: one from the starting cash that is recovered, one that never is."""
    ends = ends_of(900, 950, 1000, 1100, 880, 990)
    deep, first = drawdowns(CASH, ends)
    assert (first.peak, first.trough, first.recovered) == (None, ends[0].day, ends[2].day)
    assert (first.days, first.days_to_recover, first.rupees) == (3, 2, 100)
    assert (deep.peak, deep.trough, deep.recovered) == (ends[3].day, ends[4].day, None)
    assert (deep.depth, deep.days, deep.days_to_recover) == (pytest.approx(0.2), 2, None)
    figures = drawdown_figures([deep, first])
    assert figures["longest_drawdown"] == 3
    assert figures["max_drawdown_length"] == 2
    assert figures["max_drawdown_recovery"] == "it was not recovered"


AMOUNTS = st.decimals(-(10**15), 10**15, places=4)
"""Equity may be lost and more: a short position's loss has no bound."""
DAYS = st.dictionaries(st.dates(date(2024, 12, 20), date(2026, 12, 31)), AMOUNTS, max_size=12)
LONG = st.lists(AMOUNTS, min_size=60, max_size=90).map(
    lambda all_: {end.day: end.equity for end in ends_of(*all_)}
)
PRICES = st.decimals("0.05", 10**7, places=2)
FILLS = st.lists(
    st.tuples(st.integers(0, 400), st.sampled_from(Side), st.integers(1, 10**6), PRICES, st.decimals(0, 10**6, places=2)),
    max_size=8,
)  # fmt: skip


@given(st.decimals("0.01", 10**12, places=2), DAYS | LONG, FILLS, st.decimals(0, 10**9, places=6))
def test_every_figure_answers_on_every_input(cash, days, fills, drawdown):
    """A finite number, or None with a reason: for an account that lost all it had, or grew a billionfold in a day."""
    journal = ReplayJournal(lambda: pytest.fail("asked"), ())
    journal.days = dict(sorted(days.items()))
    journal.strategy_days = {"s": {day: value for day, value in journal.days.items() if value > 0}}
    position = 0
    for day, side, units, price, charges in sorted(fills):
        position += side.sign * units
        at = datetime(2025, 1, 1, 5, tzinfo=UTC) + timedelta(days=day)
        journal.trades.append(trade(at, side, units, str(price), position, str(charges)))
    found = performance(journal, cash, drawdown, CALENDAR, {"NSE_EQ"})
    assert {figure.name for figure in found.figures} == set(DEFINITIONS)
    for figures, names in [(found.figures, DEFINITIONS), *((each.figures, OF_A_STRATEGY) for each in found.strategies)]:  # fmt: skip
        assert [figure.name for figure in figures] == list(names)
        for figure in figures:
            assert (figure.value is None) == bool(figure.reason), figure
            assert figure.value is None or isfinite(figure.value), figure
    assert all(share is None or isfinite(share) for _, share in found.monthly)
