"""The comparison of live fills with their paper shadow's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.order import Product, Side
from alphapanda.portfolio.core.slippage import SignalFill, SignalKey, compare

AT = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
BOUGHT = SignalKey("ema", "NSE:INFY", Product.MIS, Side.BUY, "frame 1")
SOLD = BOUGHT._replace(side=Side.SELL, correlation_id="frame 2")


def _fill(signal: SignalKey, units: int, price: str, second: int = 0, name: str = "f") -> SignalFill:
    return SignalFill(signal, f"{name}{second}", units, Decimal(price), AT + timedelta(seconds=second))


def test_a_buy_that_costs_more_and_a_sale_that_brings_less_are_positive() -> None:
    """Both are what it costs to trade live; better prices are negative."""
    report = compare(
        [_fill(BOUGHT, 10, "100.20"), _fill(SOLD, 10, "99.90", 1)],
        [_fill(BOUGHT, 10, "100"), _fill(SOLD, 10, "100", 1)],
    )
    assert [(pair.signal, pair.per_unit, pair.cost) for pair in report.pairs] == [
        (SOLD, Decimal("0.1"), Decimal(1)),
        (BOUGHT, Decimal("0.2"), Decimal(2)),
    ]
    assert (report.cost, report.basis_points) == (Decimal(3), Decimal("15.00"))
    better = compare([_fill(BOUGHT, 10, "99")], [_fill(BOUGHT, 10, "100")])
    assert better.cost == Decimal(-10)


def test_partial_fills_of_a_signal_are_one_leg() -> None:
    """Averages are weighted by units, and only what both filled counts."""
    report = compare(
        [_fill(BOUGHT, 30, "101", 2, "b"), _fill(BOUGHT, 10, "105", 1, "a")], [_fill(BOUGHT, 20, "100")]
    )
    [pair] = report.pairs
    assert (pair.live.quantity, pair.live.average_price, pair.live.fills) == (40, Decimal(102), 2)
    assert pair.live.fill_ids == ("a1", "b2")
    assert (pair.live.first_at, pair.live.last_at) == (AT + timedelta(seconds=1), AT + timedelta(seconds=2))
    assert (pair.units, pair.cost) == (20, Decimal(40))


def test_a_signal_that_filled_at_one_broker_alone_is_counted() -> None:
    """It has no pair, and adds nothing to the sums."""
    report = compare([_fill(BOUGHT, 1, "100")], [_fill(SOLD, 1, "100"), _fill(SOLD, 1, "100", 1)])
    assert (report.pairs, report.only_live, report.only_shadow) == ([], 1, 1)
    assert (report.cost, report.basis_points) == (Decimal(0), None)


FILLS = st.lists(
    st.builds(
        lambda side, chain, units, paise, second: SignalFill(
            SignalKey("ema", "NSE:INFY", Product.MIS, side, f"frame {chain}"),
            f"{second}",
            units,
            Decimal(paise) / 100,
            AT + timedelta(seconds=second),
        ),
        st.sampled_from(Side),
        st.integers(0, 2),
        st.integers(1, 10_000),
        st.integers(1, 10_000_000),
        st.integers(0, 100),
    ),
    max_size=8,
)


@given(live=FILLS, shadow=FILLS)
def test_the_comparison_answers_on_any_fills(live: list[SignalFill], shadow: list[SignalFill]) -> None:
    """Each signal is in a pair or counted, whatever the order; compared the other way round, the cost changes its sign."""
    report = compare(live, shadow)
    assert len(report.pairs) + report.only_live == len({fill.signal for fill in live})
    assert len(report.pairs) + report.only_shadow == len({fill.signal for fill in shadow})
    assert compare(live[::-1], shadow[::-1]) == report
    assert compare(shadow, live).cost == -report.cost
    assert (report.basis_points is None) is (not report.pairs)
