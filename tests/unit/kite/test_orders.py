"""An order's state from its three sources: the answer to its placing, updates, and books that come late, twice or out of order."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.domain.charge_rates import load_charge_rates
from alphapanda.domain.order import OrderStatus, PositionEffect, Product, Side
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import AT_MARKET
from alphapanda.kite.orders import KiteOrders
from alphapanda.paper_exchange.core.paper_charges import KiteCharges
from alphapanda.trading.core.intent import Intent
from alphapanda.trading.core.order import Order
from alphapanda.trading.traders.kite_reports import fills_of, report_of

Row = Mapping[str, Any]
TAG = Intent("order", 0, 10).tag
CHARGES = KiteCharges(load_charge_rates())


class Rest:
    """Shows what it is told to show."""

    def __init__(self) -> None:
        self.book: Sequence[Row] = ()
        self.made: Sequence[Row] = ()

    async def orders(self) -> Sequence[Row]:
        return self.book

    async def order_trades(self, order_id: str) -> Sequence[Row]:
        return self.made


def row(status: str, filled: int) -> Row:
    return {
        "order_id": "1", "tag": TAG, "status": status, "status_message": "by user" if status == "CANCELLED" else None,
        "exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": "BUY", "product": "MIS", "order_type": "LIMIT",
        "validity": "DAY", "quantity": 10, "filled_quantity": filled, "price": 1530, "trigger_price": 0, "tags": [TAG, "mktp"],
    }  # fmt: skip


def trades(quantities: Sequence[int]) -> list[Row]:
    return [
        {
            "trade_id": str(number), "order_id": "1", "exchange": "NSE", "quantity": quantity, "average_price": 1500 + number,
            "fill_timestamp": f"2026-12-01 10:00:{number:02}",
        }
        for number, quantity in enumerate(quantities)
    ]  # fmt: skip


def fresh_order() -> Order:
    intent = Intent("order", 0, 10, OrderStatus.SUBMITTING, 1)
    return Order(
        "order", "signal", "chain", "cause", PositionKey("zerodha", "default", "one", "NSE:INFY", Product.MIS), 1, 1,
        Side.BUY, 10, AT_MARKET, PositionEffect.OPENS, datetime(2026, 12, 1, tzinfo=UTC), OrderStatus.SUBMITTING, [intent],
    )  # fmt: skip


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Row], list[Row]]:
    """The states of an order in their true sequence, and its trades."""
    parts = draw(st.sampled_from([[10], [3, 7], [3, 3, 4], [3, 3], [4], []]))
    states = [
        row(name, 0) for name in ("PUT ORDER REQ RECEIVED", "VALIDATION PENDING", "OPEN PENDING", "OPEN")
    ]
    filled = 0
    for part in parts:
        filled += part
        states.append(row("OPEN", filled))
    states.append(row("COMPLETE" if filled == 10 else "CANCELLED", filled))
    return states, trades(parts)


async def seen(observed: Sequence[tuple[str, Sequence[Row], Sequence[Row]]]) -> Order:
    """The order after it was observed so; each report may meet an order that has changed since it was read."""
    rest, order, reports = Rest(), fresh_order(), list[BrokerOrder]()
    orders = KiteOrders(cast("Any", rest))
    for kind, book, made in observed:
        if kind == "answer":
            reports.append(BrokerOrder("1", BrokerOrderStatus.OPEN))
        else:
            rest.book, rest.made = book, made
            found = await orders.by_tag(TAG)
            if found is not None:
                reports.append(report_of(found, fills_of("zerodha", "default", found, None, CHARGES)))
        for report in reports[-2:]:
            order.report(order.intents[0], report, None)
    return order


@given(histories(), st.data())
def test_rule_6_any_interleaving_of_the_three_sources_ends_in_the_same_state(
    history: tuple[list[Row], list[Row]], data: st.DataObject
) -> None:
    """Books that are behind, trades that come late, answers and updates lost, doubled or reversed: the end is what the exchange made."""
    states, made = history
    observations = st.tuples(
        st.sampled_from(["answer", "update", "poll"]),
        st.integers(-1, len(states) - 1),
        st.integers(0, len(made)),
    )
    drawn = data.draw(st.lists(observations, max_size=15))
    observed = [(kind, [states[at]] if at >= 0 else [], made[:count]) for kind, at, count in drawn] + [
        ("poll", [states[-1]], made)
    ]
    order = asyncio.run(seen(observed))
    straight = asyncio.run(seen([("poll", [states[-1]], made)]))
    assert (order.status, order.filled, order.fill_ids, order.turnover) == (
        straight.status, straight.filled, straight.fill_ids, straight.turnover,
    )  # fmt: skip
    assert order.filled == sum(one["quantity"] for one in made)
    assert order.turnover == sum(Decimal(one["quantity"] * one["average_price"]) for one in made)
    assert order.status is (OrderStatus.FILLED if order.filled == 10 else OrderStatus.CANCELLED)
