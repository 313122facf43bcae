"""Orders that may be working at a broker unseen."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from alphapanda.domain.order import OrderStatus, PositionEffect, Product, Side
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import AT_MARKET
from alphapanda.kite.held import traded_unseen
from alphapanda.trading.core.intent import Intent
from alphapanda.trading.core.order import Order
from alphapanda.trading.exit_cuts import cuts_of
from alphapanda.trading.inquiry import day_in_india
from alphapanda.trading.store.port import StoredOrder
from alphapanda.trading.traders.trader import Standing
from alphapanda.trading.unseen import beside

AT = datetime(2026, 12, 1, 6, tzinfo=UTC)
WHERE = ("NSE:INFY", Product.MIS)


def exit_of(
    number: int, status: OrderStatus, quantity: int = 10, filled: int = 0, **changes: object
) -> Order:
    """An exit with one intent of this status; its version is its number."""
    order_id = f"00000000-0000-7000-8000-{number:012x}"
    order = Order(
        order_id, "signal", "chain", "cause", PositionKey("zerodha", "default", "one", *WHERE), 1, 1, Side.SELL, quantity,
        AT_MARKET, PositionEffect.REDUCES, AT, status, [Intent(order_id, 0, quantity, status, 1, filled=filled)],
        filled=filled, version=number,
    )  # fmt: skip
    return replace(order, **changes)


@pytest.mark.parametrize(
    ("other", "units"),
    [
        (exit_of(1, OrderStatus.UNKNOWN, 10, 3), 7),
        (exit_of(1, OrderStatus.SUBMITTING), 10),
        (exit_of(9, OrderStatus.SUBMITTING), 0),
        (exit_of(9, OrderStatus.UNKNOWN), 10),
        (exit_of(1, OrderStatus.OPEN), 10),
        (exit_of(1, OrderStatus.PENDING_SUBMIT), 0),
        (exit_of(1, OrderStatus.FILLED), 0),
        (exit_of(1, OrderStatus.UNKNOWN, side=Side.BUY), 0),
        (exit_of(5, OrderStatus.UNKNOWN), 0),
    ],
)
def test_rule_9_what_may_be_working_unseen_counts_beside_an_exit(other: Order, units: int) -> None:
    """Of two calls that are under way the later one leaves the earlier one its units; an exit doesn't stand beside itself."""
    order = exit_of(5, OrderStatus.SUBMITTING)
    found = [StoredOrder(other, 1, AT)]
    assert sum(beside(order, found, day_in_india(AT)).values()) == units
    assert beside(order, found, day_in_india(AT + timedelta(days=1))) == {}


def test_rule_9_an_exit_without_an_answer_is_cut_once_the_broker_shows_it() -> None:
    """By what the broker shows of it, before our row says so; one that it doesn't show takes nothing from the others."""
    shown, hidden = exit_of(1, OrderStatus.OPEN), exit_of(2, OrderStatus.UNKNOWN)
    there = {shown.intents[0].tag: (0, 10)}
    assert cuts_of([shown, hidden], Standing({WHERE: 12}, there)) == {}
    there[hidden.intents[0].tag] = (1, 9)
    cuts = cuts_of([shown, hidden], Standing({WHERE: 12}, there))
    assert {order_id: cut.quantity for order_id, cut in cuts.items()} == {hidden.order_id: 3}


def test_rule_9_what_an_unseen_order_has_traded_is_held_no_more() -> None:
    """Trades of orders that the book doesn't show are those of the unseen ones, by symbol, side and product."""
    row = {
        "order_id": "1", "exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": "SELL", "product": "MIS", "quantity": 4,
    }  # fmt: skip
    rows = [row, row | {"order_id": "2"}, row | {"product": "CNC"}, row | {"transaction_type": "BUY"}]
    assert traded_unseen(rows, {"2"}, "NSE:INFY", "SELL", "MIS") == 4
