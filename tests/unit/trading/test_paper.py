"""The paper exchange's fills, and replay's way through trading."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.market import BarOpen, LastPrice, MarketView
from alphapanda.domain.order import FailureReason, OrderStatus, PositionEffect, Side
from alphapanda.domain.order_events import Cancelled, Failed, Filled, Submitted
from alphapanda.domain.routing import ExecutionRouter
from alphapanda.domain.verdict import Approved
from alphapanda.trading.core.checks import PreSubmitChecks
from alphapanda.trading.core.paper_book import PaperBook
from alphapanda.trading.core.paper_market import PaperMarket
from alphapanda.trading.core.synchronous import SynchronousTrading

Approve = Callable[..., Approved]
PAPER = PaperMarket(Decimal("0.05"), Decimal("0.1"))


@pytest.fixture
def trading(calendar: TradingCalendar, infy: Instrument) -> SynchronousTrading:
    checks = PreSubmitChecks(ExecutionRouter(["paper"]), lambda _: (), calendar, timedelta(seconds=30))
    return SynchronousTrading(
        checks, InstrumentDirectory([infy]), {"paper": PaperBook("paper", PAPER, calendar)}
    )


@given(
    price=st.decimals("0.05", "100000", places=2),
    percent=st.decimals("0", "5", places=2),
    quantity=st.integers(1, 100_000),
)
def test_fills_are_in_whole_paise_and_never_better_than_the_model(price, percent, quantity) -> None:
    """Slippage is rounded against you by less than a paisa; commission is the exact percentage to half a paisa."""
    paper = PaperMarket(percent, percent)
    bought, sold = paper.fill_price(Side.BUY, price), paper.fill_price(Side.SELL, price)
    exact = price * percent / 100
    assert 0 <= bought - (price + exact) < Decimal("0.01")
    assert sold == Decimal("0.01") or 0 <= (price - exact) - sold < Decimal("0.01")
    assert bought == round(bought, 2)
    assert sold == round(sold, 2) > 0
    commission = paper.commission(bought, quantity)
    assert abs(commission - bought * quantity * percent / 100) <= Decimal("0.005")


def test_half_a_paisa_of_commission_is_a_paisa() -> None:
    """Commission is rounded half up: 0.1 % of 5.00 is half a paisa."""
    assert PAPER.commission(Decimal("5.00"), 1) == Decimal("0.01")


def test_a_trade_is_known_by_broker_account_day_and_number() -> None:
    """Trade numbers begin anew each day, so the Indian date is part of a fill's id."""
    evening = datetime(2026, 11, 20, 18, 0, tzinfo=UTC)
    midnight = datetime(2026, 11, 20, 18, 30, tzinfo=UTC)
    ids = {
        PAPER.fill_id("paper", "a", evening, "1"),
        PAPER.fill_id("papertwo", "a", evening, "1"),
        PAPER.fill_id("paper", "b", evening, "1"),
        PAPER.fill_id("paper", "a", midnight, "1"),
        PAPER.fill_id("paper", "a", evening, "2"),
    }
    assert len(ids) == 5


def test_replay_fills_an_approved_signal(
    trading: SynchronousTrading, approve: Approve, market: MarketView
) -> None:
    """An approved signal is submitted and filled in one call, slice by slice, with slippage and commission."""
    said = trading.execute(approve(quantity=150), market)
    assert [type(update) for update in said] == [Submitted, Filled, Filled]
    end = said[-1]
    assert isinstance(end, Filled)
    assert (end.order.status, end.order.filled, end.order.leaves) == (OrderStatus.FILLED, 150, 0)
    assert (end.fill.price, end.fill.commission) == (Decimal("1500.81"), Decimal("75.04"))


def test_replay_refuses_as_the_shell_does(
    trading: SynchronousTrading, approve: Approve, market: MarketView
) -> None:
    """A signal that may not be sent ends failed, once, and a late exit knows what replay has filled before."""
    past = market.market_time - timedelta(seconds=1)  # type: ignore[operator]
    (end,) = trading.execute(approve(valid_until=past), market)
    assert isinstance(end, Failed)
    assert (end.reason, end.order.revision) == (FailureReason.EXPIRED, 1)
    trading.execute(approve(quantity=10), market)
    late_exit = {"valid_until": past, "side": Side.SELL, "effect": PositionEffect.REDUCES, "quantity": 50}
    assert trading.execute(approve(**late_exit), market)[-1].order.quantity == 10
    (nothing,) = trading.execute(approve(**late_exit), market)
    assert isinstance(nothing, Failed)
    assert nothing.reason is FailureReason.NOTHING_TO_EXIT


def test_replay_spends_little_on_an_order(
    trading: SynchronousTrading, approve: Approve, market: MarketView
) -> None:
    """An order takes some tens of microseconds; the bound is loose, because the machine is shared."""
    verdicts = [approve() for _ in range(2000)]
    began = process_time()
    for verdict in verdicts:
        trading.execute(verdict, market)
    assert (process_time() - began) / len(verdicts) < 200e-6


BAR = timedelta(minutes=5)


def after_bar(
    market: MarketView, bars: int, opened: str, closed: str, later: timedelta = timedelta()
) -> MarketView:
    """The market at or after the end of the n-th bar of five minutes, counted from the one that ends at the market's time."""
    assert market.market_time is not None
    end = market.market_time + bars * BAR
    last = LastPrice(Decimal(closed), end, BarOpen(end - BAR, Decimal(opened)))
    return MarketView(end + later, "run", dict.fromkeys(market.prices, last))


def test_an_order_decided_at_a_bars_close_fills_at_the_next_ones_open(
    trading: SynchronousTrading, approve: Approve, market: MarketView
) -> None:
    """It is submitted and held; the fill is of the moment at which the bar opens, with slippage against it."""
    first, second = after_bar(market, 0, "1490.00", "1500.05"), after_bar(market, 1, "1502.00", "1510.00")
    said = trading.execute(approve(quantity=50), first)
    assert [type(update) for update in said] == [Submitted]
    assert (trading.holds, list(trading.settle(first))) == (True, [])
    ((filled,),) = trading.settle(second)
    assert isinstance(filled, Filled)
    assert (filled.fill.price, filled.fill.traded_at) == (Decimal("1502.76"), first.market_time)
    assert (filled.order.status, trading.holds) == (OrderStatus.FILLED, False)


def test_all_slices_of_an_order_fill_at_the_same_open(
    trading: SynchronousTrading, approve: Approve, market: MarketView
) -> None:
    """What the exchange takes in slices has come at the same moment."""
    trading.execute(approve(quantity=150), after_bar(market, 0, "1490.00", "1500.05"))
    ((*filled,),) = trading.settle(after_bar(market, 1, "1502.00", "1510.00"))
    assert [update.fill.price for update in filled if isinstance(update, Filled)] == [Decimal("1502.76")] * 2
    assert filled[-1].order.status is OrderStatus.FILLED


def test_a_bar_that_has_begun_is_no_next_bar(
    trading: SynchronousTrading, approve: Approve, market: MarketView
) -> None:
    """Of an instrument with longer bars than the one that made the signal, the bar under way opened before the order came."""
    assert market.market_time is not None
    later = timedelta(seconds=20)
    trading.execute(approve(quantity=50), after_bar(market, 0, "1490.00", "1500.05", later))
    assert list(trading.settle(after_bar(market, 1, "1502.00", "1510.00"))) == []
    ((filled,),) = trading.settle(after_bar(market, 2, "1511.00", "1512.00"))
    assert isinstance(filled, Filled)
    assert filled.fill.traded_at == market.market_time + BAR


def test_an_order_without_a_next_bar_ends_with_its_day(
    trading: SynchronousTrading, approve: Approve, market: MarketView
) -> None:
    """It is cancelled once market time is past the close; the next day's open is not its own."""
    assert market.market_time is not None
    trading.execute(approve(quantity=50), after_bar(market, 0, "1490.00", "1500.05"))
    next_day = after_bar(market, 12 * 24, "1600.00", "1600.00")
    ((cancelled,),) = trading.settle(next_day)
    assert isinstance(cancelled, Cancelled)
    assert cancelled.order.status is OrderStatus.CANCELLED
    assert cancelled.message == "the trading day ended without another price of the instrument"
    assert not trading.holds
