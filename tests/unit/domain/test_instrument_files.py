import csv
from datetime import date
from decimal import Decimal
from importlib import resources

import pytest

SHIPPED = resources.files("alphapanda").joinpath("instruments/data")
KITE_COLUMNS = (
    "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,"
    "tick_size,lot_size,instrument_type,segment,exchange"
)
KNOWN_TOKENS = {
    "RELIANCE": 738561,
    "INFY": 408065,
    "SBIN": 779521,
    "TCS": 2953217,
    "HDFCBANK": 341249,
    "ICICIBANK": 1270529,
    "YESBANK": 3050241,
    "NIFTY 50": 256265,
}


def rows(name):
    return list(csv.DictReader(SHIPPED.joinpath(name).read_text(encoding="utf-8").splitlines()))


def stocks():
    return [row for row in rows("nse_eq.csv") if row["segment"] == "NSE"]


def test_instruments_are_in_kites_columns():
    """The shipped set reads as a slice of Kite's own dump."""
    assert SHIPPED.joinpath("nse_eq.csv").read_text(encoding="utf-8").splitlines()[0] == KITE_COLUMNS
    assert {(row["exchange"], row["instrument_type"]) for row in rows("nse_eq.csv")} == {("NSE", "EQ")}


def test_tokens_are_kites():
    """Each token is its exchange token and segment number, unique, and the known ones are the known ones."""
    segment_number = {"NSE": 1, "INDICES": 9}
    for row in rows("nse_eq.csv"):
        expected = int(row["exchange_token"]) * 256 + segment_number[row["segment"]]
        assert int(row["instrument_token"]) == expected, row["tradingsymbol"]
    tokens = {row["tradingsymbol"]: int(row["instrument_token"]) for row in rows("nse_eq.csv")}
    assert len(set(tokens.values())) == len(rows("nse_eq.csv")) == len(tokens)
    assert tokens | KNOWN_TOKENS == tokens


def test_stocks_trade_on_the_five_paise_grid():
    """All stocks have the simulator's grid and a lot of one share; the index trades nothing."""
    assert {(row["tick_size"], row["lot_size"]) for row in stocks()} == {("0.05", "1")}
    assert len(stocks()) == 24
    (index,) = (row for row in rows("nse_eq.csv") if row["segment"] == "INDICES")
    assert (index["tradingsymbol"], index["lot_size"]) == ("NIFTY 50", "0")


def test_each_stock_has_a_reference_price_on_the_grid():
    """The simulator finds where to start for each stock, and for nothing else."""
    prices = {row["tradingsymbol"]: Decimal(row["price"]) for row in rows("reference_prices.csv")}
    assert list(prices) == [row["tradingsymbol"] for row in stocks()]
    for symbol, price in prices.items():
        assert price > 0, symbol
        assert price % Decimal("0.05") == 0, symbol


def test_derivative_periods_name_shipped_stocks_and_do_not_overlap():
    """A stock's spells with derivatives are in order and apart; at least one shipped stock has none."""
    symbols = {row["tradingsymbol"] for row in stocks()}
    ended: dict[str, date] = {}
    for row in rows("derivative_underlyings.csv"):
        begins = date.fromisoformat(row["from"])
        ends = date.fromisoformat(row["to"]) if row["to"] else date.max
        assert row["symbol"] in symbols
        assert ended.get(row["symbol"], date.min) < begins <= ends, row
        ended[row["symbol"]] = ends
    assert symbols - set(ended) == {"SOUTHBANK"}


def test_every_stock_has_a_freeze_quantity_from_the_first_day_on():
    """Either its own row or the one for all of them, from the calendar's first day."""
    limits = rows("freeze_quantities.csv")
    assert all(int(row["quantity"]) > 0 for row in limits)
    assert {"*"} <= {row["symbol"] for row in limits if row["from"] <= "2019-01-01"}


@pytest.mark.parametrize("name", ["derivative_underlyings.csv", "freeze_quantities.csv"])
def test_dated_rows_name_their_source(name):
    """Whoever doubts a dated row sees where it came from, or that it was not checked."""
    assert all(row["source"] for row in rows(name))
