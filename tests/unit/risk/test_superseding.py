"""A target that waits for an order that rests at the exchange takes its place."""

from __future__ import annotations

from decimal import Decimal

from tests.values import replace

from alphapanda.domain.order import OrderStatus, OrderType
from alphapanda.domain.terms import Terms
from alphapanda.risk.core.book import RiskBook, Superseded

AT_99 = Terms(OrderType.LIMIT, limit_price=Decimal(99))


def test_a_target_that_waits_for_a_resting_order_supersedes_it(market) -> None:
    """Once the order is known to rest; a market order ends by itself, and so does what has ended meanwhile."""
    book, inputs = RiskBook(), market.inputs()
    first, second = market.target(10), market.target(20)
    (approved,) = book.judge(replace(first, terms=AT_99), inputs)
    assert book.judge(second, inputs) == []
    assert book.take_superseded() == []
    rests = replace(market.event(approved, 0, OrderStatus.OPEN, 1), terms=AT_99)
    book.on_order(rests, inputs)
    assert book.take_superseded() == [Superseded(first.key, first.signal_id, second.signal_id)]
    assert book.take_superseded() == []
    third = market.target(30)
    book.judge(third, inputs)
    (verdict,) = book.on_order(
        replace(market.event(approved, 0, OrderStatus.CANCELLED, 2), terms=AT_99), inputs
    )
    assert (verdict.signal_id, verdict.quantity) == (third.signal_id, 30)
    assert book.take_superseded() == []


def test_a_market_order_is_waited_for(market) -> None:
    """It fills by itself; nobody cancels it."""
    book, inputs = RiskBook(), market.inputs()
    (approved,) = book.judge(market.target(10), inputs)
    book.on_order(market.event(approved, 0, OrderStatus.OPEN, 1), inputs)
    book.judge(market.target(20), inputs)
    assert book.take_superseded() == []


def test_a_modified_quantity_is_the_orders_quantity(market) -> None:
    """An order event with another quantity changes what may still fill."""
    book, inputs = RiskBook(), market.inputs()
    (approved,) = book.judge(replace(market.target(10), terms=AT_99), inputs)
    book.on_order(market.event(approved, 4, OrderStatus.PARTIALLY_FILLED, 1), inputs)
    book.on_order(replace(market.event(approved, 4, OrderStatus.PARTIALLY_FILLED, 2), quantity=6), inputs)
    order = book.position(approved.key).open
    assert order is not None
    assert (order.quantity, order.on_its_way) == (6, 2)
