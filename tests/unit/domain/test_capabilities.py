from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from importlib import resources
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.capabilities import Can
from alphapanda.domain.capability_data import load_capabilities, parse_capabilities
from alphapanda.domain.capability_question import (
    Phase,
    Question,
    Segment,
    question_of,
    segment_of,
    series_of,
    sessions_left,
)
from alphapanda.domain.instrument import Instrument, instrument_id_of
from alphapanda.domain.order import OrderType, Product, Side, Validity
from alphapanda.domain.order_acceptance import AcceptanceCheck, acceptance_of
from alphapanda.domain.terms import AT_MARKET, Terms

IST = ZoneInfo("Asia/Kolkata")
CALENDAR = load_nse_calendar()
TABLE = load_capabilities()
DAY = date(2026, 11, 26)
"""A Thursday under the closing auction."""


def instrument(symbol="INFY", kind="EQ", exchange="NSE", expiry=None, **more) -> Instrument:
    values = {"segment": exchange, "session_segment": "NSE_EQ_CAS", "name": symbol, **more}
    return Instrument(
        instrument_id_of(exchange, symbol, expiry), 1, exchange, symbol, instrument_type=kind, tick_size=Decimal("0.05"), lot_size=1,
        freeze_quantity=0, expiry=expiry, **values,
    )  # fmt: skip


INFY = instrument()


def option(expiry=date(2026, 12, 29), name="NIFTY") -> Instrument:
    return instrument(f"{name}26DEC150CE", "CE", "NFO", expiry, name=name, session_segment="NSE_FO")


OPTION, STOCK_OPTION, LONG_DATED = option(), option(name="INFY"), option(date(2027, 6, 29))


def answer(
    one, terms, side=Side.BUY, product=None, day=DAY, price=None, *, opens=True, phase=Phase.CONTINUOUS
):
    product = product or (Product.CNC if segment_of(one).is_cash else Product.NRML)
    return acceptance_of(CALENDAR).answer(one, side, product, terms, phase, day, price, opens=opens)


def of(order_type, limit=None, trigger=None, validity=Validity.DAY) -> Terms:
    return Terms(order_type, validity, limit and Decimal(limit), trigger and Decimal(trigger))


@given(
    exchange=st.sampled_from(["NSE", "BSE", "NFO", "BFO", "CDS", "MCX", "XYZ", ""]),
    kind=st.sampled_from(["EQ", "FUT", "CE", "PE", "", "IV"]),
    symbol=st.sampled_from(["INFY", "ABC-BE", "NIFTY26DECFUT", "BAJAJ-AUTO", "X-N2", "", "-", "É"]),
    segment=st.sampled_from(["NSE", "INDICES", "NFO-OPT", ""]),
    hours=st.sampled_from(["NSE_EQ", "NSE_EQ_CAS", "NSE_FO", "BSE_EQ", "nowhere"]),
    expiry=st.none() | st.dates(),
    product=st.sampled_from(Product),
    terms=st.builds(
        Terms,
        st.sampled_from(OrderType),
        st.sampled_from(Validity),
        *[st.none() | st.sampled_from([Decimal(0), Decimal(-1), Decimal("0.05"), Decimal("100.03"), Decimal(10**9)])] * 2,
    ),
    side=st.sampled_from(Side),
    at=st.datetimes(timezones=st.just(UTC), min_value=datetime(1990, 1, 1), max_value=datetime(2060, 1, 1)),  # noqa: DTZ001
    price=st.none() | st.sampled_from([Decimal(0), Decimal(-1), Decimal("0.05"), Decimal(1500)]),
    opens=st.booleans(),
)  # fmt: skip
@settings(max_examples=300)
def test_rule_3_the_table_answers_on_every_input(
    exchange, kind, symbol, segment, hours, expiry, product, terms, side, at, price, opens
):
    """Whatever the instrument, day, phase and order: accepted, refused with a code and a sentence, or unknown with one."""
    one = instrument(symbol, kind, exchange, expiry, segment=segment, session_segment=hours)
    phase, day = TABLE.phase(at, hours, CALENDAR), at.astimezone(IST).date()
    TABLE.stops_end(day, hours, CALENDAR)
    found = AcceptanceCheck(TABLE, CALENDAR).answer(one, side, product, terms, phase, day, price, opens=opens)
    assert (found.can is Can.YES) == (not found.code) == (not found.message)
    if found.can is Can.NO:
        assert found.sureness is not None
        assert found.source
    if not opens and terms.order_type is OrderType.MARKET:
        assert found.can is Can.YES
    elif segment_of(one) is Segment.UNKNOWN or phase is not Phase.CONTINUOUS:
        assert found.can is not Can.YES or phase in {Phase.PRE_OPEN, Phase.PRE_OPEN_LIMIT, Phase.CLOSING_AUCTION, Phase.CLOSING_AUCTION_LIMIT}  # fmt: skip


@pytest.mark.parametrize(
    ("one", "terms", "day", "code"),
    [
        (INFY, AT_MARKET, DAY, ""),
        (INFY, of(OrderType.LIMIT, 1500), DAY, ""),
        (INFY, of(OrderType.LIMIT, 1500, validity=Validity.IOC), DAY, ""),
        (INFY, of(OrderType.SL_M, None, 1500), DAY, ""),
        (instrument("INFY", exchange="BSE"), of(OrderType.SL_M, None, 1500), DAY, "SL_M_BLOCKED"),
        (instrument("INFY", exchange="BSE"), of(OrderType.SL_M, None, 1500), date(2023, 10, 6), ""),
        (instrument("INFY", exchange="BSE"), of(OrderType.SL, 1501, 1500), DAY, ""),
        (OPTION, AT_MARKET, DAY, ""),
        (OPTION, of(OrderType.SL, 151, 150), DAY, ""),
        (OPTION, of(OrderType.SL_M, None, 150), DAY, "SL_M_BLOCKED"),
        (LONG_DATED, AT_MARKET, DAY, "MARKET_BLOCKED"),
        (LONG_DATED, of(OrderType.LIMIT, 150), DAY, ""),
        (STOCK_OPTION, AT_MARKET, DAY, "MARKET_BLOCKED"),
        (STOCK_OPTION, of(OrderType.LIMIT, 150), DAY, ""),
        (instrument("USDINR26DECFUT", "FUT", "CDS"), AT_MARKET, DAY, "SEGMENT"),
        (instrument("NIFTY 50", segment="INDICES"), AT_MARKET, DAY, "INDEX"),
    ],
)  # fmt: skip
def test_rule_3_order_types_are_refused_by_segment_and_day(one, terms, day, code):
    """SL_M on options and all of BSE, MARKET on stock options and long-dated ones; what replaces it is named."""
    found = answer(one, terms, day=day)
    assert found.code == code
    assert ("; use " in found.message) == (bool(code) and code != "SEGMENT")


@pytest.mark.parametrize(
    ("side", "terms", "price", "says"),
    [
        (Side.BUY, of(OrderType.LIMIT, "150.05"), 100, "above 150 % of the last price 100"),
        (Side.BUY, of(OrderType.LIMIT, 150), 100, ""),
        (Side.SELL, of(OrderType.LIMIT, "49.95"), 100, "below 50 % of the last price 100"),
        (Side.SELL, of(OrderType.LIMIT, 50), 100, ""),
        (Side.BUY, of(OrderType.LIMIT, 20), 100, ""),
        (Side.BUY, of(OrderType.LIMIT, "150.05"), None, ""),
        (Side.BUY, of(OrderType.LIMIT, "100.03"), 100, "such as 100.00 or 100.05"),
        (Side.BUY, of(OrderType.LIMIT), 100, "LIMIT needs it"),
        (Side.BUY, of(OrderType.MARKET, 5), 100, ""),
        (Side.BUY, of(OrderType.SL, 106, 105), 100, ""),
        (Side.BUY, of(OrderType.SL, 106, 100), 100, "has its trigger above the last price 100, not at 100"),
        (Side.SELL, of(OrderType.SL, 104, 105), 100, "has its trigger below the last price 100, not at 105"),
        (Side.SELL, of(OrderType.SL, 95, 96), 100, ""),
    ],
)  # fmt: skip
def test_rule_3_prices_of_an_option_are_on_the_grid_and_near_the_last_price(side, terms, price, says):
    """Limits too far from the last price and triggers on its wrong side are refused; an unknown last price refuses nothing."""
    found = answer(OPTION, terms, side, price=None if price is None else Decimal(price))
    assert says in found.message
    assert bool(says) == (found.can is Can.NO)


def test_rule_3_a_share_may_have_a_limit_far_from_the_last_price():
    """The limit of 150 % is for options; a share's own circuit isn't known here."""
    assert answer(INFY, of(OrderType.LIMIT, 3000), price=Decimal(1500)).can is Can.YES


@pytest.mark.parametrize(
    ("one", "product", "code"),
    [
        (INFY, Product.NRML, "PRODUCT"),
        (OPTION, Product.CNC, "PRODUCT"),
        (OPTION, Product.MIS, ""),
        (instrument("ABC-BE"), Product.MIS, "TRADE_TO_TRADE"),
        (instrument("ABC-BE"), Product.CNC, ""),
        (instrument("ABC-SM"), Product.MIS, "SERIES"),
        (instrument("ABC-N2"), Product.CNC, ""),
        (instrument("BAJAJ-AUTO"), Product.MIS, ""),
        (instrument("MCDOWELL-N"), Product.MIS, ""),
        (instrument("ABC-BE", exchange="BSE"), Product.MIS, ""),
    ],
)
def test_rule_22_products_follow_segment_and_series(one, product, code):
    """Trade-to-trade shares are known by their series; what is only closed passes in any product."""
    assert answer(one, of(OrderType.LIMIT, 100), product=product).code == code
    assert answer(one, of(OrderType.LIMIT, 100), product=product, opens=False).code == ""


@pytest.mark.parametrize(
    ("day", "left", "opens"),
    [
        (date(2026, 12, 21), 5, True),
        (date(2026, 12, 22), 4, False),
        (date(2026, 12, 28), 1, False),
        (date(2026, 12, 29), 0, False),
    ],
)
def test_rule_19_a_stocks_derivative_is_only_closed_from_four_sessions_before_its_expiry(day, left, opens):
    """25 December is a holiday, so E-4 of the 29th is the 22nd; exits pass, at MARKET and at a limit."""
    assert sessions_left(day, date(2026, 12, 29), CALENDAR) == left
    limit = of(OrderType.LIMIT, 100)
    assert (answer(STOCK_OPTION, limit, day=day).can is Can.YES) is opens
    assert answer(STOCK_OPTION, limit, day=day, opens=False).can is Can.YES
    assert answer(STOCK_OPTION, AT_MARKET, day=day, opens=False).can is Can.YES
    assert answer(OPTION, limit, day=day, product=Product.MIS).can is Can.YES


def test_rule_19_no_index_contract_is_held_into_its_settlement():
    """On its last day it is opened as MIS alone, which is closed before the end."""
    last = date(2026, 12, 29)
    assert answer(OPTION, AT_MARKET, day=last).code == "EXPIRES_TODAY"
    assert answer(OPTION, AT_MARKET, day=last, product=Product.MIS).can is Can.YES
    assert answer(OPTION, AT_MARKET, day=last - timedelta(1)).can is Can.YES


@pytest.mark.parametrize(
    ("segment", "day", "clock", "phase"),
    [
        ("NSE_EQ_CAS", DAY, "15:14:59", Phase.CONTINUOUS),
        ("NSE_EQ_CAS", DAY, "15:15:00", Phase.REFERENCE_PRICE),
        ("NSE_EQ_CAS", DAY, "15:20:00", Phase.CLOSING_AUCTION),
        ("NSE_EQ_CAS", DAY, "15:25:00", Phase.CLOSING_AUCTION_LIMIT),
        ("NSE_EQ_CAS", DAY, "15:30:00", Phase.AUCTION_MATCH),
        ("NSE_EQ_CAS", DAY, "15:35:00", Phase.CLOSED),
        ("NSE_EQ", DAY, "15:20:00", Phase.CONTINUOUS),
        ("NSE_EQ_CAS", date(2026, 7, 31), "15:20:00", Phase.CONTINUOUS),
        ("NSE_EQ_CAS", date(2026, 12, 7), "15:20:00", Phase.CONTINUOUS),
        ("NSE_EQ_CAS", date(2026, 12, 7), "15:35:00", Phase.AUCTION_UNKNOWN),
        ("NSE_EQ", DAY, "09:03:00", Phase.PRE_OPEN),
        ("NSE_EQ", DAY, "09:07:00", Phase.PRE_OPEN_LIMIT),
        ("NSE_EQ", date(2026, 7, 31), "09:07:00", Phase.PRE_OPEN),
        ("NSE_FO", DAY, "09:03:00", Phase.CLOSED),
        ("NSE_EQ", date(2026, 11, 28), "11:00:00", Phase.CLOSED),
        ("NSE_EQ", date(2029, 11, 28), "11:00:00", Phase.UNKNOWN),
        ("NYSE", DAY, "11:00:00", Phase.UNKNOWN),
    ],
)
def test_rule_15_the_phases_of_the_closing_auction_are_dated(segment, day, clock, phase):
    """By segment and day: before 3 August 2026 there was none, from 7 December its parts aren't known."""
    at = datetime.combine(day, time.fromisoformat(clock), tzinfo=IST)
    assert TABLE.phase(at, segment, CALENDAR) is phase


@pytest.mark.parametrize(
    ("phase", "terms", "code"),
    [
        (Phase.REFERENCE_PRICE, of(OrderType.LIMIT, 1500), "NO_ENTRY_IN_AUCTION"),
        (Phase.CLOSING_AUCTION, AT_MARKET, ""),
        (Phase.CLOSING_AUCTION, of(OrderType.SL, 1501, 1500), "ORDER_TYPE_IN_AUCTION"),
        (Phase.CLOSING_AUCTION, of(OrderType.LIMIT, 1500, validity=Validity.IOC), "VALIDITY_IN_AUCTION"),
        (Phase.CLOSING_AUCTION_LIMIT, AT_MARKET, "LIMIT_ONLY"),
        (Phase.CLOSING_AUCTION_LIMIT, of(OrderType.LIMIT, 1500), ""),
        (Phase.AUCTION_UNKNOWN, of(OrderType.LIMIT, 1500), "NO_ENTRY_IN_AUCTION"),
    ],
)
def test_rule_15_the_closing_auction_takes_no_stops_and_no_ioc(phase, terms, code):
    """Entry is refused to 15:20, and market orders from 15:25."""
    assert answer(INFY, terms, phase=phase).code == code


@pytest.mark.parametrize(
    ("segment", "day", "ends"),
    [
        ("NSE_EQ_CAS", DAY, "15:15"),
        ("NSE_EQ_CAS", date(2026, 7, 31), "15:30"),
        ("NSE_EQ_CAS", date(2026, 12, 7), "15:30"),
        ("NSE_EQ", DAY, "15:30"),
        ("NSE_FO", DAY, "15:40"),
        ("NSE_EQ", date(2026, 11, 28), None),
        ("NSE_EQ", date(2029, 1, 2), None),
        ("NYSE", DAY, None),
    ],
)
def test_rule_15_untriggered_stops_end_with_the_closing_auctions_begin(segment, day, ends):
    """The moment at which the exchange cancels them; without an auction the session's end."""
    found = TABLE.stops_end(day, segment, CALENDAR)
    assert (found and f"{found:%H:%M}") == ends


def test_rule_21_an_order_for_the_next_session_is_refused_by_name():
    """AMO: outside all phases, and in the post-close session."""
    for phase in (Phase.CLOSED, Phase.POST_CLOSE):
        assert "(AMO) is never sent" in answer(INFY, AT_MARKET, phase=phase).message


def test_what_is_not_known_is_said_to_be_unknown():
    """An odd exchange or a day without hours: no guess."""
    assert answer(instrument("X", exchange="XYZ"), AT_MARKET).can is Can.UNKNOWN
    assert answer(INFY, AT_MARKET, phase=Phase.UNKNOWN).can is Can.UNKNOWN


def test_series_are_the_endings_of_two_letters():
    """And of NSE's shares alone."""
    names = {"INFY": "EQ", "ABC-BE": "BE", "X-N2": "N2", "BAJAJ-AUTO": "EQ", "MCDOWELL-N": "EQ"}
    assert {name: series_of(instrument(name)) for name in names} == names
    assert series_of(instrument("ABC-BE", exchange="BSE")) == ""


def test_each_rule_has_a_source_and_could_match():
    """No condition names what doesn't exist, and each rule answers some question first."""
    asked = question_of(
        INFY, Product.MIS, OrderType.MARKET, Validity.DAY, Phase.CONTINUOUS, DAY, CALENDAR, opens=True
    )
    assert isinstance(asked, Question)
    for rule in TABLE.rules:
        assert rule.answer.source
        assert rule.answer.message[0].islower() or rule.answer.message.startswith(
            ("NRML", "CNC", "MIS", "SL_M", "MARKET")
        )
        probe = Question(
            next(iter(rule.segments), Segment.NSE_CASH),
            "SM" if rule.other_series else next(iter(rule.series), "EQ"),
            next(iter(rule.products), Product.MIS),
            next(iter(rule.order_types), OrderType.LIMIT),
            next(iter(rule.validities), Validity.DAY),
            next(iter(rule.phases), Phase.CONTINUOUS),
            max(rule.since, date(2026, 8, 3)),
            days_left=400,
            sessions_left=rule.sessions_left if rule.sessions_left is not None else 10,
        )
        assert TABLE.answer(probe) == rule.answer


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("segment", ["nse_cash"], "unknown conditions: segment"),
        ("until", "1999-01-01", "ends on 1999-01-01, before it begins"),
        ("order_types", ["STOP"], "'STOP' is unknown"),
        ("segments", ["nse"], "'nse' is not a valid Segment"),
    ],
)
def test_a_wrong_entry_of_the_data_is_named(field, value, says):
    """The file is checked as it is read."""
    text = resources.files("alphapanda.domain").joinpath("data/capabilities.json").read_text(encoding="utf-8")
    document = json.loads(text)
    document["rules"][0][field] = value
    with pytest.raises(ValueError, match=says):
        parse_capabilities(document)
