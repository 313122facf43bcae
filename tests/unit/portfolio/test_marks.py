"""Marks and drawdown: integers by tick, against Decimals by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.market import LastPrice
from alphapanda.domain.order import OrderStatus, PositionEffect, Product, Side
from alphapanda.domain.order_events import Fill, Filled, OrderState
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import AT_MARKET
from alphapanda.portfolio.core.book import PortfolioBook
from alphapanda.portfolio.core.drawdown import EquityTracker
from alphapanda.portfolio.core.marks import Marks

NOW = datetime(2024, 1, 2, 4, 0, tzinfo=UTC)
START = Decimal(100_000)


def frame(sequence: int, ticks: list[tuple[int, int, int]], scale: int = 100) -> Frame:
    """A frame of ticks (token, scaled price, seconds after NOW)."""
    return Frame(
        "run",
        0,
        sequence,
        nanoseconds(NOW),
        scale,
        [token for token, _, _ in ticks],
        [price for _, price, _ in ticks],
        [nanoseconds(NOW + timedelta(seconds=second)) for _, _, second in ticks],
    )


def prices_of(marks: Marks, token: int) -> Decimal | None:
    last = marks.last(token)
    return last.price if last else None


def filled(n: int, token: int, units: int, paise: int) -> Filled:
    key = PositionKey("paper", "default", "ema", f"NSE:I{token}", Product.MIS)
    state = OrderState(
        order_id=str(UUID(int=n)),
        signal_id=str(UUID(int=n)),
        key=key,
        instrument_token=token,
        side=Side.of(units),
        quantity=abs(units),
        terms=AT_MARKET,
        effect=PositionEffect.OPENS,
        status=OrderStatus.FILLED,
        revision=2,
        filled=abs(units),
        leaves=0,
        average_price=None,
        market_time=NOW,
    )
    return Filled(
        state, Fill(str(UUID(int=n)), f"T{n}", abs(units), Decimal(paise).scaleb(-2), Decimal("0.07"), NOW)
    )


def test_only_newer_market_time_moves_a_mark() -> None:
    """An older tick changes nothing; one of the same instant, logged later, does."""
    marks = Marks()
    marks.apply(frame(1, [(1, 10_000, 5), (2, 5_005, 5)]))
    marks.apply(frame(2, [(1, 9_000, 4), (2, 5_010, 5)]))
    at = NOW + timedelta(seconds=5)
    assert [marks.last(token) for token in (1, 2, 3)] == [
        LastPrice(Decimal(100), at),
        LastPrice(Decimal("50.10"), at),
        None,
    ]


def test_a_seed_gives_way_to_what_frames_brought() -> None:
    """Prices of the cache fill in what no frame has marked yet or marked earlier."""
    marks = Marks()
    marks.apply(frame(1, [(1, 10_000, 5), (2, 5_000, 0)]))
    marks.seed({token: LastPrice(Decimal("7.0025"), NOW + timedelta(seconds=1)) for token in (1, 2, 3)})
    assert [prices_of(marks, token) for token in (1, 2, 3)] == [
        Decimal(100),
        Decimal("7.0025"),
        Decimal("7.0025"),
    ]


def test_prices_of_any_scale_stay_exact() -> None:
    """Frames of a finer scale than before neither round themselves nor what is known."""
    marks = Marks()
    marks.apply(frame(1, [(1, 12_345, 0)]))
    marks.apply(frame(2, [(2, 831_225_125, 0)], scale=10_000_000))
    marks.apply(frame(3, [(3, 7, 0)]))
    assert [prices_of(marks, token) for token in (1, 2, 3)] == [
        Decimal("123.45"),
        Decimal("83.1225125"),
        Decimal("0.07"),
    ]


EVENTS = st.lists(
    st.tuples(st.just("tick"), st.integers(1, 2), st.integers(1, 200_000))
    | st.tuples(st.just("fill"), st.integers(1, 2), st.integers(-50, 50).filter(bool)),
    max_size=60,
)


@given(EVENTS)
def test_the_tracker_is_the_statement_after_every_event(events: list[tuple[str, int, int]]) -> None:
    """Equity by running sums is equity by the statement, and the drawdown is the deepest of that series."""
    book, tracker = PortfolioBook("paper", "default", START), EquityTracker(START, 100)
    prices: dict[str, Decimal] = {}
    peak, deepest, fraction = START, Decimal(0), Decimal(0)
    for n, (kind, token, value) in enumerate(events):
        if kind == "tick":
            tracker.mark(token, value)
            prices[f"NSE:I{token}"] = Decimal(value).scaleb(-2)
        else:
            booking = book.apply(filled(n, token, value, 10_000))
            assert booking is not None
            tracker.booked(booking)
        equity = book.statement(prices).equity
        assert tracker.equity == equity
        if equity is not None:
            peak = max(peak, equity)
            deepest = max(deepest, peak - equity)
            fraction = max(fraction, (peak - equity) / peak)
    assert tracker.max_drawdown == deepest
    assert tracker.max_drawdown_fraction == fraction.quantize(Decimal("0.000001"))


def test_the_last_price_is_the_last_mark() -> None:
    """The tracker knows what it was told, in rupees."""
    tracker = EquityTracker(START, 100)
    tracker.mark(1, 12_345)
    assert (tracker.last_price(1), tracker.last_price(2)) == (Decimal("123.45"), None)
