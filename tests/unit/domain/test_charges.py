"""What an executed order costs, line by line."""

import copy
import json
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.charge_rates import (
    PRICE_UNITS,
    ChargeSegment,
    ChargesNotKnown,
    Sureness,
    load_charge_rates,
    parse_charge_rates,
)
from alphapanda.domain.charges import (
    ChargeLine,
    charges_from_text,
    charges_of,
    charges_text,
    fill_charges,
    merged,
)
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.domain.order import Product, Side

RATES = load_charge_rates()
DOCUMENT = json.loads(
    resources.files("alphapanda.domain").joinpath("data/charges_rates.json").read_text(encoding="utf-8")
)
TODAY = date(2026, 11, 20)
SEGMENTS = st.sampled_from(list(ChargeSegment))
SIDES = st.sampled_from(list(Side))
PRICES = st.decimals("0.05", "100000", places=2)


def sheet(segment, day=TODAY, exchange="NSE", *, fall_back=False):
    return RATES.sheet(day, exchange, ChargeSegment(segment), fall_back=fall_back)


def by_name(segment, side, quantity, price, day=TODAY, exchange="NSE", before=0):
    charges = fill_charges(sheet(segment, day, exchange), side, quantity, Decimal(price), before)
    return {line.name: line.amount for line in charges.lines}


def test_kites_own_answer_for_a_delivery_purchase_of_2023():
    """Kite's published charges answer for one SBIN share at 560 is met to its last digit."""
    assert by_name("EQ_DELIVERY", Side.BUY, 1, "560", date(2023, 7, 14)) == {
        "stt": Decimal("0.56"),  # 560 x 0.1 %
        "exchange_transaction": Decimal("0.0182"),  # 560 x 0.00325 %
        "ipft": Decimal("0.00056"),  # 560 x 0.0001 %
        "sebi": Decimal("0.00056"),
        "stamp_duty": Decimal("0.084"),  # 560 x 0.015 %
        "gst": Decimal("0.0033768"),  # (0.0182 + 0.00056) x 18 %
    }


def test_an_option_of_2023_as_kite_answers():
    """Kite's answer for a NIFTY put of 150 rupees of premium: brokerage is flat, GST is on it."""
    found = by_name("EQ_OPT", Side.BUY, 50, "3", date(2023, 7, 14))
    assert found["exchange_transaction"] + found["ipft"] == Decimal("0.07575")  # 150 x (0.05 % + 0.0005 %)
    assert found["gst"] == Decimal("3.613527")  # (20 + 0.075 + 0.00015) x 18 %


def test_an_intraday_sale_line_by_line():
    """100 x 1510 = 151,000 sold intraday at NSE on a day of November 2026, as Zerodha's calculator has it."""
    assert by_name("EQ_INTRADAY", Side.SELL, 100, "1510") == {
        "brokerage": Decimal(20),  # 0.03 % would be 45.30: capped
        "stt": Decimal("37.75"),  # 151000 x 0.025 %
        "exchange_transaction": Decimal("4.635549"),  # 151000 x 0.0030699 %
        "ipft": Decimal("0.000151"),  # 151000 x 0.0000001 %
        "sebi": Decimal("0.151"),  # 151000 x 0.0001 %
        "gst": Decimal("4.46157882"),  # (20 + 4.635549 + 0.151) x 18 %
    }


def test_a_small_intraday_order_pays_a_share():
    """Below 66,666.67 rupees the brokerage is 0.03 % of the turnover: 10 x 1500 pays 4.50."""
    assert by_name("EQ_INTRADAY", Side.BUY, 10, "1500")["brokerage"] == Decimal("4.5")


def test_bse_has_its_own_rates():
    """BSE charges 0.00375 % on shares, nothing on futures, and no IPFT."""
    shares = by_name("EQ_DELIVERY", Side.BUY, 100, "100", exchange="BSE")
    assert shares["exchange_transaction"] == Decimal("0.375")  # 10000 x 0.00375 %
    assert "ipft" not in shares
    assert "exchange_transaction" not in by_name("EQ_FUT", Side.BUY, 10, "80000", exchange="BFO")


@pytest.mark.parametrize(
    ("day", "rate"),
    [
        (date(2024, 9, 30), "0.000125"),
        (date(2024, 10, 1), "0.0002"),
        (date(2026, 3, 31), "0.0002"),
        (date(2026, 4, 1), "0.0005"),
    ],
)
def test_rates_change_on_their_day(day, rate):
    """STT on futures is that of the trading day, up to the day before a change and from the change on."""
    assert by_name("EQ_FUT", Side.SELL, 65, "25000", day)["stt"] == 65 * 25000 * Decimal(rate)


@given(SEGMENTS, SIDES, st.integers(1, 100_000), PRICES)
def test_the_lines_add_up_and_none_is_negative(segment, side, quantity, price):
    """The total is the sum of the lines, and commission is that sum in paise, halves up."""
    charges = fill_charges(sheet(segment), side, quantity, price)
    amounts = [line.amount for line in charges.lines]
    assert all(amount > 0 for amount in amounts)
    assert charges.total == sum(amounts)
    assert charges.in_paise == charges.total.quantize(Decimal("0.01"), ROUND_HALF_UP)


@given(SEGMENTS, SIDES, st.integers(1, 100_000), PRICES)
def test_a_total_without_lines_is_the_sum_of_the_lines(segment, side, quantity, price):
    """What an order blocks before it fills is computed in one step, and is what its lines add up to."""
    rates = sheet(segment)
    lines = fill_charges(rates, side, quantity, price)
    assert rates.total(int(quantity * price * PRICE_UNITS), buys=side is Side.BUY) == sum(lines.units)


@given(SEGMENTS, SIDES, st.lists(st.integers(1, 5000), min_size=1, max_size=8), PRICES)
def test_an_order_costs_the_same_in_any_split(segment, side, parts, price):
    """Partial fills of one order, however it is split, cost line by line what one fill of the whole does."""
    rates, done, charged = sheet(segment), 0, []
    for part in parts:
        charged.append(fill_charges(rates, side, part, price, int(done * price * PRICE_UNITS)))
        done += part
    assert merged(charged).lines == merged([fill_charges(rates, side, done, price)]).lines


@given(SEGMENTS, SIDES, st.integers(1, 50_000), st.integers(0, 50_000), PRICES)
def test_more_turnover_never_costs_less(segment, side, quantity, more, price):
    """No line falls as the quantity rises."""
    few, many = (fill_charges(sheet(segment), side, units, price) for units in (quantity, quantity + more))
    assert all(a <= b for a, b in zip(few.units, many.units, strict=True))


def test_a_day_before_the_first_rates_is_assumed_or_refused():
    """A simulated fill of 2019 pays the oldest rates, marked as assumed on every line; a real one is refused by name."""
    old = date(2019, 1, 1)
    assumed = fill_charges(sheet("EQ_INTRADAY", old, fall_back=True), Side.SELL, 10, Decimal(100))
    first = fill_charges(sheet("EQ_INTRADAY", date(2023, 4, 1)), Side.SELL, 10, Decimal(100))
    assert assumed.units == first.units
    assert {line.sureness for line in assumed.lines} == {Sureness.ASSUMED}
    assert Sureness.ASSUMED not in {line.sureness for line in first.lines}
    with pytest.raises(ChargesNotKnown, match=r"brokerage at NSE for EQ_INTRADAY for 2019-01-01.*2023-04-01"):
        sheet("EQ_INTRADAY", old)
    with pytest.raises(ChargesNotKnown, match="MCX"):
        sheet("EQ_FUT", TODAY, "MCX", fall_back=True)


def test_the_segment_follows_from_instrument_and_product():
    """Shares are intraday as MIS and delivered otherwise; a contract is what it is."""
    assert ChargeSegment.of("EQ", Product.MIS) is ChargeSegment.EQ_INTRADAY
    assert ChargeSegment.of("EQ", Product.CNC) is ChargeSegment.EQ_DELIVERY
    assert ChargeSegment.of("FUT", Product.MIS) is ChargeSegment.EQ_FUT
    assert ChargeSegment.of("PE", Product.NRML) is ChargeSegment.EQ_OPT
    with pytest.raises(UnknownName, match="XX"):
        ChargeSegment.of("XX", Product.MIS)


@pytest.mark.parametrize(("quantity", "price"), [(0, "1"), (1, "0"), (1, "-1"), (1, "0.00001")])
def test_an_order_that_was_not_executed_has_no_charges(quantity, price):
    """Quantity and price are positive, and a price has at most 4 decimals."""
    with pytest.raises(InvalidInput):
        fill_charges(sheet("EQ_FUT"), Side.BUY, quantity, Decimal(price))


@given(SEGMENTS, SIDES, st.integers(1, 100_000), PRICES)
def test_charges_survive_text_and_lines(segment, side, quantity, price):
    """What a store or the wire keeps of charges is the same to the last digit."""
    charges = fill_charges(sheet(segment), side, quantity, price)
    assert charges_from_text(charges_text(charges)).lines == charges.lines
    assert charges_of(charges.lines).lines == charges.lines


def test_what_is_only_known_as_a_sum_is_a_line_too():
    """Lines are put in a contract note's order; what they lack of the total is the line commission."""
    lines = [
        ChargeLine("dp", Decimal("15.34"), Sureness.CITED),
        ChargeLine("stt", Decimal(2), Sureness.CITED),
        ChargeLine("stt", Decimal(3), Sureness.ASSUMED),
    ]
    assert merged([charges_of(lines)], Decimal(30)).lines == (
        ChargeLine("stt", Decimal(5), Sureness.ASSUMED),
        ChargeLine("dp", Decimal("15.34"), Sureness.CITED),
        ChargeLine("commission", Decimal("9.66"), Sureness.UNRATED),
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"side": "seller"}, "seller"),
        ({"per": "lot"}, "lot"),
        ({"charge": "bribe"}, "bribe"),
        ({"since": [["2024-01-01", "0.1", "cited"], ["2023-01-01", "0.2", "cited"]]}, "2023-01-01"),
        ({"since": [["2024-01-01", "0.1", "sure"]]}, "sure"),
        ({"since": [["2024-01-01", "0.0000000001", "cited"]]}, "finer"),
        ({"segments": ["EQ_CASH"]}, "EQ_CASH"),
    ],
)
def test_wrong_rates_are_named(change, words):
    """An entry that can't be used stops the load, and the message names what is wrong."""
    document = copy.deepcopy(DOCUMENT)
    document["rates"][0] |= change
    with pytest.raises(ValueError, match=words):
        parse_charge_rates(document)


def test_rates_given_twice_are_refused():
    """Two series for one charge, exchange and segment leave no answer."""
    document = copy.deepcopy(DOCUMENT)
    document["rates"].append(document["rates"][0])
    with pytest.raises(ValueError, match="given twice"):
        parse_charge_rates(document)
