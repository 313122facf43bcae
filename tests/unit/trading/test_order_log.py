"""Orders and fills in the log."""

from __future__ import annotations

from structlog.testing import capture_logs

from alphapanda.trading.order_log import log_orders
from panda.events.v1.events_pb2 import Event


def test_each_change_of_an_order_is_one_line() -> None:
    """Submitted, filled, failed and cancelled have a line with order, strategy and what happened; a signal has none."""
    order = {"order_id": "o-1", "strategy_id": "s", "side": 1, "quantity": 10, "status": 7}
    events = [
        Event(broker="paper", order_submitted={"order": order}),
        Event(broker="paper", order_filled={"order": order, "quantity": 4, "price": {"value": "12.05"}}),
        Event(broker="paper", order_failed={"order": order, "reason": 2, "message": "too late"}),
        Event(broker="paper", order_cancelled={"order": order, "message": "by the exchange"}),
        Event(broker="paper", trading_signal={}),
    ]
    with capture_logs() as logs:
        log_orders(events)
    assert [line["event"] for line in logs] == [
        "order.submitted",
        "order.filled",
        "order.failed",
        "order.cancelled",
    ]
    assert {(line["order_id"], line["strategy_id"], line["side"], line["broker"]) for line in logs} == {
        ("o-1", "s", "BUY", "paper")
    }
    assert (logs[1]["fill_quantity"], logs[1]["price"]) == (4, "12.05")
    assert (logs[2]["reason"], logs[2]["message"]) == ("EXPIRED", "too late")
