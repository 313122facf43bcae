"""The paper exchange's fills, and replay's way through trading."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from time import process_time
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.charge_days import ChargeDays
from alphapanda.domain.charge_rates import Sureness, load_charge_rates
from alphapanda.domain.funds import Payable
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.market import BarOpen, LastPrice, MarketView
from alphapanda.domain.order import FailureReason, OrderStatus, PositionEffect, Product, Side
from alphapanda.domain.order_events import Cancelled, Failed, Fill, Filled, OrderState, Submitted
from alphapanda.domain.price_grid import tick_size
from alphapanda.domain.routing import ExecutionRouter
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import AT_MARKET
from alphapanda.domain.verdict import Approved
from alphapanda.paper_exchange.core.held_order import HeldOrder
from alphapanda.paper_exchange.core.paper_book import PaperBook
from alphapanda.paper_exchange.core.paper_charges import KiteCharges, PaperOrder, PercentCharges
from alphapanda.paper_exchange.core.paper_market import PaperMarket
from alphapanda.trading.core.checks import PreSubmitChecks
from alphapanda.trading.core.synchronous import SynchronousTrading

NOON = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)
Approve = Callable[..., Approved]
PAPER = PaperMarket(Decimal("0.05"), PercentCharges(Decimal("0.1")), seed=7)


@pytest.fixture
def trading(calendar: TradingCalendar, infy: Instrument) -> SynchronousTrading:
    checks = PreSubmitChecks(ExecutionRouter(["paper"]), lambda _: (), calendar, timedelta(seconds=30))
    return SynchronousTrading(
        checks, InstrumentDirectory([infy]), {"paper": PaperBook("paper", PAPER, calendar)}
    )


def order(infy: Instrument, side: Side = Side.BUY, quantity: int = 10, **changes: Any) -> PaperOrder:
    return structs.replace(PaperOrder("default", "ema", infy, Product.MIS, side, quantity), **changes)


INFY = Instrument(
    "NSE:INFY", 408065, "NSE", "INFY", "Infosys", "NSE", "EQ", Decimal("0.05"), 5, 100, "NSE_EQ"
)


@given(
    price=st.decimals("0.05", "100000", places=2),
    percent=st.decimals("0", "5", places=2),
    number=st.integers(0, 20),
    day=st.sampled_from([datetime(2019, 6, 3, 6, tzinfo=UTC), datetime(2024, 7, 1, 6, tzinfo=UTC), NOON]),
)
def test_fills_lie_on_the_grid_and_slip_against_you(price, percent, number, day) -> None:
    """Slippage is half to one and a half of its percentage, against the order, rounded to the day's next step against it."""
    paper = PaperMarket(percent, PercentCharges(Decimal(0)), seed=7)
    bought = paper.fill_price(order(INFY, number=number), price, day)
    sold = paper.fill_price(order(INFY, Side.SELL, number=number), price, day)
    least, most = price * percent / 200, price * percent * 3 / 200
    up, down = (tick_size(INFY, paid, day.date()) for paid in (bought, sold))
    assert bought % up == sold % down == 0
    assert price + least <= bought < price + most + up
    assert sold == down or price - most - tick_size(INFY, price, day.date()) < sold <= price - least


@pytest.mark.parametrize(
    ("day", "price", "bought", "sold"),
    [
        ("2024-06-09", "100.01", "100.05", "100.00"),
        ("2024-06-10", "100.011", "100.02", "100.01"),
        ("2025-04-14", "1500.01", "1500.05", "1500.00"),
        ("2025-04-15", "1500.01", "1500.10", "1500.00"),
        ("2026-11-20", "7000.10", "7000.50", "7000.00"),
        ("2026-11-20", "0.004", "0.01", "0.01"),
    ],
)
def test_the_grid_is_that_of_the_day_and_the_price(day: str, price: str, bought: str, sold: str) -> None:
    """Fills lie on the exchange's grid, rounded against the order, whatever the instrument list says of the tick."""
    paper = PaperMarket(Decimal(0), PercentCharges(Decimal(0)), seed=7)
    at = datetime.fromisoformat(f"{day}T06:30:00+00:00")
    prices = [paper.fill_price(order(INFY, side), Decimal(price), at) for side in (Side.BUY, Side.SELL)]
    assert [str(one) for one in prices] == [bought, sold]


def test_slippage_is_the_same_for_the_same_cause(infy: Instrument) -> None:
    """Seed, strategy, instrument, market time and slice draw it, whatever else was filled before; each of them matters."""
    paper = PaperMarket(Decimal(5), PercentCharges(Decimal(0)), seed=7)
    later, other = NOON + timedelta(seconds=1), replace(infy, instrument_id="NSE:TCS")
    causes = [
        (order(infy), NOON),
        (order(infy, strategy_id="vwap"), NOON),
        (order(infy, number=1), NOON),
        (order(other), NOON),
        (order(infy), later),
    ]
    drawn = [paper.fill_price(one, Decimal(10_000), at) for one, at in causes]
    assert len(set(drawn)) == len(causes)
    again = PaperMarket(Decimal(5), PercentCharges(Decimal(0)), seed=7)
    assert [again.fill_price(one, Decimal(10_000), at) for one, at in reversed(causes)] == drawn[::-1]
    reseeded = PaperMarket(Decimal(5), PercentCharges(Decimal(0)), seed=8)
    assert reseeded.fill_price(order(infy), Decimal(10_000), NOON) != drawn[0]


def test_slippage_is_uniform(infy: Instrument) -> None:
    """Over many fills each tenth of the range is drawn about as often, and the mean is the percentage."""
    paper = PaperMarket(Decimal(1), PercentCharges(Decimal(0)), seed=7)
    fine = replace(infy, exchange="CDS", tick_size=Decimal("0.01"))
    drawn = [
        paper.fill_price(order(fine), Decimal(100_000), NOON + timedelta(seconds=n)) - 100_000
        for n in range(4000)
    ]
    assert 500 <= min(drawn) < max(drawn) <= Decimal("1500.01")
    assert abs(sum(drawn) / len(drawn) - 1000) < 20
    tenths = Counter(int((slip - 500) / 100) for slip in drawn)
    assert all(320 < tenths[tenth] < 480 for tenth in range(10))


def test_a_fill_has_the_charges_of_its_day_segment_and_exchange(infy: Instrument) -> None:
    """Kite's charges follow the product and the Indian date; a second fill of an order pays what the cap leaves."""
    paper = PaperMarket(Decimal(0), KiteCharges(load_charge_rates()), seed=7)
    sold = order(infy, Side.SELL, 100)
    fill = paper.fill("paper", sold, "1", Decimal(1510), NOON)
    assert (fill.commission, fill.charges.total) == (Decimal("67.00"), Decimal("66.99827882"))
    delivered = paper.fill("paper", structs.replace(sold, product=Product.CNC), "1", Decimal(1510), NOON)
    assert "brokerage" not in {line.name for line in delivered.charges.lines}
    before = paper.fill("paper", sold, "1", Decimal(1510), datetime(2020, 1, 1, 6, tzinfo=UTC))
    assert {line.sureness for line in before.charges.lines} == {Sureness.ASSUMED}
    rest = paper.fill("paper", sold, "2", Decimal(1510), NOON, 50, 1510 * 50 * 10_000)
    assert "brokerage" not in {line.name for line in rest.charges.lines}


def commission(price: str, percent: str = "0.1") -> Decimal:
    any_order = cast("PaperOrder", None)
    return PercentCharges(Decimal(percent)).of(any_order, 1, Decimal(price), NOON, 0)[0]


def test_half_a_paisa_of_commission_is_a_paisa() -> None:
    """Commission is rounded half up: 0.1 % of 5.00 is half a paisa."""
    assert commission("5.00") == Decimal("0.01")
    assert commission("5.00", "0") == 0


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
    assert end.fill.price % Decimal("0.05") == 0
    assert Decimal("1500.40") <= end.fill.price <= Decimal("1501.15")
    assert end.fill.commission == round(end.fill.price * 50 / 1000, 2)


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


def slipped(filled: Filled, price: str) -> bool:
    """Whether a purchase filled at a price with half to one and a half of 0.05 % of it, on the grid of 0.05."""
    return slipped_price(filled.fill.price, price)


def slipped_price(paid: Decimal, price: str) -> bool:
    """The same of what was paid."""
    slip = paid - Decimal(price)
    whole = Decimal(price) * Decimal("0.0005")
    return paid % Decimal("0.05") == 0 and whole / 2 <= slip < whole * 3 / 2 + Decimal("0.05")


def paid(_held: HeldOrder, fill: Fill) -> Payable:
    """Funds that pay everything."""
    return Payable(fill.quantity)


def test_an_order_decided_at_a_bars_close_fills_at_the_next_ones_open(
    trading: SynchronousTrading, approve: Approve, market: MarketView
) -> None:
    """It is submitted and held; the fill is of the moment at which the bar opens, with slippage against it."""
    first, second = after_bar(market, 0, "1490.00", "1500.05"), after_bar(market, 1, "1502.00", "1510.00")
    said = trading.execute(approve(quantity=50), first)
    assert [type(update) for update in said] == [Submitted]
    assert (trading.holds, list(trading.settle(first, paid))) == (True, [])
    ((filled,),) = trading.settle(second, paid)
    assert isinstance(filled, Filled)
    assert slipped(filled, "1502.00")
    assert filled.fill.traded_at == first.market_time
    assert (filled.order.status, trading.holds) == (OrderStatus.FILLED, False)


def test_all_slices_of_an_order_fill_at_the_same_open(
    trading: SynchronousTrading, approve: Approve, market: MarketView
) -> None:
    """What the exchange takes in slices has come at the same moment."""
    trading.execute(approve(quantity=150), after_bar(market, 0, "1490.00", "1500.05"))
    filled = [
        one for told in trading.settle(after_bar(market, 1, "1502.00", "1510.00"), paid) for one in told
    ]
    fills = [update for update in filled if isinstance(update, Filled)]
    assert len(fills) == 2
    assert all(slipped(fill, "1502.00") for fill in fills)
    assert filled[-1].order.status is OrderStatus.FILLED


def test_a_bar_that_has_begun_is_no_next_bar(
    trading: SynchronousTrading, approve: Approve, market: MarketView
) -> None:
    """Of an instrument with longer bars than the one that made the signal, the bar under way opened before the order came."""
    assert market.market_time is not None
    later = timedelta(seconds=20)
    trading.execute(approve(quantity=50), after_bar(market, 0, "1490.00", "1500.05", later))
    assert list(trading.settle(after_bar(market, 1, "1502.00", "1510.00"), paid)) == []
    ((filled,),) = trading.settle(after_bar(market, 2, "1511.00", "1512.00"), paid)
    assert isinstance(filled, Filled)
    assert filled.fill.traded_at == market.market_time + BAR


def test_an_order_without_a_next_bar_ends_with_its_day(
    trading: SynchronousTrading, approve: Approve, market: MarketView
) -> None:
    """It is cancelled once market time is past the close; the next day's open is not its own."""
    assert market.market_time is not None
    trading.execute(approve(quantity=50), after_bar(market, 0, "1490.00", "1500.05"))
    next_day = after_bar(market, 12 * 24, "1600.00", "1600.00")
    ((cancelled,),) = trading.settle(next_day, paid)
    assert isinstance(cancelled, Cancelled)
    assert cancelled.order.status is OrderStatus.CANCELLED
    assert cancelled.message == "the trading day ended without another price of the instrument"
    assert not trading.holds


@pytest.mark.parametrize("payable", [0, 30])
def test_what_the_funds_do_not_pay_is_rejected_at_the_open(
    trading: SynchronousTrading, approve: Approve, market: MarketView, payable: int
) -> None:
    """What is paid fills; the order then ends with the reason, and no other slice of it is sent."""
    asked = []

    def short(held: HeldOrder, fill: Fill) -> Payable:
        asked.append((held.key.strategy_id, fill.quantity, slipped_price(fill.price, "1502.00")))
        return Payable(payable, "insufficient funds: so much is needed, so much is there")

    verdict = approve(quantity=150)
    trading.execute(verdict, after_bar(market, 0, "1490.00", "1500.05"))
    ((*told,),) = trading.settle(after_bar(market, 1, "1502.00", "1510.00"), short)
    assert asked == [(verdict.key.strategy_id, 100, True)]
    end = told[-1]
    assert isinstance(end, Failed)
    assert (end.order.status, end.order.filled) == (OrderStatus.REJECTED, payable)
    assert (end.reason, end.message.partition(":")[0]) == (
        FailureReason.INSUFFICIENT_FUNDS,
        "insufficient funds",
    )
    assert not trading.holds


def test_an_order_that_is_held_when_the_recording_ends_is_cancelled(
    trading: SynchronousTrading, approve: Approve, market: MarketView
) -> None:
    """Its end says so."""
    trading.execute(approve(quantity=50), after_bar(market, 0, "1490.00", "1500.05"))
    (end,) = trading.end(after_bar(market, 0, "1490.00", "1500.05"))
    assert isinstance(end, Cancelled)
    assert end.message == "the recording ended without another price of the instrument"
    assert not trading.holds


@given(
    fills=st.lists(st.tuples(st.integers(1, 5_000), st.integers(100, 400_000)), min_size=1, max_size=6),
    product=st.sampled_from([Product.CNC, Product.MIS]),
    side=st.sampled_from(Side),
)
def test_an_estimate_is_never_less_than_what_is_booked(fills, product, side) -> None:
    """However the contract note rounds the day's sums, a fill that opens books no more than was counted for it."""
    charges, days = KiteCharges(load_charge_rates()), ChargeDays()
    infy = Instrument(
        "NSE:INFY", 408065, "NSE", "INFY", "INFOSYS", "NSE", "EQ", Decimal("0.05"), 1, 0, "NSE_EQ"
    )
    if product is Product.CNC:
        side = Side.BUY
    for number, (quantity, paise) in enumerate(fills):
        price = Decimal(paise).scaleb(-2)
        order = PaperOrder("default", "s", infy, product, side, quantity)
        commission, lines = charges.of(order, quantity, price, NOON, 0)
        fill = Fill(f"f{number}", str(number), quantity, price, commission, NOON, lines)
        key = PositionKey("paper", "default", "s", infy.instrument_id, product)
        state = OrderState(
            f"o{number}", f"s{number}", key, 408065, side, quantity, AT_MARKET, PositionEffect.OPENS,
            OrderStatus.FILLED, 2, quantity, 0, price, NOON, commission,
        )  # fmt: skip
        booked = days.book(Filled(state, fill)).total
        assert booked <= charges.estimate(infy, product, side, quantity, price, NOON.date())
