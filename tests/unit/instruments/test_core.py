from datetime import date
from decimal import Decimal

import pytest

from alphapanda.instruments.core import (
    DatedFacts,
    DerivativePeriod,
    FreezeQuantity,
    MalformedInstruments,
    parse_kite_csv,
    parse_reference_prices,
    shipped_instruments,
    shipped_reference_prices,
)

HEADER = (
    "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,"
    "tick_size,lot_size,instrument_type,segment,exchange"
)
INFY = "408065,1594,INFY,INFOSYS,0,,0,0.05,1,EQ,NSE,NSE"
DAY = date(2026, 11, 23)


def parse(*rows, day=DAY, facts=DatedFacts()):  # noqa: B008 - frozen
    return parse_kite_csv("dump.csv", "\n".join([HEADER, *rows]), day, facts)


def test_a_stock_is_read_exactly():
    """Token, tick and lot come as they stand, and the id is the symbol."""
    (infy,) = parse(INFY)
    assert (infy.instrument_id, infy.instrument_token, infy.tick_size, infy.lot_size) == (
        "NSE:INFY",
        408065,
        Decimal("0.05"),
        1,
    )
    assert infy.tradable
    assert infy.session_segment == "NSE_EQ"


def test_an_index_has_a_grid_and_is_not_tradable():
    """Kite's zeros for an index become a paisa and a unit, and no order is possible."""
    (nifty,) = parse("256265,1001,NIFTY 50,NIFTY 50,0,,0,0,0,EQ,INDICES,NSE")
    assert (nifty.tick_size, nifty.lot_size, nifty.freeze_quantity, nifty.tradable) == (
        Decimal("0.01"),
        1,
        0,
        False,
    )


def test_an_expiring_instrument_has_its_expiry_in_its_id():
    """A symbol comes back after expiry, so the id tells the two apart."""
    (future,) = parse("1,2,INFY26NOVFUT,INFY,0,2026-11-24,0,0.05,400,FUT,NFO-FUT,NFO")
    assert future.instrument_id == "NFO:INFY26NOVFUT@2026-11-24"
    assert future.expiry == date(2026, 11, 24)


def test_freeze_quantity_is_the_latest_row_not_after_the_day():
    """A stock's own rows go before those for every stock, and future rows wait."""
    facts = DatedFacts(
        freeze_quantities=[
            FreezeQuantity("*", date(2019, 1, 1), 100),
            FreezeQuantity("INFY", date(2020, 1, 1), 7),
            FreezeQuantity("INFY", date(2021, 1, 1), 9),
        ]
    )
    quantities = [
        parse(INFY, day=date(year, 6, 1), facts=facts)[0].freeze_quantity for year in (2019, 2020, 2021)
    ]
    assert quantities == [100, 7, 9]


@pytest.mark.parametrize(
    ("day", "segment"),
    [
        (date(2020, 1, 1), "NSE_EQ"),
        (date(2020, 1, 2), "NSE_EQ_CAS"),
        (date(2020, 1, 9), "NSE_EQ_CAS"),
        (date(2020, 1, 10), "NSE_EQ"),
    ],
)
def test_hours_follow_from_having_derivatives_on_the_day(day, segment):
    """Both ends of a spell belong to it."""
    facts = DatedFacts(derivative_periods=[DerivativePeriod("INFY", date(2020, 1, 2), date(2020, 1, 9))])
    assert parse(INFY, day=day, facts=facts)[0].session_segment == segment


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("x,1594,INFY,INFOSYS,0,,0,0.05,1,EQ,NSE,NSE", "instrument_token"),
        ("4294967296,1594,INFY,INFOSYS,0,,0,0.05,1,EQ,NSE,NSE", "instrument_token"),
        ("408065,1594,,INFOSYS,0,,0,0.05,1,EQ,NSE,NSE", "tradingsymbol"),
        ("408065,1594,INFY,INFOSYS,0,soon,0,0.05,1,EQ,NSE,NSE", "expiry"),
        ("408065,1594,INFY,INFOSYS,0,,0,0,1,EQ,NSE,NSE", "tick_size"),
        ("408065,1594,INFY,INFOSYS,0,,0,nan,1,EQ,NSE,NSE", "tick_size"),
        ("408065,1594,INFY,INFOSYS,0,,0,0.05,0,EQ,NSE,NSE", "lot_size"),
        ("408065,1594,INFY", "all"),
    ],
)
def test_a_bad_cell_is_named_by_file_line_and_column(row, column):
    """Whoever reads the error finds the cell."""
    with pytest.raises(
        MalformedInstruments, match=rf"dump\.csv, line 3, column {column}: .* is not allowed; "
    ) as caught:
        parse("1,1,TCS,TCS,0,,0,0.05,1,EQ,NSE,NSE", row)
    assert (caught.value.line, caught.value.column) == (3, column)


def test_a_token_or_a_symbol_stands_once_in_a_dump():
    """Two rows under one token, or under one symbol, are an error."""
    with pytest.raises(MalformedInstruments, match="column instrument_token"):
        parse(INFY, "408065,1594,TCS,TCS,0,,0,0.05,1,EQ,NSE,NSE")
    with pytest.raises(MalformedInstruments, match="column tradingsymbol"):
        parse(INFY, "1,1594,INFY,INFOSYS,0,,0,0.05,1,EQ,NSE,NSE")


def test_another_header_is_refused():
    """A file of other columns is not guessed at."""
    with pytest.raises(MalformedInstruments, match="line 1, column header"):
        parse_reference_prices("prices.csv", "symbol,price\nINFY,1")


def test_the_shipped_set_is_whole():
    """Every shipped stock has hours, a freeze quantity and a price to start from."""
    directory = shipped_instruments(DAY)
    prices = shipped_reference_prices()
    stocks = [instrument for instrument in directory if instrument.tradable]
    assert len(stocks) == len(prices) == 24
    assert all(stock.freeze_quantity == 100_000 and stock.tradingsymbol in prices for stock in stocks)
    assert directory.by_symbol("NSE:INFY").session_segment == "NSE_EQ_CAS"
    assert directory.by_symbol("NSE:SOUTHBANK").session_segment == "NSE_EQ"
