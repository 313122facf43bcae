"""Working exits are cut to what is held."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from alphapanda.domain.order import OrderStatus, PositionEffect, Product, Side
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import AT_MARKET
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.order_change import ChangeKind
from alphapanda.trading.exit_cuts import cut_of


def exit_of(quantity: int, filled: int, side: Side = Side.SELL) -> Order:
    return Order(
        "order", "signal", "chain", "cause", PositionKey("zerodha", "default", "one", "NSE:INFY", Product.MIS), 1, 1, side,
        quantity, AT_MARKET, PositionEffect.REDUCES, datetime(2026, 12, 1, tzinfo=UTC),
        OrderStatus.PARTIALLY_FILLED if filled else OrderStatus.OPEN, [], filled=filled,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("side", "position", "kind", "quantity"),
    [
        (Side.SELL, 7, None, 0),
        (Side.SELL, 6, ChangeKind.MODIFY, 9),
        (Side.SELL, 0, ChangeKind.CANCEL, 0),
        (Side.SELL, -4, ChangeKind.CANCEL, 0),
        (Side.BUY, -6, ChangeKind.MODIFY, 9),
        (Side.BUY, -20, None, 0),
    ],
)
def test_rule_9_an_exit_is_cut_to_its_position(
    side: Side, position: int, kind: ChangeKind | None, quantity: int
) -> None:
    """What has filled stays, of the rest no more than is held; an entry is left alone."""
    change = cut_of(exit_of(10, 3, side), position)
    assert (change.kind if change else None, change.quantity if change else 0) == (kind, quantity)
    entry = exit_of(10, 3, side)
    entry.effect = PositionEffect.OPENS
    assert cut_of(entry, position) is None
