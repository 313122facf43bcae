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
from alphapanda.domain.market import MarketView
from alphapanda.domain.order import FailureReason, OrderStatus, PositionEffect, Side
from alphapanda.domain.order_events import Failed, Filled, Submitted
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
