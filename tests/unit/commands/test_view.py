from __future__ import annotations

import pytest
from google.type.decimal_pb2 import Decimal
from watched_day import order, portfolio, position, status

from alphapanda.commands.live.rates import Rates
from alphapanda.commands.live.view import View
from panda.common.v1.common_pb2 import ORDER_STATUS_FILLED, ORDER_STATUS_OPEN
from panda.instruments.v1.instruments_pb2 import Instrument
from panda.marketdata.v1.marketdata_pb2 import Quote, WatchQuotesResponse
from panda.ops.v1.ops_pb2 import ConsumerLag, ListConsumerLagResponse
from panda.trading.v1.trading_pb2 import WatchOrdersResponse


def test_orders_stand_newest_first_and_as_they_were_told_last(view):
    """A change of an order replaces it where it stands."""
    view.fold("orders", WatchOrdersResponse(revision=5, orders=[order(3, status=ORDER_STATUS_OPEN)]), 3.0)
    view.fold("orders", WatchOrdersResponse(revision=6, orders=[order(3)]), 4.0)
    assert [one.state.order_id for one in view.orders] == ["order-3", "order-2", "order-1", "order-0"]
    assert view.orders[0].state.status == ORDER_STATUS_FILLED


def test_a_history_that_begins_anew_replaces_the_old_one(view):
    """A revision that fell is another platform's, or one that was started over: its orders are not mixed."""
    view.fold("orders", WatchOrdersResponse(revision=1, snapshot=True, orders=[order(9)]), 3.0)
    assert [one.state.order_id for one in view.orders] == ["order-9"]


def test_rates_come_from_what_was_handled_and_made_meanwhile(view):
    """Frames a second, orders and fills a minute follow from the counters of the last seconds; not known at first."""
    assert (view.frames_a_second, view.orders_a_minute, view.fills_a_minute) == (None, None, None)
    view.fold("services", status(260, lag=7), 11.0)
    view.fold("orders", WatchOrdersResponse(revision=6, orders=[order(3), order(4)]), 12.0)
    view.fold("portfolio", portfolio(5), 21.0)
    view.fold("services", status(420, lag=7), 21.0)
    view.fold("services", status(580, lag=7), 31.0)
    assert view.frames_a_second == pytest.approx(16)
    assert view.handled_a_second["risk"] == pytest.approx(16)
    assert view.orders_a_minute == pytest.approx(6)  # two in 20 s
    assert view.fills_a_minute == pytest.approx(6)


def test_lag_is_the_groups_own_also_where_nobody_reads(view):
    """It comes from the log, so that a process that is gone and counts nothing can't hide it."""
    view.fold("services", status(100), 2.0)
    behind = [ConsumerLag(group="risk.signals", lag=40), ConsumerLag(group="trading", lag=2)]
    view.fold("lag", ListConsumerLagResponse(lags=behind), 2.0)
    assert view.lag == 42
    view.fold("lag", ListConsumerLagResponse(), 3.0)
    assert view.lag == 0
    assert View([]).lag is None


def test_prices_are_watched_of_what_is_held_or_traded(view):
    """Symbols of positions and strategies, each once; a later price takes the place of an earlier one."""
    view.fold("portfolio", portfolio(4, position("gone", "NSE:SBIN", 5)), 2.0)
    assert view.traded == ("NSE:INFY", "NSE:SBIN")
    for price in ("100", "101"):
        quote = Quote(symbol="NSE:SBIN", last_price=Decimal(value=price))
        view.fold("quotes", WatchQuotesResponse(quotes=[quote]), 3.0)
    assert view.quotes["NSE:SBIN"].last_price.value == "101"


def test_who_does_not_answer_is_known_with_its_first_silence(view):
    """A source that is lost keeps its first time until it answers; all of them lost is the platform away."""
    view.lost("orders", "nothing answers", 5.0)
    view.lost("orders", "still nothing", 7.0)
    assert (view.troubles["orders"].since, view.troubles["orders"].why) == (5.0, "still nothing")
    assert view.away is None
    for source in view.sources:
        view.lost(source, "gone", 8.0)
    assert view.away is not None
    assert view.away.since == 5.0
    view.fold("orders", WatchOrdersResponse(revision=4), 9.0)
    assert view.away is None
    assert len(view.orders) == 3


def test_a_message_without_a_place_is_a_defect(view):
    """What can't be folded is said, not dropped."""
    with pytest.raises(TypeError, match=r"panda\.instruments\.v1\.Instrument"):
        view.fold("orders", Instrument(), 1.0)


def test_a_rate_covers_its_window_and_begins_anew_with_its_counter():
    """Growth over the window's seconds; a counter that fell (a restarted process) has no rate until it is seen again."""
    rates = Rates(10.0)
    for second in range(31):
        rates.observe("a", second, second * (1 if second <= 20 else 3))
    assert rates.per_second("a") == pytest.approx((90 - 20) / 10)
    rates.observe("a", 31, 5)
    assert rates.per_second("a") is None
    rates.observe("a", 33, 9)
    assert rates.per_second("a") == pytest.approx(2)
    assert rates.per_second("b") is None
