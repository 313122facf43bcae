from __future__ import annotations

import json
from datetime import UTC, datetime

from watched_day import order, refusals

from alphapanda.commands.live.reporting import Reporter, as_object
from alphapanda.commands.live.view import View
from panda.common.v1.common_pb2 import ORDER_STATUS_FAILED, ORDER_STATUS_OPEN
from panda.ops.v1.ops_pb2 import GetStatusResponse, LagAlarm
from panda.trading.v1.trading_pb2 import WatchOrdersResponse


def reported(reporter: Reporter, view: View, now: float) -> list[str]:
    return [line for line in reporter.lines(view, now) if not line.startswith("equity")]


def test_each_order_is_told_once_when_it_has_ended(view):
    """Orders that had ended before are not told; one that is open is told when it ends, with why it failed."""
    reporter = Reporter()
    assert reported(reporter, view, 0.0) == []
    view.fold("orders", WatchOrdersResponse(revision=5, orders=[order(4, status=ORDER_STATUS_OPEN)]), 3.0)
    assert reported(reporter, view, 1.0) == []
    failed = order(5, status=ORDER_STATUS_FAILED, message="no price yet")
    view.fold("orders", WatchOrdersResponse(revision=7, orders=[order(4), failed]), 4.0)
    assert reported(reporter, view, 2.0) == [
        "23 Nov 09:19:00  buy 25 NSE:INFY @ 1,500.50  filled  ema.infy",
        "23 Nov 09:20:00  sell 25 NSE:INFY @ 1,500.50  failed: no price yet  ema.infy",
    ]
    assert reported(reporter, view, 3.0) == []


def test_a_refusal_is_told_once(view):
    """What risk refuses from now on is a line with the reason; what waits is not refused."""
    reporter = Reporter()
    assert reported(reporter, view, 0.0) == []
    view.fold("verdicts", refusals("the market is closed", "2 lots are too many"), 1.0)
    assert reported(reporter, view, 1.0) == [
        "23 Nov 09:17:00  refused NSE:ITC: the market is closed  rsi.itc"
    ]
    assert reported(reporter, view, 2.0) == []


def test_the_figures_are_told_now_and_then(view):
    """The account and the pace are one line, at once and every 15 seconds."""
    reporter = Reporter()
    lines = [reporter.lines(view, float(second)) for second in range(31)]
    assert [second for second, some in enumerate(lines) if some] == [0, 15, 30]
    assert lines[0][0].startswith(
        "equity 999,987.50   day -12.50   net -12.50   cash 900,000.00   orders -/min"
    )


def test_who_goes_and_comes_back_is_told(view):
    """A source that stops answering is a line with the reason, and so is its return."""
    reporter = Reporter()
    reporter.lines(view, 0.0)
    view.lost("orders", "nothing answers on 127.0.0.1:50051", 1.0)
    assert reported(reporter, view, 1.0) == ["orders: nothing answers on 127.0.0.1:50051"]
    assert reported(reporter, view, 2.0) == []
    view.fold("orders", WatchOrdersResponse(revision=4), 3.0)
    assert reported(reporter, view, 3.0) == ["orders: answers again"]


def test_the_object_is_json_in_the_contracts_words(view):
    """One object has everything: messages in the contract's JSON, rates, troubles."""
    view.lost("orders", "gone", 1.0)
    found = json.loads(json.dumps(as_object(view, datetime(2026, 11, 21, tzinfo=UTC))))
    assert found["at"] == "2026-11-21T00:00:00+00:00"
    assert found["portfolio"]["equity"]["amount"]["value"] == "999987.5"
    assert [one["state"]["orderId"] for one in found["orders"]] == ["order-2", "order-1", "order-0"]
    assert found["troubles"] == {"orders": "gone"}
    assert found["rates"]["framesASecond"] is None
    assert as_object(View([]), datetime(2026, 11, 21, tzinfo=UTC))["market"] is None


def test_an_alarm_is_reported_once(view):
    """A group that falls too far behind is one line, however its lag changes, and again after the alarm was over."""
    reporter = Reporter()
    reported(reporter, view, 0.0)

    def lags(*lag: int) -> list[str]:
        status = GetStatusResponse(
            lag_alarms=[
                LagAlarm(group="risk.signals", topic="paper.signals.raw", lag=one, allowed=9) for one in lag
            ]
        )
        view.fold("services", status, 1.0)
        return reported(reporter, view, 1.0)

    assert lags(50) == ["ALARM risk.signals is 50 records behind on paper.signals.raw; 9 are allowed"]
    assert lags(60) == []
    assert lags() == []
    assert len(lags(70)) == 1
