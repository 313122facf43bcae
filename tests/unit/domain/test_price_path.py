import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.order import Side
from alphapanda.domain.price_path import price_path


@pytest.mark.parametrize(
    ("bar", "path"),
    [
        ((100, 110, 95, 105), (100, 95, 110, 105)),
        ((100, 105, 90, 95), (100, 105, 90, 95)),
        ((100, 110, 90, 105), (100, 90, 110, 105)),
        ((100, 110, 90, 95), (100, 110, 90, 95)),
        ((100, 110, 90, 100), (100, 90, 110, 100)),
        ((100, 100, 90, 90), (100, 100, 90, 90)),
        ((100, 100, 100, 100), (100, 100, 100, 100)),
    ],
)
def test_the_nearer_extreme_comes_first(bar, path):
    """Open, nearer extreme, other extreme, close; where both are as near, a bar that rose was low first."""
    assert price_path(*bar) == path


@given(st.lists(st.integers(1, 1000), min_size=4, max_size=4), st.sampled_from([None, Side.BUY, Side.SELL]))
def test_a_path_visits_the_four_prices_from_open_to_close(prices, against):
    """Against a buyer the low comes first, against a seller the high, whatever is nearer."""
    low, open_, close, high = sorted(prices)
    path = price_path(open_, high, low, close, against)
    assert (path[0], path[3], {*path[1:3]}) == (open_, close, {high, low})
    if against is not None:
        assert path[1] == (low if against is Side.BUY else high)
