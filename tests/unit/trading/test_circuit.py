"""Circuit limits at the paper exchange: what is beyond the band doesn't trade, and at its edge only one side does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.funds import Payable
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.market import BarOpen, LastPrice, MarketView
from alphapanda.domain.order import OrderType, Product, Side, Validity
from alphapanda.domain.terms import AT_MARKET, Terms
from alphapanda.paper_exchange.core.circuit import LOCKED, Band
from alphapanda.paper_exchange.core.fill_models import FillModels
from alphapanda.paper_exchange.core.held_order import NotChanged
from alphapanda.paper_exchange.core.paper_book import PaperBook
from alphapanda.paper_exchange.core.paper_charges import PaperOrder, PercentCharges
from alphapanda.paper_exchange.core.paper_market import PaperMarket

NOON = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)
CALENDAR = load_nse_calendar()
SHARE = Instrument(
    "NSE:S1", 1, "NSE", "S1", "Share", "NSE", "EQ", Decimal("0.05"), 1, 0, CALENDAR.segments[0]
)


def book(slippage: str = "0", percent: int | None = 10) -> PaperBook:
    models = FillModels(circuit=None if percent is None else Decimal(percent))
    return PaperBook("paper", PaperMarket(Decimal(slippage), PercentCharges(Decimal(0)), 7, models), CALENDAR)


def tick(price: int | Decimal, after: int = 0, first: int | Decimal = 100) -> MarketView:
    at = NOON + after * SECOND
    return MarketView(at, "run", {1: LastPrice(Decimal(price), at, first=Decimal(first))})


def bar(first: int, high: int, low: int, last: int, after: int = 60) -> MarketView:
    at = NOON + after * SECOND
    opened = BarOpen(at, *(Decimal(one) for one in (first, high, low)))
    return MarketView(
        at + 60 * SECOND,
        "run",
        {1: LastPrice(Decimal(last), at + 60 * SECOND, opened, None, Decimal(100))},
    )


def placed(at: PaperBook, view: MarketView, side: Side, terms: Terms = AT_MARKET) -> BrokerOrder:
    return at.place(PaperOrder("default", "s", SHARE, Product.MIS, side, 10, terms=terms), None, view)


def settled(at: PaperBook, order: BrokerOrder, view: MarketView) -> BrokerOrder | None:
    return at.settle(order.broker_order_id, view, lambda _, fill: Payable(fill.quantity))


@pytest.mark.parametrize(
    ("side", "edge", "back"), [(Side.BUY, 110, Decimal("109.95")), (Side.SELL, 90, Decimal("90.05"))]
)
def test_at_the_limit_only_the_other_side_trades(side: Side, edge: int, back: Decimal) -> None:
    """A market order is locked there until the price comes back; one of the other side fills at once."""
    exchange = book()
    locked = placed(exchange, tick(edge), side)
    assert locked.status is BrokerOrderStatus.OPEN
    assert settled(exchange, locked, tick(edge, 1)) is None
    assert placed(exchange, tick(edge), Side.of(-side.sign)).status is BrokerOrderStatus.COMPLETE
    filled = settled(exchange, locked, tick(back, 2))
    assert filled is not None
    assert (filled.status, filled.fills[0].price) == (BrokerOrderStatus.COMPLETE, back)


def test_an_order_that_is_locked_until_the_close_ends_and_says_why() -> None:
    """Nobody sold at the upper limit."""
    exchange = book()
    locked = placed(exchange, tick(110), Side.BUY)
    ended = settled(exchange, locked, tick(110, 5 * 3600))
    assert ended is not None
    assert (ended.status, ended.message) == (BrokerOrderStatus.CANCELLED, LOCKED)
    at_once = placed(exchange, tick(110), Side.BUY, Terms(OrderType.MARKET, Validity.IOC))
    assert at_once.status is BrokerOrderStatus.CANCELLED


@pytest.mark.parametrize("limit", ["89.95", "110.05"])
def test_a_limit_outside_of_the_band_is_refused_new_and_by_modification(limit: str) -> None:
    """As Zerodha refuses it, in either direction; at the band's edge it is taken."""
    exchange = book()
    terms = Terms(OrderType.LIMIT, limit_price=Decimal(limit))
    refused = placed(exchange, tick(100), Side.BUY, terms)
    assert (refused.status, "circuit limits, 90 to 110" in refused.message) == (
        BrokerOrderStatus.REJECTED,
        True,
    )
    rests = placed(exchange, tick(100), Side.BUY, Terms(OrderType.LIMIT, limit_price=Decimal(90)))
    assert rests.status is BrokerOrderStatus.OPEN
    with pytest.raises(NotChanged, match="circuit limits"):
        exchange.modify(rests.broker_order_id, 10, terms, tick(100))


def test_a_stop_that_triggers_at_the_limit_is_locked() -> None:
    """The price has jumped down to the lower limit: triggered, the stop waits for somebody who buys."""
    exchange = book()
    stop = placed(exchange, tick(100), Side.SELL, Terms(OrderType.SL_M, trigger_price=Decimal(95)))
    triggered = settled(exchange, stop, tick(90, 1))
    assert triggered is not None
    assert (triggered.status, triggered.trigger_pending) == (BrokerOrderStatus.OPEN, False)
    filled = settled(exchange, stop, tick(91, 2))
    assert filled is not None
    assert filled.fills[0].price == 91


def test_on_bars_the_path_decides() -> None:
    """A bar that opens locked fills a buy where its path comes back from the limit; one that stays there doesn't."""
    exchange = book()
    locked = placed(exchange, bar(100, 100, 100, 100, -60), Side.BUY)
    assert settled(exchange, locked, bar(110, 110, 110, 110)) is None
    filled = settled(exchange, locked, bar(110, 110, 108, 109, 120))
    assert filled is not None
    assert filled.fills[0].price == Decimal("109.99")


@given(
    prices=st.lists(st.integers(1700, 2300), min_size=1, max_size=30),
    side=st.sampled_from(Side),
    slippage=st.sampled_from(["0", "3"]),
)
def test_no_fill_is_beyond_the_band_and_none_at_a_locked_edge(
    prices: list[int], side: Side, slippage: str
) -> None:
    """Whatever the ticks (of five paise), a market order fills at the first one that isn't locked, inside of the band."""
    exchange, path = book(slippage), [Decimal(price) / 20 for price in prices]
    order = placed(exchange, tick(path[0]), side)
    fills = list(order.fills)
    for number, price in enumerate(path[1:], 1):
        if order.status is BrokerOrderStatus.OPEN and (
            report := settled(exchange, order, tick(price, number))
        ):
            order, fills = report, list(report.fills)
    free = [price for price in path if (price < 110 if side is Side.BUY else price > 90)]
    assert len(fills) == bool(free)
    for fill in fills:
        assert 90 <= fill.price <= 110
        if slippage == "0":
            assert fill.price == min(max(free[0], Decimal(90)), Decimal(110))


def test_without_the_setting_nothing_is_known_of_a_band() -> None:
    """A limit far away is taken, and nothing is locked."""
    exchange = book(percent=None)
    assert placed(exchange, tick(200), Side.BUY).status is BrokerOrderStatus.COMPLETE
    far = placed(exchange, tick(100), Side.BUY, Terms(OrderType.LIMIT, limit_price=Decimal(10)))
    assert far.status is BrokerOrderStatus.OPEN


def test_a_band_is_on_the_grid_and_holds_its_middle() -> None:
    """Limits are rounded towards the middle, and never onto it."""
    tick_size = Decimal("0.05")
    assert Band.around(Decimal("101.30"), Decimal(5), tick_size)[:2] == (Decimal("96.25"), Decimal("106.35"))
    assert Band.around(Decimal("1.00"), Decimal(1), tick_size)[:2] == (Decimal("0.95"), Decimal("1.05"))
