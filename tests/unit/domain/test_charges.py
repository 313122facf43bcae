import copy
import json
from dataclasses import fields
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.charges import (
    Charges,
    ChargeSegment,
    ChargesNotKnown,
    charges_for,
    load_charge_rates,
    parse_charge_rates,
)
from alphapanda.domain.order import Side

RATES = load_charge_rates()
DOCUMENT = json.loads(
    resources.files("alphapanda.domain").joinpath("data/charges_rates.json").read_text(encoding="utf-8")
)
TODAY = date(2026, 11, 20)


def order(segment, side, quantity, price, day=TODAY, exchange="NSE"):
    return charges_for(
        RATES,
        day=day,
        exchange=exchange,
        segment=ChargeSegment(segment),
        side=side,
        quantity=quantity,
        price=Decimal(price),
    )


def contract_note(*orders):
    """The total as a contract note shows it: tax and stamp in whole rupees, half a rupee up."""
    rupee = Decimal(1)
    tax = sum(charges.transaction_tax for charges in orders)
    stamp = sum(charges.stamp_duty for charges in orders)
    rest = sum(charges.total for charges in orders) - tax - stamp
    total = rest + tax.quantize(rupee, ROUND_HALF_UP) + stamp.quantize(rupee, ROUND_HALF_UP)
    return total.quantize(Decimal("0.01"), ROUND_HALF_UP)


@pytest.mark.parametrize(
    ("segment", "quantity", "bought", "sold", "total"),
    [
        ("EQ_DELIVERY", 100, "1500", "1510", "335.26"),
        ("EQ_INTRADAY", 100, "1500", "1510", "101.46"),
        ("EQ_FUT", 65, "25000", "25050", "968.29"),
        ("EQ_OPT", 65, "146", "150", "70.29"),
    ],
)
def test_round_trips_as_worked_by_hand(segment, quantity, bought, sold, total):
    """A purchase and a sale at today's rates cost what the worked examples say, rounded as on the note."""
    trip = order(segment, Side.BUY, quantity, bought), order(segment, Side.SELL, quantity, sold)
    assert contract_note(*trip) == Decimal(total)


def test_kites_own_answer_for_a_delivery_purchase_of_2023():
    """Kite's published charges answer for one SBIN share at 560 is met to its last digit."""
    charges = order("EQ_DELIVERY", Side.BUY, 1, "560", date(2023, 7, 14))
    assert charges == Charges(
        brokerage=Decimal(0),
        transaction_tax=Decimal("0.56"),
        exchange_turnover=Decimal("0.0182"),
        ipft=Decimal("0.00056"),
        sebi=Decimal("0.00056"),
        gst=Decimal("0.0033768"),
        stamp_duty=Decimal("0.084"),
    )
    assert charges.exchange_turnover + charges.ipft == Decimal("0.01876")


def test_kites_own_answer_for_an_option_of_2023():
    """Kite's published charges answer for a NIFTY put premium of 150 rupees is met to its last digit."""
    charges = order("EQ_OPT", Side.BUY, 50, "3", date(2023, 7, 14))
    assert charges.exchange_turnover + charges.ipft == Decimal("0.07575")
    assert charges.gst == Decimal("3.613527")


@pytest.mark.parametrize(
    ("day", "futures", "options"),
    [
        (date(2023, 4, 1), "12.5", "62.5"),
        (date(2024, 9, 30), "12.5", "62.5"),
        (date(2024, 10, 1), "20", "100"),
        (date(2026, 3, 31), "20", "100"),
        (date(2026, 4, 1), "50", "150"),
    ],
)
def test_the_rate_of_the_day_holds(day, futures, options):
    """Transaction tax on a sale of one lakh changes on the day the law changed, and not before."""
    assert order("EQ_FUT", Side.SELL, 100, "1000", day).transaction_tax == Decimal(futures)
    assert order("EQ_OPT", Side.SELL, 100, "1000", day).transaction_tax == Decimal(options)


def test_brokerage_is_capped_and_flat_where_zerodha_says_so():
    """0.03 % up to 20 rupees for intraday and futures, 20 for options however small, none for delivery."""
    assert order("EQ_INTRADAY", Side.BUY, 10, "100").brokerage == Decimal("0.3")
    assert order("EQ_INTRADAY", Side.BUY, 1000, "1000").brokerage == Decimal(20)
    assert order("EQ_FUT", Side.SELL, 65, "25000").brokerage == Decimal(20)
    assert order("EQ_OPT", Side.BUY, 65, "0.05").brokerage == Decimal(20)
    assert order("EQ_DELIVERY", Side.BUY, 1000, "1000").brokerage == Decimal(0)


def test_sides_pay_what_is_theirs():
    """Stamp duty is the buyer's; the transaction tax of intraday and derivatives is the seller's."""
    for segment in ("EQ_INTRADAY", "EQ_FUT", "EQ_OPT"):
        assert order(segment, Side.BUY, 10, "100").transaction_tax == 0
        assert order(segment, Side.SELL, 10, "100").transaction_tax > 0
    for segment in ChargeSegment:
        assert order(segment, Side.SELL, 10, "100").stamp_duty == 0
        assert order(segment, Side.BUY, 10, "100").stamp_duty > 0
    assert order("EQ_DELIVERY", Side.BUY, 10, "100").transaction_tax == 1


def test_bse_has_its_own_turnover_charge():
    """The exchange decides the turnover charge and nothing else but what depends on it."""
    nse = order("EQ_DELIVERY", Side.BUY, 100, "1000")
    bse = order("EQ_DELIVERY", Side.BUY, 100, "1000", exchange="BSE")
    assert bse.exchange_turnover == Decimal("3.75")
    assert bse.ipft == 0
    assert bse.transaction_tax == nse.transaction_tax


def test_a_day_before_the_first_rate_is_an_error():
    """No rate is carried back: the error names the charge, the day asked for and the first day known."""
    with pytest.raises(ChargesNotKnown, match=r"brokerage at NSE for EQ_INTRADAY for 2019-01-01.*2023-04-01"):
        order("EQ_INTRADAY", Side.BUY, 1, "100", date(2019, 1, 1))
    with pytest.raises(ChargesNotKnown, match=r"exchange_turnover at BSE .* 2024-09-30.*2024-10-01"):
        order("EQ_INTRADAY", Side.BUY, 1, "100", date(2024, 9, 30), "BSE")
    with pytest.raises(ChargesNotKnown, match=r"at MCX .* any day"):
        order("EQ_INTRADAY", Side.BUY, 1, "100", exchange="MCX")


@pytest.mark.parametrize(("quantity", "price"), [(0, "100"), (-1, "100"), (1, "0"), (1, "-0.05")])
def test_quantity_and_price_must_be_positive(quantity, price):
    """An execution of nothing, or for nothing, is a mistake of the caller."""
    with pytest.raises(ValueError, match="has a positive one"):
        order("EQ_DELIVERY", Side.BUY, quantity, price)


@given(
    st.sampled_from(ChargeSegment),
    st.sampled_from(Side),
    st.integers(1, 100_000),
    st.integers(1, 2_000_000).map(lambda steps: steps * Decimal("0.05")),
    st.dates(date(2024, 10, 1), date(2026, 12, 31)),
    st.sampled_from(["NSE", "BSE"]),
)
def test_charges_are_exact_and_never_negative(segment, side, quantity, price, day, exchange):
    """Every part is at least zero, the total is their sum, and one order of two units is never dearer than two."""
    charges = order(segment, side, 2 * quantity, price, day, exchange)
    parts = [getattr(charges, part.name) for part in fields(charges)]
    assert min(parts) >= 0
    assert charges.total == sum(parts)
    assert charges.gst == Decimal("0.18") * (charges.brokerage + charges.exchange_turnover + charges.sebi)
    assert charges.total <= 2 * order(segment, side, quantity, price, day, exchange).total


def _twice(document):
    document["rates"].append(document["rates"][0])


def _out_of_order(document):
    document["gst"]["since"] = [["2020-01-01", "0.18"], ["2019-01-01", "0.12"]]


def _unknown_side(document):
    document["rates"][0]["side"] = "seller"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_twice, "brokerage at NSE for EQ_DELIVERY are given twice"),
        (_out_of_order, "gst: the rate from 2019-01-01 comes after"),
        (_unknown_side, "side of brokerage: 'seller' is not allowed; .*allowed: both, buy, sell"),
    ],
)
def test_wrong_rates_name_the_entry(spoil, message):
    """A rate file with a mistake in it is refused, and the message says which charge."""
    document = copy.deepcopy(DOCUMENT)
    spoil(document)
    with pytest.raises(ValueError, match=message):
        parse_charge_rates(document)
