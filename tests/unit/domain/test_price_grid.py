from datetime import date
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.instrument import Instrument
from alphapanda.domain.price_grid import Kind, grid_rule, kind_of, parse_grid, round_to_grid, tick_size

BEFORE, NARROW, BANDS = date(2024, 6, 7), date(2024, 6, 10), date(2025, 4, 15)


def instrument(
    symbol: str = "INFY", kind: str = "EQ", exchange: str = "NSE", name: str = "", **more
) -> Instrument:
    given_ = {"segment": exchange, "tick_size": Decimal("0.05"), **more}
    return Instrument(
        f"{exchange}:{symbol}", 1, exchange, symbol, name, instrument_type=kind, lot_size=1, freeze_quantity=0,
        session_segment="NSE_EQ", **given_,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("price", "day", "tick"),
    [
        ("20.83", BEFORE, "0.05"),
        ("20.83", date(1999, 1, 1), "0.05"),
        ("20.83", NARROW, "0.01"),
        ("249.99", NARROW, "0.01"),
        ("250", NARROW, "0.05"),
        ("15000", date(2025, 4, 14), "0.05"),
        ("249.99", BANDS, "0.01"),
        ("250", BANDS, "0.05"),
        ("1000", BANDS, "0.05"),
        ("1000.05", BANDS, "0.10"),
        ("5000", BANDS, "0.10"),
        ("10000", BANDS, "0.50"),
        ("15800", BANDS, "1"),
        ("20000.5", BANDS, "5"),
        ("-3", BANDS, "0.01"),
        ("NaN", BANDS, "5"),
    ],
)
def test_a_stocks_step_depends_on_price_and_day(price, day, tick):
    """Five paise before 10 June 2024, one below 250 rupees since, six bands since 15 April 2025."""
    assert tick_size(instrument(), Decimal(price), day) == Decimal(tick)


@pytest.mark.parametrize(
    ("one", "kind", "tick"),
    [
        (instrument("NIFTYBEES"), Kind.ETF, "0.01"),
        (instrument("GOLD1", name="SOME GOLD ETF"), Kind.ETF, "0.01"),
        (instrument("NIFTY26NOVFUT", "FUT", "NFO", "NIFTY"), Kind.INDEX_FUTURE, "0.10"),
        (instrument("BANKNIFTY26NOVFUT", "FUT", "NFO", "BANKNIFTY26NOVFUT"), Kind.INDEX_FUTURE, "0.10"),
        (instrument("INFY26NOVFUT", "FUT", "NFO", "INFY"), Kind.STOCK_FUTURE, "5"),
        (instrument("NIFTY26N24000CE", "CE", "NFO", "NIFTY"), Kind.INDEX_OPTION, "0.05"),
        (instrument("INFY26N1500PE", "PE", "NFO", "INFY"), Kind.STOCK_OPTION, "0.01"),
        (instrument("INFY", exchange="BSE"), Kind.EQUITY, "0.05"),
        (instrument("SENSEX26NFUT", "FUT", "BFO", "SENSEX"), Kind.INDEX_FUTURE, "0.05"),
        (instrument("NIFTY 50", segment="INDICES"), None, "0.01"),
        (instrument("GOLD26DECFUT", "FUT", "MCX", "GOLD", tick_size=Decimal(1)), None, "1"),
    ],
)
def test_each_kind_has_its_own_step(one, kind, tick):
    """ETFs, futures and options have their own steps; what has no rule has its instrument list's."""
    assert kind_of(one) is kind
    assert tick_size(one, Decimal(24_100), date(2026, 11, 30)) == Decimal(tick)
    assert grid_rule(one, BANDS).source


@given(
    st.decimals(min_value="0.0001", max_value=10**7, places=6),
    st.dates(date(1990, 1, 1), date(2100, 1, 1)),
)
def test_a_rounded_price_lies_on_the_grid_nearby(price, day):
    """Up, down and nearest: each is a multiple of the step, on its side, and less than a step away."""
    one = instrument()
    tick = tick_size(one, price, day)
    nearest = round_to_grid(one, price, day)
    above, below = (round_to_grid(one, price, day, way) for way in (ROUND_CEILING, ROUND_FLOOR))
    for rounded in (nearest, above, below):
        assert rounded % tick == 0
        assert abs(rounded - price) < tick
    assert above >= price
    assert below <= price or below == tick


def test_what_is_no_price_is_left_as_it_is():
    """Zero, a negative number and no number come back; rounding never raises."""
    for text in ("0", "-12.34", "NaN", "Infinity"):
        assert str(round_to_grid(instrument(), Decimal(text), BANDS)) == text


@pytest.mark.parametrize(
    "rules",
    [
        [{"from": "2024-01-01"}, {"from": "2024-01-01"}],
        [{"bands": [{"below": 100, "tick": "1"}]}],
        [{"bands": [{"below": 100, "tick": "1"}, {"below": 50, "tick": "1"}, {"tick": "1"}]}],
    ],
)
def test_wrong_rules_are_refused(rules):
    """Rules and bands are in order, and the last band has no end."""
    usual = {
        "exchange": "NSE", "kind": "equity", "from": "2024-01-01", "bands": [{"tick": "1"}], "sureness": "press",
        "source": "",
    }  # fmt: skip
    with pytest.raises(ValueError, match="equity"):
        parse_grid({"rules": [usual | rule for rule in rules]})
