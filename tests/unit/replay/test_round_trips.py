from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.order import OrderStatus, PositionEffect, Product, Side
from alphapanda.domain.order_events import Fill, Filled, OrderState
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import AT_MARKET
from alphapanda.replay.figure import NotDefined
from alphapanda.replay.journal import Trade
from alphapanda.replay.market_time import time_in_market
from alphapanda.replay.round_trips import round_trips, trip_figures

CALENDAR = load_nse_calendar()
IST = ZoneInfo("Asia/Kolkata")


def at(hour: int, minute: int, day: int = 10) -> datetime:
    """A time in India of March 2025, whose 10th is a Monday."""
    return datetime(2025, 3, day, hour, minute, tzinfo=IST)


def traded(*fills: tuple[datetime, Side, int, str, str], name: str = "s") -> list[Trade]:
    """Fills of one position as (time, side, units, price, charges)."""
    key = PositionKey("paper", "default", name, "NSE:INFY", Product.MIS)
    position, trades = 0, []
    for number, (when, side, units, price, charges) in enumerate(fills):
        position += side.sign * units
        fill = Fill(f"{name}{number}", "1", units, Decimal(price), Decimal(charges), when)
        order = OrderState(
            *("o", "s", key, 1, side, units, AT_MARKET, PositionEffect.OPENS, OrderStatus.FILLED),
            *(2, units, 0, Decimal(price), when),
        )
        trades.append(Trade(Filled(order, fill), Decimal(0), position))
    return trades


def test_a_turn_ends_one_round_trip_and_begins_another():
    """The charges of the fill that turns are shared by its units; nothing of them is lost."""
    trades = traded(
        (at(10, 0), Side.BUY, 10, "100", "1"),
        (at(11, 0), Side.SELL, 40, "110", "4"),
        (at(12, 0), Side.BUY, 30, "105", "3"),
    )
    (first, second), still_open = round_trips(trades)
    assert still_open == []
    assert (first.side, first.quantity, first.gross, first.charges, first.net) == (Side.BUY, 10, 100, 2, 98)
    assert (second.side, second.quantity, second.gross, second.charges) == (Side.SELL, 30, 150, 6)
    assert (second.entry_price, second.exit_price) == (110, 105)
    assert (second.opened_at, second.closed_at) == (at(11, 0), at(12, 0))


def test_charges_of_round_trips_are_whole_paise_whose_sum_is_what_was_charged():
    """A trader who adds up the list to the paisa gets the account's charges; a trip without a profit is 0, not -0."""
    trades = traded(
        (at(10, 0), Side.SELL, 1, "100", "0.05"),
        (at(11, 0), Side.BUY, 2, "100", "0.11"),
        (at(12, 0), Side.SELL, 2, "100", "0.13"),
        (at(13, 0), Side.BUY, 1, "100", "0.05"),
    )
    closed, _ = round_trips(trades)
    assert sum(Decimal(f"{trip.charges:.2f}") for trip in closed) == Decimal("0.34")
    assert {f"{trip.gross:.2f}" for trip in closed} == {"0.00"}


def test_a_position_that_grows_and_shrinks_is_one_round_trip():
    """It ends when it is flat; what is left open is no round trip."""
    trades = traded(
        (at(10, 0), Side.BUY, 10, "100", "0"),
        (at(10, 1), Side.BUY, 10, "110", "0"),
        (at(10, 2), Side.SELL, 5, "120", "0"),
        (at(10, 3), Side.SELL, 15, "100", "0"),
        (at(10, 4), Side.SELL, 1, "100", "0"),
    )
    (trip,), (left,) = round_trips(trades)
    assert (trip.quantity, trip.entry_value, trip.exit_value, trip.gross) == (20, 2100, 2100, 0)
    assert (left.side, left.quantity, left.closed_at, left.exit_price) == (Side.SELL, 1, None, None)


def test_figures_of_round_trips_are_after_charges():
    """A gross win that its charges turn into a loss is a loss: 2 of 3 win before charges, 1 of 3 after."""
    trades = traded(
        (at(10, 0), Side.BUY, 1, "100", "1"),
        (at(10, 1), Side.SELL, 1, "101", "1"),
        (at(10, 2), Side.BUY, 1, "100", "1"),
        (at(10, 3), Side.SELL, 1, "112", "1"),
        (at(10, 4), Side.SELL, 1, "100", "1"),
        (at(10, 5), Side.BUY, 1, "102", "1"),
    )
    closed, _ = round_trips(trades)
    assert [trip.net for trip in closed] == [-1, 10, -4]
    assert trip_figures(closed, 0) == {
        "round_trips": 3,
        "open_positions": 0,
        "win_rate": pytest.approx(1 / 3),
        "profit_factor": pytest.approx(2.0),
        "average_trade": Decimal("1.6667"),
        "average_win": 10,
        "average_loss": Decimal("-2.5"),
        "best_trade": 10,
        "worst_trade": -4,
        "expectancy": pytest.approx((-0.01 + 0.1 - 0.04) / 3),
    }


def test_figures_without_a_loss_or_without_a_round_trip_say_so():
    """No ratio of nothing: each names what is missing."""
    won, _ = round_trips(traded((at(10, 0), Side.BUY, 1, "100", "0"), (at(10, 1), Side.SELL, 1, "101", "0")))
    assert trip_figures(won, 0)["profit_factor"] == "no round trip lost"
    assert trip_figures([], 1)["win_rate"] == "no position was closed"
    assert trip_figures([], 0)["best_trade"] == "no round trip was made: no order was filled"


def test_time_in_market_counts_minutes_of_sessions():
    """An hour of a day of 6 h 15 min; a night between two sessions, and overlapping positions, count once or not at all."""
    monday, tuesday = date(2025, 3, 10), date(2025, 3, 11)
    last_ns = int(at(15, 30, 11).timestamp()) * 10**9

    def share(trades: list[Trade], *days: date) -> float:
        found = time_in_market(trades, days, CALENDAR, {"NSE_EQ"}, last_ns)
        assert isinstance(found, float)
        return found

    hour = traded((at(10, 0), Side.BUY, 1, "1", "0"), (at(11, 0), Side.SELL, 1, "1", "0"))
    assert share(hour, monday) == pytest.approx(60 / 375)
    other = traded((at(10, 30), Side.SELL, 1, "1", "0"), (at(11, 30), Side.BUY, 1, "1", "0"), name="t")
    both = sorted([*hour, *other], key=lambda trade: trade.filled.fill.traded_at)
    assert share(both, monday) == pytest.approx(90 / 375)
    night = traded((at(15, 0), Side.BUY, 1, "1", "0"), (at(9, 45, 11), Side.SELL, 1, "1", "0"))
    assert share(night, monday, tuesday) == pytest.approx(60 / 750)
    turned = traded((at(10, 0), Side.BUY, 1, "1", "0"), (at(14, 0), Side.SELL, 2, "1", "0"))
    assert share(turned, monday, tuesday) == pytest.approx((330 + 375) / 750)
    assert isinstance(time_in_market(hour, [], CALENDAR, {"NSE_EQ"}, last_ns), NotDefined)
