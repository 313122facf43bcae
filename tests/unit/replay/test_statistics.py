from __future__ import annotations

from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.order import OrderStatus, OrderType, PositionEffect, Product, Side
from alphapanda.domain.order_events import Fill, Filled, OrderState
from alphapanda.domain.signal import PositionKey
from alphapanda.replay.journal import EquitySample, Trade
from alphapanda.replay.statistics import statistics

KEY = PositionKey("paper", "default", "s", "NSE:INFY", Product.MIS)
OPEN = datetime(2025, 1, 30, 4, 0, tzinfo=UTC)


def sample(day: int, equity: int, *, ends_day: bool = True) -> EquitySample:
    return EquitySample(OPEN + timedelta(days=day), Decimal(equity), ends_day)


def trade(day: int, side: Side, quantity: int, realised: str, position: int) -> Trade:
    at = OPEN + timedelta(days=day)
    fill = Fill(f"{day}{side}", "1", quantity, Decimal(100), Decimal("0.10"), at)
    effect = PositionEffect.OPENS
    order = OrderState(
        *("o", "s", KEY, 1, side, quantity, OrderType.MARKET, effect, OrderStatus.FILLED),
        *(2, quantity, 0, Decimal(100), at),
    )
    return Trade(Filled(order, fill), Decimal(realised), position)


def test_the_figures_are_those_computed_by_hand():
    """Four days: up a tenth, down a tenth, up a tenth, flat; one gain of 30, one loss of 10."""
    samples = [
        sample(0, 1100),
        sample(1, 990),
        sample(4, 1040, ends_day=False),
        sample(4, 1089),
        sample(5, 1089),
    ]
    trades = [
        trade(0, Side.BUY, 1, "0", 1),
        trade(1, Side.SELL, 1, "30", 0),
        trade(4, Side.BUY, 2, "0", 2),
        trade(4, Side.SELL, 2, "-10", 0),
    ]
    figures = statistics(Decimal(1000), samples, trades, Decimal("0.12"))
    assert figures.total_return == pytest.approx(0.089)
    assert figures.cagr == pytest.approx(1.089 ** (252 / 4) - 1)
    returns = [0.1, -0.1, 0.1, 0.0]
    mean = sum(returns) / 4
    deviation = (sum((r - mean) ** 2 for r in returns) / 3) ** 0.5
    assert figures.sharpe == pytest.approx(mean / deviation * 252**0.5)
    assert figures.sortino == pytest.approx(mean / (0.01 / 4) ** 0.5 * 252**0.5)
    assert figures.max_drawdown == 0.12
    assert figures.profit_factor == pytest.approx(3.0)
    assert figures.win_rate == pytest.approx(0.5)
    assert figures.exposure == pytest.approx(3 / 4)
    assert figures.turnover == pytest.approx(0.6)
    assert figures.costs == Decimal("0.40")
    assert [month for month, _ in figures.monthly] == [(2025, 1), (2025, 2)]
    assert figures.monthly[0][1] == pytest.approx(-0.01)
    assert figures.monthly[1][1] == pytest.approx(1089 / 990 - 1)


def test_a_position_held_overnight_counts_as_exposed():
    """A day without a fill is exposed while something is carried into it."""
    samples = [sample(0, 1000), sample(1, 1000), sample(4, 1000)]
    figures = statistics(
        Decimal(1000),
        samples,
        [trade(0, Side.BUY, 1, "0", 1), trade(1, Side.SELL, 1, "0", 0)],
        Decimal(0),
    )
    assert figures.exposure == pytest.approx(2 / 3)
    held = statistics(Decimal(1000), samples, [trade(0, Side.BUY, 1, "0", 1)], Decimal(0))
    assert held.exposure == pytest.approx(1.0)


def test_nothing_traded_defines_no_ratio():
    """Where there is no deviation, no loss and no trade, the figure is absent, not zero or infinite."""
    figures = statistics(Decimal(1000), [sample(0, 1000), sample(1, 1000)], [], Decimal(0))
    assert (figures.sharpe, figures.sortino, figures.profit_factor, figures.win_rate) == (None,) * 4
    assert figures.total_return == figures.max_drawdown == figures.exposure == 0
    assert statistics(Decimal(1000), [], [], Decimal(0)).cagr is None


AMOUNTS = st.decimals(-(10**12), 10**12, places=4)
"""Equity may be lost and more: a short position's loss has no bound."""
SAMPLES = st.lists(st.tuples(st.integers(0, 400), AMOUNTS, st.booleans()), max_size=8)
TRADES = st.lists(
    st.tuples(st.integers(0, 400), st.sampled_from(Side), st.integers(1, 10**6), AMOUNTS, st.integers(-9, 9)),
    max_size=8,
)


@given(st.decimals("0.0001", 10**9, places=4), SAMPLES, TRADES, st.decimals(0, 10**9, places=6))
def test_every_figure_answers_on_every_input(cash, samples, trades, drawdown):
    """A number, or None where it isn't defined: an account that lost all it had, one that grew a billionfold in a day."""
    figures = statistics(
        cash,
        [EquitySample(OPEN + timedelta(days=day), equity, ends) for day, equity, ends in sorted(samples)],
        [trade(day, side, units, str(realised), held) for day, side, units, realised, held in sorted(trades)],
        drawdown,
    )
    *numbers, costs, monthly = astuple(figures)
    assert all(one is None or isfinite(one) for one in [*numbers, costs, *(share for _, share in monthly)])
    assert [month for month, _ in monthly] == sorted({month for month, _ in monthly})


def test_a_return_from_nothing_is_not_defined():
    """After a day that ends at 0 no return counts, and a day that multiplies the cash by a thousand has no yearly rate."""
    ruined = statistics(Decimal(1000), [sample(0, 0), sample(1, 500), sample(31, 600)], [], Decimal(1))
    assert (ruined.sharpe, ruined.sortino) == (None, None)
    assert [share for _, share in ruined.monthly] == [-0.5, pytest.approx(0.2)]
    assert statistics(Decimal(1), [sample(0, 10_000)], [], Decimal(0)).cagr is None
