"""Where limits and stops meet the market, in memory: each case by itself, then on any path."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from alphapanda.domain.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.funds import Payable
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.market import BarOpen, LastPrice, MarketView
from alphapanda.domain.order import OrderType, Product, Side, Validity
from alphapanda.domain.price_path import price_path
from alphapanda.domain.terms import Terms
from alphapanda.paper_exchange.core.fill_models import FillModels, Queue, Slippage
from alphapanda.paper_exchange.core.held_order import DAY_ENDED, NotChanged
from alphapanda.paper_exchange.core.matching import IOC_UNFILLED, STOPS_WAIT, meeting
from alphapanda.paper_exchange.core.paper_book import PaperBook
from alphapanda.paper_exchange.core.paper_charges import PaperOrder, PercentCharges
from alphapanda.paper_exchange.core.paper_market import PaperMarket

NOON = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)
BAR = timedelta(minutes=5)
NO_SLIPPAGE = PaperMarket(Decimal(0), PercentCharges(Decimal(0)), seed=7)
SLIPPING = PaperMarket(Decimal(1), PercentCharges(Decimal(0)), seed=7)
OPEN, COMPLETE = BrokerOrderStatus.OPEN, BrokerOrderStatus.COMPLETE
CANCELLED, REJECTED = BrokerOrderStatus.CANCELLED, BrokerOrderStatus.REJECTED


def limit(price: object, validity: Validity = Validity.DAY) -> Terms:
    return Terms(OrderType.LIMIT, validity, limit_price=Decimal(str(price)))


def stop(trigger: object, limit_price: object = None) -> Terms:
    if limit_price is None:
        return Terms(OrderType.SL_M, trigger_price=Decimal(str(trigger)))
    return Terms(OrderType.SL, limit_price=Decimal(str(limit_price)), trigger_price=Decimal(str(trigger)))


def tick(price: object) -> LastPrice:
    return LastPrice(Decimal(str(price)), NOON)


def bar(opened: object, high: object, low: object, closed: object, number: int = 1) -> LastPrice:
    """The n-th bar after noon."""
    start = NOON + (number - 1) * BAR
    prices = (Decimal(str(price)) for price in (opened, high, low))
    return LastPrice(Decimal(str(closed)), start + BAR, BarOpen(start, *prices))


BUY, SELL = Side.BUY, Side.SELL


@pytest.mark.parametrize(
    ("terms", "side", "last", "paid", "passive"),
    [
        # What rested trades at its own price when the price comes there, wherever the tick is.
        (limit(100), BUY, tick(100), 100, True),
        (limit(100), BUY, tick(99), 100, True),
        (limit(100), BUY, tick("100.05"), None, None),
        (limit(100), SELL, tick(101), 100, True),
        # A stop triggers at the tick, and trades there; within its limit.
        (stop(105), BUY, tick(105), 105, False),
        (stop(105), BUY, tick(107), 107, False),
        (stop(105), BUY, tick("104.95"), None, None),
        (stop(95, 94), SELL, tick("94.5"), "94.5", False),
        # Inside a bar the price passes the limit and the trigger themselves.
        (limit(98), BUY, bar(100, 101, 97, 100), 98, True),
        (limit(102), SELL, bar(100, 103, 99, 100), 102, True),
        (stop(103), BUY, bar(100, 104, 99, 101), 103, False),
        (stop(97, 96), SELL, bar(100, 101, 95, 96), 97, False),
        # Where a bar opens beyond, the open is the price.
        (limit(98), BUY, bar(97, 101, 96, 100), 97, False),
        (stop(103), BUY, bar(105, 106, 99, 101), 105, False),
        (stop(97), SELL, bar(90, 98, 89, 91), 90, False),
        # A stop limit that the open has jumped over rests at its limit; the path may come back to it.
        (stop(97, 96), SELL, bar(90, 98, 89, 91), 96, True),
        # A bar that never comes there does nothing.
        (limit(96), BUY, bar(100, 101, 97, 100), None, None),
        (stop(97), SELL, bar(100, 104, 98, 99), None, None),
        (Terms(), BUY, bar(100, 101, 97, 100), 100, False),
    ],
)
def test_an_order_meets_the_market(terms, side, last, paid, passive) -> None:
    """Each kind of order at the price that an exchange would give it."""
    met = meeting(terms, side, last, NOON)
    if paid is None:
        assert met is None
    else:
        assert met is not None
        assert met.found is not None
        assert (met.found.price, met.found.passive) == (Decimal(str(paid)), passive)


def test_a_stop_limit_that_the_price_has_jumped_over_is_triggered_and_rests() -> None:
    """It isn't filled beyond its limit, and is a limit order from then on."""
    for last in (tick(90), bar(90, 95, 89, 91)):
        met = meeting(stop(97, 96), SELL, last, NOON)
        assert met is not None
        assert met.found is None
    came_back = meeting(stop(97, 96), SELL, tick("96.5"), NOON, triggered=True)
    assert came_back is not None
    assert came_back.found is not None
    assert came_back.found.price == 96


def test_what_the_path_meets_first_comes_first() -> None:
    """Of a stop and a target inside one bar, the nearer extreme is first; with the other shape the other."""
    stopped, target = stop(97), limit(103)

    def first(last: LastPrice) -> Terms:
        ways = {terms: meeting(terms, SELL, last, NOON) for terms in (stopped, target)}
        return min(ways, key=lambda terms: ways[terms].way)  # type: ignore[union-attr]

    assert first(bar(100, 104, 90, 100)) is target
    assert first(bar(100, 110, 96, 100)) is stopped


prices = st.integers(9_950, 10_050).map(lambda paise: Decimal(paise).scaleb(-2))
sides = st.sampled_from(Side)


@st.composite
def bars(draw: st.DrawFn) -> LastPrice:
    four = sorted(draw(st.tuples(prices, prices, prices, prices)))
    opened, closed = draw(st.permutations(four[1:3]))
    return bar(opened, four[3], four[0], closed)


@st.composite
def any_terms(draw: st.DrawFn, side: Side) -> Terms:
    kind = draw(st.sampled_from(OrderType))
    if kind is OrderType.MARKET:
        return Terms()
    if kind is OrderType.LIMIT:
        return limit(draw(prices))
    trigger, beyond = draw(prices), draw(st.integers(0, 30))
    if kind is OrderType.SL_M:
        return stop(trigger)
    return stop(trigger, trigger + side.sign * Decimal(beyond).scaleb(-2))


def fine_path(last: LastPrice) -> list[Decimal]:
    """The bar's path, in small steps that stay on paise."""
    assert last.bar is not None
    assert last.bar.high is not None
    assert last.bar.low is not None
    path = price_path(last.bar.price, last.bar.high, last.bar.low, last.price)
    fine = [path[0]]
    for before, after in pairwise(path):
        way = int((after - before) * 100)
        fine += [before + Decimal(n if way > 0 else -n).scaleb(-2) for n in range(1, abs(way) + 1)]
    return fine


@settings(max_examples=60, deadline=None)
@given(data=st.data(), side=sides, last=st.one_of(bars(), prices.map(tick)))
def test_a_fill_is_within_limit_trigger_and_market(data, side, last) -> None:
    """No fill is worse than the limit, before the trigger, or at a price that the market didn't trade at."""
    terms = data.draw(any_terms(side))
    met = meeting(terms, side, last, NOON)
    if met is None or met.found is None:
        return
    price, sign = met.found.price, side.sign
    if terms.limit_price is not None:
        assert sign * price <= sign * terms.limit_price
    if terms.trigger_price is not None and not met.found.passive:
        assert sign * price >= sign * terms.trigger_price
    if last.bar is not None:
        assert last.bar.low <= price <= last.bar.high


@settings(max_examples=40, deadline=None)
@given(data=st.data(), side=sides, last=bars())
def test_a_bar_is_the_same_as_its_path_walked_in_paise(data, side, last) -> None:
    """Whether, and where, an order fills inside a bar is what the same prices do as ticks, one after the other."""
    terms = data.draw(any_terms(side))
    triggered, filled = False, None
    for number, price in enumerate(fine_path(last)):
        met = meeting(terms, side, tick(price), NOON, triggered=triggered)
        if met is None:
            continue
        if met.found is not None:
            # A bar's open is a price as good for an order that rested as for one that comes.
            filled = price if not number else met.found.price
            break
        triggered = True
    at_once = meeting(terms, side, last, NOON)
    assert (at_once is not None) == (triggered or filled is not None)
    found = None if at_once is None else at_once.found
    assert (None if found is None else found.price) == filled


# -- the exchange in memory -------------------------------------------------------------------------------------------


@pytest.fixture
def book(calendar: TradingCalendar) -> PaperBook:
    return PaperBook("paper", NO_SLIPPAGE, calendar)


def view(infy: Instrument, last: LastPrice, at: datetime | None = None) -> MarketView:
    return MarketView(at or last.traded_at, "run", {infy.instrument_token: last})


def ordered(infy: Instrument, terms: Terms, side: Side = BUY, quantity: int = 10) -> PaperOrder:
    return PaperOrder("default", "ema", infy, Product.MIS, side, quantity, terms=terms)


def paid(_held: object, fill) -> Payable:
    return Payable(fill.quantity)


def test_a_limit_order_rests_and_fills_at_its_price(book: PaperBook, infy: Instrument) -> None:
    """On ticks it is open until the price comes to it; then it pays its own limit."""
    placed = book.place(ordered(infy, limit(99)), None, view(infy, tick(100)))
    number = placed.broker_order_id
    assert (placed.status, placed.fills, placed.terms) == (OPEN, (), limit(99))
    assert book.settle(number, view(infy, tick("99.5")), paid) is None
    filled = book.settle(number, view(infy, tick(98)), paid)
    assert filled is not None
    assert (filled.status, [fill.price for fill in filled.fills]) == (COMPLETE, [99])
    assert not book.held


def test_a_marketable_limit_order_fills_at_once_and_never_beyond_its_limit(
    calendar: TradingCalendar, infy: Instrument
) -> None:
    """It pays the last price with slippage, but not more than its limit."""
    book = PaperBook("paper", SLIPPING, calendar)
    market = view(infy, tick(1500))
    far, near = (book.place(ordered(infy, limit(price)), None, market) for price in (1600, "1500.05"))
    assert (far.status, near.status) == (COMPLETE, COMPLETE)
    assert Decimal("1507.5") <= far.fills[0].price < 1523
    assert near.fills[0].price == Decimal("1500.05")


def test_an_ioc_order_fills_at_once_or_is_cancelled(book: PaperBook, infy: Instrument) -> None:
    """On ticks at the last price, on bars at the next open; it never waits for a better one."""
    now = limit(99, Validity.IOC)
    unfilled = book.place(ordered(infy, now), None, view(infy, tick(100)))
    assert (unfilled.status, unfilled.message) == (CANCELLED, IOC_UNFILLED)
    assert book.place(ordered(infy, now), None, view(infy, tick(99))).status is COMPLETE
    before = view(infy, bar(100, 101, 99, 100, number=0))
    first, second = (book.place(ordered(infy, now), None, before).broker_order_id for _ in range(2))
    assert book.settle(first, before, paid) is None
    missed = book.settle(first, view(infy, bar(100, 101, 98, 100)), paid)
    assert (missed and missed.status, missed and missed.message) == (CANCELLED, IOC_UNFILLED)
    opened = book.settle(second, view(infy, bar(98, 101, 98, 100)), paid)
    assert opened is not None
    assert opened.fills[0].price == 98


def test_a_stop_on_the_wrong_side_of_the_market_is_rejected(book: PaperBook, infy: Instrument) -> None:
    """As at an exchange: it would trigger at once. One that may not wait is no stop."""
    for side, trigger in ((BUY, 100), (BUY, 99), (SELL, 100), (SELL, 101)):
        rejected = book.place(ordered(infy, stop(trigger), side), None, view(infy, tick(100)))
        assert rejected.status is REJECTED
        assert "has to be" in rejected.message
    hurried = Terms(OrderType.SL_M, Validity.IOC, trigger_price=Decimal(105))
    assert book.place(ordered(infy, hurried), None, view(infy, tick(100))).message == STOPS_WAIT


def test_only_bars_that_began_after_an_order_came_fill_it(book: PaperBook, infy: Instrument) -> None:
    """The bar at whose close it was decided, and one under way, did nothing for it."""
    known = bar(100, 105, 90, 100, number=0)
    number = book.place(ordered(infy, limit(95)), None, view(infy, known)).broker_order_id
    assert book.settle(number, view(infy, known), paid) is None
    late = book.place(ordered(infy, limit(95)), NOON + timedelta(seconds=1), view(infy, known))
    following = view(infy, bar(100, 105, 94, 100))
    assert book.settle(late.broker_order_id, following, paid) is None
    filled = book.settle(number, following, paid)
    assert filled is not None
    assert (filled.fills[0].price, filled.fills[0].traded_at) == (95, NOON)


def test_a_stop_triggers_once_and_the_bar_that_triggered_it_is_not_walked_again(
    book: PaperBook, infy: Instrument
) -> None:
    """What rests at its limit after the jump waits for later bars, though the same bar is shown again."""
    before, jumped = view(infy, bar(100, 101, 99, 100, number=0)), view(infy, bar(90, 95, 89, 91))
    number = book.place(ordered(infy, stop(97, 96), SELL), None, before).broker_order_id
    assert book.held[number].trigger_pending
    triggered = book.settle(number, jumped, paid)
    assert (triggered and triggered.status, triggered and triggered.trigger_pending) == (OPEN, False)
    assert book.settle(number, jumped, paid) is None
    filled = book.settle(number, view(infy, bar(92, 98, 91, 97, number=2)), paid)
    assert filled is not None
    assert filled.fills[0].price == 96


def test_a_resting_order_ends_with_its_day(book: PaperBook, infy: Instrument) -> None:
    """It is cancelled once the session is over; tomorrow's price isn't its own."""
    number = book.place(ordered(infy, limit(95)), None, view(infy, tick(100))).broker_order_id
    tomorrow = NOON + timedelta(days=3)
    ended = book.settle(number, view(infy, LastPrice(Decimal(90), tomorrow), tomorrow), paid)
    assert (ended and ended.status, ended and ended.message) == (CANCELLED, DAY_ENDED)


def test_a_modification_counts_as_an_order_that_comes_now(book: PaperBook, infy: Instrument) -> None:
    """Price and quantity change; one that can trade at once does; what is wrong with it is said, and nothing changes."""
    market = view(infy, tick(100))
    number = book.place(ordered(infy, limit(95)), None, market).broker_order_id
    changed = book.modify(number, 25, limit(97), market)
    assert (changed.status, changed.quantity, changed.terms) == (OPEN, 25, limit(97))
    for quantity, terms, said in ((0, limit(97), "too few"), (25, stop(105), "stays it")):
        with pytest.raises(NotChanged, match=said):
            book.modify(number, quantity, terms, market)
    filled = book.modify(number, 30, limit(100), market)
    assert (filled.status, filled.fills[0].quantity) == (COMPLETE, 30)
    with pytest.raises(NotChanged, match="has ended"):
        book.modify(number, 30, limit(100), market)
    waiting = book.place(ordered(infy, stop(105)), None, market).broker_order_id
    with pytest.raises(NotChanged, match="has to be above the last price"):
        book.modify(waiting, 10, stop(100), market)
    assert book.modify(waiting, 10, stop(103), market).trigger_pending


def test_a_cancel_ends_what_is_left_once(book: PaperBook, infy: Instrument) -> None:
    """The second cancel, and one of an order that has filled, are refused."""
    number = book.place(ordered(infy, limit(95)), None, view(infy, tick(100))).broker_order_id
    assert book.cancel(number).status is CANCELLED
    with pytest.raises(NotChanged, match="has ended"):
        book.cancel(number)


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("tick"), prices),
            st.tuples(st.just("modify"), prices),
            st.tuples(st.just("cancel"), st.none()),
        ),
        max_size=12,
    ),
    side=sides,
    data=st.data(),
)
def test_whatever_happens_an_order_fills_once_and_ends_once(calendar, steps, side, data) -> None:
    """Any sequence of prices, modifications and cancels: never more than ordered, never after the end."""
    infy = Instrument(
        "NSE:INFY", 408065, "NSE", "INFY", "Infosys", "NSE", "EQ", Decimal("0.01"), 5, 100, "NSE_EQ"
    )
    book, market = PaperBook("paper", NO_SLIPPAGE, calendar), view(infy, tick(100))
    terms = data.draw(any_terms(side))
    told: list[BrokerOrder] = [book.place(ordered(infy, terms, side), None, market)]
    number = told[0].broker_order_id
    for what, price in steps:
        try:
            if what == "tick":
                market = view(infy, tick(price))
                if number in book.held and (report := book.settle(number, market, paid)):
                    told.append(report)
            elif what == "modify":
                new = terms if terms.limit_price is None else limit(price)
                told.append(book.modify(number, 20, new, market))
            else:
                told.append(book.cancel(number))
        except NotChanged:
            continue
    ends = [report for report in told if report.status is not OPEN]
    assert len(ends) == (number not in book.held)
    assert not ends or told[-1] is ends[0]
    assert sum(fill.quantity for fill in told[-1].fills) in {0, 10, 20}


# -- fill models ------------------------------------------------------------------------------------------------------


def models(**changes: object) -> PaperMarket:
    return PaperMarket(
        Decimal(1),
        PercentCharges(Decimal(0)),
        seed=7,
        models=FillModels(**changes),  # type: ignore[arg-type]
    )


def traded(infy: Instrument, last: LastPrice, volume: int) -> MarketView:
    return view(infy, structs.replace(last, volume=volume))


def test_a_share_of_the_traded_volume_fills_and_the_rest_waits(
    calendar: TradingCalendar, infy: Instrument
) -> None:
    """Whole lots of what was traded since the order last looked; each part is a trade of its own, and the order ends full."""
    book = PaperBook("paper", models(fill_share=Decimal(10)), calendar)
    before = traded(infy, bar(100, 101, 99, 100, number=0), 5_000)
    number = book.place(ordered(infy, limit(98), quantity=50), None, before).broker_order_id
    assert book.settle(number, traded(infy, bar(100, 101, 99, 100), 9_000), paid) is None
    partly = book.settle(number, traded(infy, bar(99, 101, 97, 100, number=2), 9_290), paid)
    assert partly is not None
    assert (partly.status, [fill.quantity for fill in partly.fills]) == (OPEN, [25])
    assert book.settle(number, traded(infy, bar(99, 101, 97, 100, number=2), 9_290), paid) is None
    whole = book.settle(number, traded(infy, bar(97, 98, 96, 97, number=3), 20_000), paid)
    assert whole is not None
    assert (whole.status, [fill.quantity for fill in whole.fills]) == (COMPLETE, [25, 25])
    assert len({fill.fill_id for fill in whole.fills}) == 2


def test_a_stop_that_nothing_was_traded_for_is_triggered_and_goes_on_as_what_it_became(
    calendar: TradingCalendar, infy: Instrument
) -> None:
    """A market order from then on, that takes what there is at each next open; a new day's volume begins anew."""
    book = PaperBook("paper", models(fill_share=Decimal(10)), calendar)
    before = traded(infy, bar(100, 101, 99, 100, number=0), 5_000)
    number = book.place(ordered(infy, stop(97), SELL, 20), None, before).broker_order_id
    triggered = book.settle(number, traded(infy, bar(100, 101, 96, 98), 5_040), paid)
    assert (triggered and triggered.trigger_pending, triggered and triggered.fills) == (False, ())
    filled = book.settle(number, traded(infy, bar(99, 101, 96, 98, number=2), 300), paid)
    assert filled is not None
    assert (filled.status, filled.fills[0].quantity) == (COMPLETE, 20)


def test_at_the_back_of_the_queue_a_limit_has_to_be_passed(
    calendar: TradingCalendar, infy: Instrument
) -> None:
    """The price's touch isn't enough; an open beyond it is, and so is a path that goes beyond."""
    book = PaperBook("paper", models(queue=Queue.BACK), calendar)
    before = view(infy, bar(100, 101, 99, 100, number=0))
    number = book.place(ordered(infy, limit(98)), None, before).broker_order_id
    assert book.settle(number, view(infy, bar(100, 101, 98, 100)), paid) is None
    filled = book.settle(number, view(infy, bar(100, 101, "97.95", 100, number=2)), paid)
    assert filled is not None
    assert filled.fills[0].price == 98


def test_an_order_arrives_after_its_latency(calendar: TradingCalendar, infy: Instrument) -> None:
    """On ticks it meets the first price from then on, a market order, too; on bars it misses an open that comes before."""
    book = PaperBook("paper", models(latency=timedelta(seconds=1), slippage=Slippage.SPREAD), calendar)
    placed = book.place(ordered(infy, Terms()), None, view(infy, tick(100)))
    assert placed.status is OPEN

    def later(seconds: float, price: int) -> BrokerOrder | None:
        at = NOON + timedelta(seconds=seconds)
        return book.settle(placed.broker_order_id, view(infy, LastPrice(Decimal(price), at)), paid)

    assert later(0.9, 101) is None
    filled = later(1.5, 102)
    assert filled is not None
    assert filled.fills[0].price == Decimal("102.01")
    on_bars = book.place(ordered(infy, Terms()), None, view(infy, bar(100, 101, 99, 100, number=0)))
    assert book.settle(on_bars.broker_order_id, view(infy, bar(101, 102, 99, 100)), paid) is None
    opened = book.settle(on_bars.broker_order_id, view(infy, bar(103, 104, 99, 100, number=2)), paid)
    assert opened is not None
    assert opened.fills[0].price == Decimal("103.01")


def test_slippage_by_volume_is_the_share_of_what_was_traded(
    calendar: TradingCalendar, infy: Instrument
) -> None:
    """Half of the volume pays half of the percentage; where no volume is known, all of it."""
    book = PaperBook("paper", models(slippage=Slippage.VOLUME_SHARE), calendar)
    for volumes, price in (((100, 300), "101.00"), ((100, 10_100), "100.02"), ((None, None), "101.00")):
        before = structs.replace(bar(100, 101, 99, 100, number=0), volume=volumes[0])
        number = book.place(ordered(infy, Terms(), quantity=200), None, view(infy, before)).broker_order_id
        after = structs.replace(bar(100, 101, 99, 100), volume=volumes[1])
        filled = book.settle(number, view(infy, after), paid)
        assert filled is not None
        assert filled.fills[0].price == Decimal(price)


@settings(max_examples=60, deadline=None)
@given(
    share=st.integers(1, 100),
    volumes=st.lists(st.integers(0, 4_000), min_size=1, max_size=12),
    quantity=st.integers(1, 60),
    data=st.data(),
    side=sides,
)
def test_no_more_fills_than_the_share_of_what_was_traded(
    calendar, share, volumes, quantity, data, side
) -> None:
    """Over any bars: the parts add up to the order at most, and each to its share of the volume between two looks."""
    infy = Instrument(
        "NSE:INFY", 408065, "NSE", "INFY", "Infosys", "NSE", "EQ", Decimal("0.01"), 5, 0, "NSE_EQ"
    )
    book, total = PaperBook("paper", models(fill_share=Decimal(share)), calendar), 0
    start = traded(infy, bar(100, 100, 100, 100, number=0), 0)
    placed = book.place(ordered(infy, data.draw(any_terms(side)), side, 5 * quantity), None, start)
    seen = 0
    for number, volume in enumerate(volumes, 1):
        total += volume
        last = structs.replace(data.draw(bars()), traded_at=NOON + number * BAR, volume=total)
        assert last.bar is not None
        last = structs.replace(last, bar=structs.replace(last.bar, start=NOON + (number - 1) * BAR))
        if placed.broker_order_id not in book.held:
            break
        report = book.settle(placed.broker_order_id, view(infy, last), paid)
        filled = sum(fill.quantity for fill in report.fills) if report else seen
        assert 0 <= (filled - seen) * 100 <= volume * share
        assert (filled - seen) % 5 == 0
        seen = filled
    assert seen <= 5 * quantity
