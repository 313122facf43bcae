"""Risk's copy of positions follows units that changed without a trade, and counts no profit, loss or trade (REAL_MONEY rule 8)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from alphapanda.domain.order import Product
from alphapanda.domain.order_events import AdjustmentKind
from alphapanda.domain.signal import PositionKey
from alphapanda.risk.core.position import PositionState, TradeHistory, after_adjustment

KEY = PositionKey("zerodha", "default", "ema", "NSE:INFY", Product.MIS)


@pytest.mark.parametrize(
    ("held", "cost", "delta", "value", "kind", "quantity", "left"),
    [
        (10, 1000, -4, -400, AdjustmentKind.CONVERSION, 6, 600),
        (10, 1000, -10, -1000, AdjustmentKind.CONVERSION, 0, 0),
        (0, 0, 4, 400, AdjustmentKind.CONVERSION, 4, 400),
        (6, 660, 4, 400, AdjustmentKind.CONVERSION, 10, 1060),
        (10, 1000, 10, 500, AdjustmentKind.CORPORATE_ACTION, 20, 1000),
        (-10, -1000, 10, 1200, AdjustmentKind.ALLOCATION, 0, 0),
        (-4, -400, 10, 1200, AdjustmentKind.ALLOCATION, 6, 720),
    ],
)
def test_rule_8_what_moves_takes_its_cost_along_and_realises_nothing(
    held: int, cost: int, delta: int, value: int, kind: AdjustmentKind, quantity: int, left: int
) -> None:
    """Units and their cost change; the losing streak and the round trip stay as they were."""
    history = TradeHistory(Decimal(cost), Decimal(-7), 2)
    after = after_adjustment(PositionState(KEY, held, history=history), delta, Decimal(value), None, kind)
    assert (after.quantity, after.history.cost) == (quantity, left)
    assert (after.history.round_trip, after.history.losses) == (Decimal(-7), 2)
