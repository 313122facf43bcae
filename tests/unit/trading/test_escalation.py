"""How far an exit at the market goes that rests all the same."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.order import Side
from alphapanda.trading.core.escalation import DayRange, escalated_price, goes_as_far

TICK = Decimal("0.05")
PERCENTS = (Decimal(1), Decimal(3))


def test_rule_12_each_step_goes_further_and_the_last_one_to_the_circuit() -> None:
    """On the price grid, rounded to where somebody buys."""
    day = DayRange(Decimal("100.13"), Decimal(90), Decimal(110))
    sold = [escalated_price(Side.SELL, day, TICK, PERCENTS, step) for step in range(4)]
    bought = [escalated_price(Side.BUY, day, TICK, PERCENTS, step) for step in range(4)]
    assert sold == [Decimal("99.10"), Decimal("97.10"), 90, 90]
    assert bought == [Decimal("101.15"), Decimal("103.15"), 110, 110]


@given(st.integers(1, 10_000), st.integers(0, 5), st.sampled_from(Side))
def test_rule_12_no_step_leaves_the_circuit(paise: int, step: int, side: Side) -> None:
    """And none is less aggressive than the one before."""
    last = Decimal(paise) / 20
    day = DayRange(last, (last * Decimal("0.98") // TICK) * TICK, (last * Decimal("1.02") // TICK) * TICK)
    price = escalated_price(side, day, TICK, PERCENTS, step)
    assert day.low <= price <= day.high
    assert goes_as_far(side, escalated_price(side, day, TICK, PERCENTS, step + 1), price)
