"""A day's charges, as a contract note adds them up."""

from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.charge_days import ChargeDays, from_text, to_text
from alphapanda.domain.charge_rates import ChargeSegment, Sureness, load_charge_rates
from alphapanda.domain.charges import NO_CHARGES, fill_charges, merged
from alphapanda.domain.order import OrderStatus, PositionEffect, Product, Side
from alphapanda.domain.order_events import Fill, Filled, OrderState
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import AT_MARKET

RATES = load_charge_rates()
NOON = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)
DP = Decimal("15.34")


def filled(
    n,
    units,
    price,
    *,
    product=Product.MIS,
    strategy="ema",
    symbol="NSE:INFY",
    type_="EQ",
    at=NOON,
    order=None,
):
    """A fill of `units` (signed) with the lines of its day."""
    side, price = Side.of(units), Decimal(price)
    day = (at + timedelta(hours=5, minutes=30)).date()
    sheet = RATES.sheet(day, symbol[:3], ChargeSegment.of(type_, product), fall_back=True)
    charges = fill_charges(sheet, side, abs(units), price)
    key = PositionKey("paper", "default", strategy, symbol, product)
    state = OrderState(
        f"order-{order or n}", "", key, 1, side, abs(units), AT_MARKET, PositionEffect.OPENS,
        OrderStatus.FILLED, 1, abs(units), 0, price, at,
    )  # fmt: skip
    return Filled(state, Fill(f"fill-{n}", str(n), abs(units), price, charges.in_paise, at, charges))


def amounts(charges):
    return {line.name: line.amount for line in charges.lines}


@pytest.mark.parametrize(
    ("product", "symbol", "type_", "units", "bought", "sold", "total"),
    [
        # STT 150 + 151, exchange 9.24, SEBI 0.30, GST 1.72, stamp 22.50 -> 23
        (Product.CNC, "NSE:INFY", "EQ", 100, "1500", "1510", "335.26"),
        # brokerage 2 x 20, STT 37.75 -> 38, exchange 9.24, SEBI 0.30, GST 8.92, stamp 4.50 -> 5
        (Product.MIS, "NSE:INFY", "EQ", 100, "1500", "1510", "101.46"),
        # brokerage 2 x 20, STT 814.125 -> 814, exchange 59.53, SEBI 3.25, GST 18.50, stamp 32.50 -> 33; IPFT is 0.003
        (Product.NRML, "NFO:NIFTY26NOVFUT", "FUT", 65, "25000", "25050", "968.28"),
        # brokerage 2 x 20, STT 14.625 -> 15, exchange 6.84, SEBI 0.02, GST 8.43, stamp 0.28 -> 0
        (Product.NRML, "NFO:NIFTY26NOV25000CE", "CE", 65, "146", "150", "70.29"),
    ],
)
def test_round_trips_as_worked_by_hand(product, symbol, type_, units, bought, sold, total):
    """A purchase and a later sale cost what the worked examples say, STT and stamp duty in whole rupees."""
    days = ChargeDays()
    how = {"product": product, "symbol": symbol, "type_": type_}
    paid = days.book(filled(1, units, bought, **how)).total
    at = NOON + timedelta(days=product is Product.CNC)
    sale = days.book(filled(2, -units, sold, at=at, **how))
    lines = amounts(sale)
    assert lines.pop("dp", 0) == (DP if product is Product.CNC else 0)
    by_line = amounts(merged(days.by_strategy().values()))
    rounded = sum(lines.values()) + paid
    assert rounded == Decimal(total)
    assert sum(by_line.values()) == rounded + (DP if product is Product.CNC else 0)


def test_many_small_orders_pay_what_one_large_one_pays_in_taxes():
    """STT and stamp duty are rounded once for a day and scrip, not for each order: 40 x 0.125 rupees are 5, not 0."""
    days = ChargeDays()
    for n in range(40):
        days.book(filled(n, -5, "100"))  # STT of an order: 500 x 0.025 % = 0.125
    assert amounts(merged(days.by_strategy().values()))["stt"] == 5


TRADES = st.lists(
    st.tuples(
        st.integers(-30, 30).filter(bool),
        st.decimals("1", "5000", places=2),
        st.sampled_from(["ema", "vwap"]),
    ),
    min_size=1,
    max_size=12,
)


@given(TRADES, st.sampled_from([Product.MIS, Product.CNC]))
def test_what_is_booked_is_the_rounded_sum(trades, product):
    """Whatever is traded, booked lines add up to the day's sums, in whole rupees or paise, and no strategy's is negative."""
    days = ChargeDays()
    booked = {"ema": [], "vwap": []}
    for n, (units, price, strategy) in enumerate(trades):
        lines = days.book(filled(n, units, price, strategy=strategy, product=product))
        booked[strategy].append(lines)
    for strategy, charges in booked.items():
        total = amounts(merged(charges))
        assert total == amounts(days.by_strategy().get(strategy, NO_CHARGES))
        for name, amount in total.items():
            unit = Decimal(1) if name in ("stt", "stamp_duty") else Decimal("0.01")
            assert amount > 0
            assert amount == amount.quantize(unit)


@given(TRADES)
def test_a_day_survives_its_store(trades):
    """Days that are stored and read between any two fills book the same."""
    kept, stored = ChargeDays(), ChargeDays()
    for n, (units, price, strategy) in enumerate(trades):
        fill = filled(n, units, price, strategy=strategy, product=Product.CNC)
        read = {key: from_text(to_text(day)) for key, day in stored.days.items()}
        stored = ChargeDays(read, stored.dp_payers)
        assert stored.book(fill).lines == kept.book(fill).lines


def test_cnc_bought_and_sold_on_one_day_is_intraday():
    """The sale books the difference, so that both together cost what an intraday round trip does; no DP charges."""
    days, intraday = ChargeDays(), ChargeDays()
    bought = days.book(filled(1, 100, "1500", product=Product.CNC))
    assert amounts(bought)["stt"] == 150
    sold = days.book(filled(2, -100, "1510", product=Product.CNC))
    assert amounts(sold)["stt"] == 38 - 150
    assert amounts(sold)["brokerage"] == 40
    for n, units, price in ((1, 100, "1500"), (2, -100, "1510")):
        intraday.book(filled(n, units, price))
    assert amounts(merged([bought, sold])) == amounts(merged(intraday.by_strategy().values()))
    assert merged([bought, sold]).total == Decimal("101.46")


@given(
    st.lists(st.tuples(st.integers(1, 500), st.decimals("10", "3000", places=2)), min_size=1, max_size=6),
    st.decimals("10", "3000", places=2),
)
def test_any_purchases_closed_on_their_day_are_intraday(purchases, price):
    """Purchases sold with one order later in the day cost, line by line, what they do as MIS."""
    found = {}
    for product in (Product.MIS, Product.CNC):
        days, held = ChargeDays(), 0
        for n, (units, paid) in enumerate(purchases):
            days.book(filled(n, units, paid, product=product))
            held += units
        days.book(filled(99, -held, price, product=product))
        found[product] = amounts(merged(days.by_strategy().values()))
    assert found[Product.CNC] == found[Product.MIS]


def test_a_part_of_a_delivery_becomes_intraday():
    """Of 100 bought, 40 sold on the day are intraday on both sides; 60 are delivered, and no holdings were sold."""
    days = ChargeDays()
    days.book(filled(1, 100, "1000", product=Product.CNC))
    days.book(filled(2, -40, "1000", product=Product.CNC))
    assert amounts(merged(days.by_strategy().values())) == {
        "brokerage": Decimal(24),  # 40000 x 0.03 % = 12 for each side
        "stt": Decimal(70),  # 60000 x 0.1 % + 40000 x 0.025 %
        "exchange_transaction": Decimal("4.30"),  # 140000 x 0.0030699 % = 4.29786
        "sebi": Decimal("0.14"),
        "stamp_duty": Decimal(10),  # 60000 x 0.015 % + 40000 x 0.003 % = 10.20
        "gst": Decimal("5.12"),  # (24 + 4.29786 + 0.14) x 18 % = 5.1188
    }


def test_dp_charges_are_due_once_a_scrip_and_day():
    """Three sales of holdings on a day pay once; the next day pays again, and so does another scrip."""
    days, paid = ChargeDays(), []
    tomorrow = NOON + timedelta(days=1)
    for n, (symbol, at, strategy) in enumerate(
        [
            ("NSE:INFY", NOON, "a"),
            ("NSE:INFY", NOON, "a"),
            ("NSE:INFY", NOON, "b"),
            ("NSE:TCS", NOON, "a"),
            ("NSE:INFY", tomorrow, "b"),
        ]
    ):
        lines = days.book(filled(n, -10, "100", product=Product.CNC, symbol=symbol, at=at, strategy=strategy))
        paid.append(amounts(lines).get("dp", 0))
    assert paid == [DP, 0, 0, DP, DP]


def test_holdings_bought_back_on_the_day_leave_no_dp_charges():
    """What was sold and bought again leaves the depository alone: the charge is taken back."""
    days = ChargeDays()
    assert amounts(days.book(filled(1, -10, "100", product=Product.CNC)))["dp"] == DP
    assert amounts(days.book(filled(2, 10, "100", product=Product.CNC)))["dp"] == -DP
    assert "dp" not in amounts(merged(days.by_strategy().values()))


def test_contracts_and_intraday_shares_have_no_dp_charges():
    """Only delivered shares leave the depository."""
    days = ChargeDays()
    for n, how in enumerate(
        ({"product": Product.MIS}, {"product": Product.NRML, "symbol": "NFO:X", "type_": "FUT"})
    ):
        assert "dp" not in amounts(days.book(filled(n, -10, "100", **how)))


def test_the_note_of_an_unknown_day_is_assumed_throughout():
    """Rounding, DP charges and what became intraday are assumed where the day's rates are."""
    days = ChargeDays()
    old = datetime(2019, 3, 1, 6, 30, tzinfo=UTC)
    for n, units in enumerate((100, -150)):
        days.book(filled(n, units, "100", product=Product.CNC, at=old))
    lines = merged(days.by_strategy().values()).lines
    assert "dp" in {line.name for line in lines}
    assert {line.sureness for line in lines} == {Sureness.ASSUMED}


def test_a_day_ends_at_midnight_in_india():
    """A fill at 18:30 UTC is of the next day: its STT is rounded with that day's."""
    days = ChargeDays()
    evening = datetime(2026, 11, 20, 18, 29, 59, tzinfo=UTC)
    for n, at in enumerate((evening, evening + timedelta(seconds=1))):
        days.book(filled(n, -10, "120", at=at))  # STT 0.30 each: 0 on each day, 0.60 -> 1 on one
    assert "stt" not in amounts(merged(days.by_strategy().values()))


def test_a_fill_without_lines_books_none():
    """Where only a commission is known there is nothing to add up."""
    fill = filled(1, 10, "100")
    bare = Fill("f", "1", 10, Decimal(100), Decimal(1), NOON)
    assert ChargeDays().book(Filled(fill.order, bare)) is NO_CHARGES


def test_sums_are_exact_beyond_a_paisa():
    """A thousand fills of a third of a paisa each book what the exact sum is, rounded once."""
    days = ChargeDays()
    for n in range(1000):
        days.book(filled(n, 1, "108.58"))  # exchange charge 0.0033333
    exact = 1000 * Decimal("108.58") * Decimal("0.000030699")
    booked = amounts(merged(days.by_strategy().values()))["exchange_transaction"]
    assert booked == exact.quantize(Decimal("0.01"), ROUND_HALF_UP)
    assert date(2026, 11, 20).toordinal() - date(1970, 1, 1).toordinal() == next(iter(days.days.values())).day
