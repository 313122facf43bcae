"""What was traded elsewhere: whose position it changes, and as what it is booked."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.order import OrderStatus, PositionEffect, Product, Side
from alphapanda.domain.order_events import Fill, Filled, Submitted
from alphapanda.domain.signal import FOREIGN, PositionKey
from alphapanda.trading.core.foreign import DayTrade, allocated, booked, fills_of_parts, foreign_key

ELSEWHERE = foreign_key("zerodha", "default", "NSE:INFY", Product.MIS)


def key(strategy: str) -> PositionKey:
    return PositionKey("zerodha", "default", strategy, "NSE:INFY", Product.MIS)


def trade(units: int) -> DayTrade:
    at = datetime(2026, 12, 1, 4, 30, tzinfo=UTC)
    fill = Fill("f-1", "17", abs(units), Decimal(1500), Decimal("10.01"), at)
    side = Side.of(units)
    return DayTrade("default", "K1", "", "RMS", "NSE:INFY", side, Product.MIS, fill, "2026-12-01", "NSE:17")


def told(units: int, held: dict[str, int]) -> dict[str, int]:
    parts = allocated(units, {key(name): quantity for name, quantity in held.items()}, ELSEWHERE)
    return {part.key.strategy_id: part.units for part in parts}


def test_rule_9_a_foreign_trade_closes_foreign_holdings_then_the_largest_positions_and_the_rest_is_foreign() -> (
    None
):
    """Positions on the trade's own side aren't touched."""
    assert told(-50, {}) == {FOREIGN: -50}
    assert told(50, {FOREIGN: 10, "a": 30}) == {FOREIGN: 50}
    assert told(-50, {FOREIGN: 20, "a": 10, "b": 30}) == {FOREIGN: -20, "b": -30}
    assert told(-65, {"a": 10, "b": 30, "c": 30, "d": -5}) == {"b": -30, "c": -30, "a": -5}
    assert told(-80, {FOREIGN: 20, "a": 10}) == {FOREIGN: -70, "a": -10}


@given(
    st.integers(-200, 200).filter(bool),
    st.dictionaries(st.sampled_from(["a", "b", FOREIGN]), st.integers(-90, 90)),
)
def test_rule_9_all_of_a_trade_is_booked_and_no_strategy_crosses_zero(
    units: int, held: dict[str, int]
) -> None:
    """The parts add up, each with a fill of its own, and charges that add up to the trade's."""
    parts = allocated(units, {key(name): quantity for name, quantity in held.items()}, ELSEWHERE)
    assert sum(part.units for part in parts) == units
    for part in parts:
        assert part.before == held.get(part.key.strategy_id, 0)
        if part.key.strategy_id != FOREIGN:
            assert 0 <= (part.before + part.units) * part.before < part.before**2
    fills = fills_of_parts("zerodha", trade(units), parts)
    assert fills[0].fill_id == "f-1"
    assert len({fill.fill_id for fill in fills}) == len(fills) == len({part.key for part in parts})
    assert sum(fill.quantity for fill in fills) == abs(units)
    assert sum(fill.commission for fill in fills) == Decimal("10.01")


def test_a_part_is_booked_as_an_order_that_is_filled_at_once() -> None:
    """Its ids follow from the fill, so that booking it twice is booking it once."""
    part = allocated(-50, {key("a"): 50}, ELSEWHERE)[0]
    order, updates = booked(trade(-50), part, trade(-50).fill, 408065, None)
    assert [type(update) for update in updates] == [Submitted, Filled]
    assert (order.status, order.effect, order.side) == (
        OrderStatus.FILLED, PositionEffect.REDUCES, Side.SELL,
    )  # fmt: skip
    assert (order.key, order.intents) == (key("a"), [])
    assert booked(trade(-50), part, trade(-50).fill, 408065, None)[0].order_id == order.order_id
