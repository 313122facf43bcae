"""Kite's rows of orders and trades: what is read of them, and which of two states of an order counts."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.kite.order_rows import UnreadableRow, newest_of, order_of, trade_of, trades_of


def row(**told: Any) -> dict[str, Any]:
    """A row of the order book: a protected market order, which Kite shows as a LIMIT."""
    return {
        "order_id": "1990000000000000001", "status": "OPEN", "status_message": None, "exchange": "NSE",
        "tradingsymbol": "INFY", "instrument_token": 408065, "transaction_type": "BUY", "product": "MIS",
        "variety": "regular", "order_type": "LIMIT", "validity": "DAY", "quantity": 10, "filled_quantity": 4,
        "price": 1530.6, "trigger_price": 0, "market_protection": 0, "tag": "T1", "tags": ["T1", "mktp", "mktp:2.00"],
    } | told  # fmt: skip


def trade(**told: Any) -> dict[str, Any]:
    return {
        "trade_id": "10000001", "order_id": "1990000000000000001", "exchange": "NSE", "quantity": 4, "average_price": 1500.05,
        "fill_timestamp": datetime.fromisoformat("2026-12-01 10:00:01"), "exchange_timestamp": None,
    } | told  # fmt: skip


def test_an_order_is_read_by_what_counts_and_not_by_its_order_type() -> None:
    """The tag, the units and the prices, whatever kiteconnect made of the numbers."""
    order = order_of(row())
    assert (order.tag, order.quantity, order.filled, order.price) == ("T1", 10, 4, Decimal("1530.6"))
    assert not order.ended


@pytest.mark.parametrize(
    ("status", "ended"),
    [
        ("COMPLETE", True),
        ("CANCELLED", True),
        ("CANCELLED AMO", True),
        ("REJECTED", True),
        ("rejected", True),
        ("TRIGGER PENDING", False),
        ("MODIFY PENDING", False),
        ("PUT ORDER REQ RECEIVED", False),
        ("SOMETHING NEW", False),
    ],
)
def test_an_unknown_status_is_an_order_under_way(status: str, ended: bool) -> None:
    """Only what is known to be an end is one."""
    assert order_of(row(status=status)).ended is ended


@pytest.mark.parametrize("field", ["order_id", "status", "quantity", "filled_quantity", "transaction_type"])
def test_a_row_without_what_counts_is_not_guessed(field: str) -> None:
    """It is refused by the name of the field."""
    with pytest.raises(UnreadableRow, match=field):
        order_of(row(**{field: None}))


def test_rule_7_a_trade_is_known_by_day_exchange_and_trade_id() -> None:
    """The same number on another day, or at another exchange, is another trade; a repeated row is the same."""
    found = [
        trade(),
        trade(),
        trade(exchange="BSE"),
        trade(fill_timestamp="2026-12-02 10:00:01"),
    ]
    assert [(one.day, one.identity) for one in trades_of(found)] == [
        ("2026-12-01", "BSE:10000001"),
        ("2026-12-01", "NSE:10000001"),
        ("2026-12-02", "NSE:10000001"),
    ]


def test_a_trades_time_is_indias() -> None:
    """Kiteconnect's naive times, and texts, become aware ones."""
    at = datetime(2026, 12, 1, 4, 30, 1, tzinfo=UTC)
    assert trade_of(trade()).traded_at == at
    assert trade_of(trade(fill_timestamp=None, exchange_timestamp="2026-12-01 10:00:01")).traded_at == at
    with pytest.raises(UnreadableRow, match="fill_timestamp"):
        trade_of(trade(fill_timestamp=None))


_STATES = [
    row(status="PUT ORDER REQ RECEIVED", filled_quantity=0),
    row(status="OPEN", filled_quantity=0),
    row(status="UPDATE", filled_quantity=4),
    row(status="OPEN", filled_quantity=7),
    row(status="CANCELLED", filled_quantity=7),
]


@given(st.lists(st.sampled_from(_STATES), max_size=12))
def test_rule_6_whatever_comes_twice_late_or_reversed_the_newest_state_counts(seen: list[Any]) -> None:
    """One that has ended, else one with more filled: once the last state was seen, nothing takes it back."""
    known = None
    for one in [*seen, _STATES[-1], *seen]:
        known = newest_of(known, order_of(one))
    assert known == order_of(_STATES[-1])
    assert json.dumps(_STATES[-1])
