"""The terms of an order and its protection: what each type needs, and what is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.order import OrderType, Side, Validity
from alphapanda.domain.price_grid import grid_rule
from alphapanda.domain.terms import AT_MARKET, Protection, Terms, check_protection, check_terms

INFY = Instrument(
    "NSE:INFY", 408065, "NSE", "INFY", "INFOSYS", "NSE", "EQ", Decimal("0.05"), 1, 1000, "NSE_EQ"
)
GRID = grid_rule(INFY, date(2026, 3, 4))
PRICES = st.none() | st.decimals(
    allow_nan=False, allow_infinity=False, places=3, min_value=-5, max_value=3000
)
D = Decimal


def _refused(check: Callable[..., None], *given: object) -> str:
    """The field that a check refuses; empty if it passes."""
    try:
        check(*given)
    except InvalidInput as refused:
        return refused.field
    return ""


@pytest.mark.parametrize(
    "terms",
    [
        AT_MARKET,
        Terms(OrderType.LIMIT, Validity.IOC, D("1500.10")),
        Terms(OrderType.SL, limit_price=D(1501), trigger_price=D(1500)),
        Terms(OrderType.SL_M, trigger_price=D(1500)),
    ],
)
def test_an_order_with_the_prices_of_its_type_passes(terms) -> None:
    """A type's own prices, on the grid, are all that it needs."""
    check_terms(terms, Side.BUY, GRID)


@pytest.mark.parametrize(
    ("terms", "side", "field", "said"),
    [
        (Terms(OrderType.LIMIT), Side.BUY, "limit_price", "LIMIT needs it"),
        (Terms(OrderType.SL, limit_price=D(1)), Side.BUY, "trigger_price", "SL needs it"),
        (Terms(limit_price=D(1)), Side.BUY, "limit_price", "none for a MARKET order"),
        (Terms(OrderType.LIMIT, limit_price=D(1), trigger_price=D(1)), Side.BUY, "trigger_price", "none for a LIMIT order"),
        (Terms(OrderType.LIMIT, limit_price=D(0)), Side.BUY, "limit_price", "greater than 0"),
        (Terms(OrderType.LIMIT, limit_price=D("1500.03")), Side.BUY, "limit_price", "such as 1500.00 or 1500.10"),
        (Terms(OrderType.SL, limit_price=D(1499), trigger_price=D(1500)), Side.BUY, "limit_price", "at least trigger_price 1500"),
        (Terms(OrderType.SL, limit_price=D(1501), trigger_price=D(1500)), Side.SELL, "limit_price", "at most trigger_price 1500"),
    ],
)  # fmt: skip
def test_wrong_prices_are_refused_by_field(terms, side, field, said) -> None:
    """The error names the field and says what is allowed."""
    with pytest.raises(InvalidInput, match=said) as refused:
        check_terms(terms, side, GRID)
    assert refused.value.field == field


@given(
    order_type=st.sampled_from(OrderType),
    validity=st.sampled_from(Validity),
    limit=PRICES,
    trigger=PRICES,
    side=st.sampled_from(Side),
)
def test_every_combination_is_answered(order_type, validity, limit, trigger, side) -> None:
    """Whatever is given, it passes or is refused by name; what passes has exactly its type's prices."""
    field = _refused(check_terms, Terms(order_type, validity, limit, trigger), side, GRID)
    assert field in ("", "limit_price", "trigger_price")
    if not field:
        assert (limit is not None) == (order_type in (OrderType.LIMIT, OrderType.SL))
        assert (trigger is not None) == (order_type in (OrderType.SL, OrderType.SL_M))


@pytest.mark.parametrize(
    ("protection", "side", "field"),
    [
        (Protection(stop_loss=D(1510)), Side.BUY, "protection.stop_loss"),
        (Protection(stop_loss=D(1490)), Side.SELL, "protection.stop_loss"),
        (Protection(target=D(1490)), Side.BUY, "protection.target"),
        (Protection(target=D(1510)), Side.SELL, "protection.target"),
        (Protection(target=D(1510), trail=D(5)), Side.BUY, "protection.trail"),
        (Protection(stop_loss=D(1490), trail=D(0)), Side.BUY, "protection.trail"),
        (Protection(stop_loss=D("1490.01")), Side.BUY, "protection.stop_loss"),
    ],
)
def test_protection_on_the_wrong_side_is_refused(protection, side, field) -> None:
    """A stop lies where the loss is, a target where the profit is, a trail has a stop to move."""
    with pytest.raises(InvalidInput) as refused:
        check_protection(protection, side, D(1500), GRID)
    assert refused.value.field == field


@given(stop=PRICES, target=PRICES, trail=PRICES, price=PRICES, side=st.sampled_from(Side))
def test_protection_that_passes_stops_a_loss(stop, target, trail, price, side) -> None:
    """What passes has its stop and target on either side of the price."""
    if field := _refused(check_protection, Protection(stop, target, trail), side, price, None):
        assert field.startswith("protection.")
        return
    low, high = (stop, target) if side is Side.BUY else (target, stop)
    known = [one for one in (low, price, high) if one is not None]
    assert known == sorted(set(known))
