from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.order import Product
from alphapanda.domain.signal import PositionKey
from alphapanda.portfolio.core.positions import Position
from alphapanda.portfolio.core.profit import Profit, statement, totals_of

AMOUNTS = st.decimals(-(10**12), 10**12, places=4)
KEYS = st.builds(
    PositionKey,
    st.just("paper"),
    st.just("default"),
    st.sampled_from(["ema-1", "manual"]),
    st.sampled_from(["NSE:INFY", "NSE:TCS"]),
    st.sampled_from(Product),
)
POSITIONS = st.lists(
    st.builds(Position, KEYS, st.integers(-9, 9), AMOUNTS, AMOUNTS, st.decimals(0, 10**6, places=4)),
    max_size=6,
    unique_by=lambda position: position.key,
)
PRICES = st.dictionaries(st.sampled_from(["NSE:INFY", "NSE:TCS"]), st.decimals(0, 10**6, places=4))


@given(AMOUNTS, POSITIONS, PRICES)
def test_every_figure_of_a_statement_answers_on_every_input(cash, positions, prices) -> None:
    """Whatever price is missing: equity and profit are exact, or unknown together with the instrument that says why."""
    made = statement(cash, totals_of(positions), positions, prices)
    missing = {p.key.instrument_id for p in positions if p.quantity and p.key.instrument_id not in prices}
    assert made.without_price == tuple(sorted(missing))
    assert (made.equity is None) == (made.profit.net is None) == bool(missing)
    assert {line.position.key for line in made.positions} == {p.key for p in positions}
    for line in made.positions:
        assert isinstance(line.profit, Profit)
        assert (line.position.average_price is None) == (line.position.quantity == 0)
    if not missing:
        value = sum((line.market_value or Decimal(0) for line in made.positions), Decimal(0))
        assert made.equity == cash + value
        assert sum((one.profit.net or Decimal(0) for one in made.strategies), Decimal(0)) == made.profit.net
