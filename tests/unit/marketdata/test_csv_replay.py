import csv
import gzip
from datetime import date, datetime
from decimal import Decimal
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.errors import InvalidInput
from alphapanda.instruments.core import shipped_instruments
from alphapanda.marketdata.core.csv_replay import MalformedRow, merge_ticks, read_ticks
from alphapanda.marketdata.core.ticks import OFF_SCALE, Tick, batches_by_time

BARS = "datetime_ist,open,high,low,close,volume\n"
TICKS = "ts,instrument_token,last_price\n"
# 2019-01-01 09:15 IST
OPEN_NS = 1_546_314_300_000_000_000
MINUTE_NS = 60_000_000_000


def bars(*rows):
    return list(read_ticks("bars.csv", [BARS, *rows], 7))


def trades(*rows, header=TICKS):
    return list(read_ticks("ticks.csv", [header, *rows]))


def test_a_bar_is_one_tick_at_its_end_with_its_four_prices():
    """The tick carries the bar's start and prices, and the day's volume so far, which begins again each day."""
    assert bars(
        "2019-01-01 09:15:00,182.60,182.70,181.70,181.90,226292\n",
        "2019-01-01 09:16:00,181.75,182.00,181.00,181.85,8\r\n",
        "2019-01-02 09:15:00,1,1,1,1.5,3",
    ) == [
        Tick(7, 18190, OPEN_NS + MINUTE_NS, 226292, OPEN_NS, 18260, 18270, 18170),
        Tick(7, 18185, OPEN_NS + 2 * MINUTE_NS, 226300, OPEN_NS + MINUTE_NS, 18175, 18200, 18100),
        Tick(7, 150, OPEN_NS + 1441 * MINUTE_NS, 3, OPEN_NS + 1440 * MINUTE_NS, 100, 100, 100),
    ]


@pytest.mark.parametrize(
    "ts",
    [
        "2019-01-01T09:15:00.25+05:30",
        "2019-01-01T03:45:00.250Z",
        "2019-01-01 03:45:00.250000000z",
        str(OPEN_NS + 250_000_000),
    ],
)
def test_a_ticks_time_is_rfc_3339_or_nanoseconds(ts):
    """Any zone and any number of decimals come to the same nanosecond."""
    assert trades(f"{ts},7,10.05\n") == [Tick(7, 1005, OPEN_NS + 250_000_000)]


def test_nanoseconds_are_kept():
    """A fraction finer than a microsecond isn't cut."""
    assert trades("2019-01-01T03:45:00.000000001Z,7,1\n")[0].exchange_time == OPEN_NS + 1


def test_further_columns_are_left_alone_and_volume_is_read():
    """An empty volume is an absent one."""
    header = "ts,instrument_token,last_price,oi,volume\n"
    assert [t.volume for t in trades("1,7,1,x,55\n", "2,7,1,,\n", header=header)] == [55, None]


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=2))
def test_prices_are_exact(price):
    """Text becomes hundredths without a float in between."""
    (tick,) = trades(f"1,7,{price:f}\n")
    assert Decimal(tick.price) == price * 100


def test_a_price_between_paise_is_off_the_scale():
    """The sanitiser shall count it as off the grid, so it is no error here; trailing zeros say nothing."""
    assert [t.price for t in trades("1,7,1.005\n", "2,7,1.0500\n")] == [OFF_SCALE, 105]


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("2019-01-01,1,1,1,1,1", "datetime_ist"),
        ("2019-01-01 09:15:30,1,1,1,1,1", "datetime_ist"),
        ("2019-13-01 09:15:00,1,1,1,1,1", "datetime_ist"),
        ("2019-01-01 09:15:00,a,1,1,1,1", "open"),
        ("2019-01-01 09:15:00,1,1e3,1,1,1", "high"),
        ("2019-01-01 09:15:00,1,1,,1,1", "low"),
        ("2019-01-01 09:15:00,1,1,1,NaN,1", "close"),
        ("2019-01-01 09:15:00,1,1,1,1,-1", "volume"),
        ("2019-01-01 09:15:00,1,1,1,1,1.5", "volume"),
        ("2019-01-01 09:15:00,1,1,1,1", "all"),
        ("2019-01-01 09:15:00,1,1,1,1,1,1", "all"),
    ],
)
def test_a_bad_bar_is_named_by_file_line_and_column(row, column):
    """The good rows before it are given, then one error says where and what is allowed."""
    ticks = read_ticks("bars.csv", [BARS, "2019-01-01 09:14:00,1,1,1,1,1\n", row + "\n"], 7)
    assert len(list(islice(ticks, 1))) == 1
    with pytest.raises(
        MalformedRow, match=rf"^bars\.csv, line 3, column {column}: .* is not allowed; "
    ) as caught:
        next(ticks)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("2019-01-01T09:15:00,7,1", "ts"),
        ("2019-02-30T09:15:00Z,7,1", "ts"),
        ("yesterday,7,1", "ts"),
        ("1,0,1", "instrument_token"),
        ("1,4294967296,1", "instrument_token"),
        ("1,INFY,1", "instrument_token"),
        ("1,7,one", "last_price"),
        ("1,7,", "last_price"),
        ("1,7", "all"),
    ],
)
def test_a_bad_tick_is_named_by_file_line_and_column(row, column):
    """A time without a zone, an unreadable token or price, a missing cell."""
    with pytest.raises(MalformedRow, match=rf"^ticks\.csv, line 2, column {column}: "):
        trades(row + "\n")


def test_another_header_is_refused():
    """A file that is neither is not guessed at; neither is an empty one."""
    with pytest.raises(MalformedRow, match="line 1, column header: 'date,price' is not allowed"):
        trades("1,2", header="date,price\n")
    with pytest.raises(MalformedRow, match="line 1, column header: '' is not allowed"):
        list(read_ticks("empty.csv", []))


def test_bars_need_an_instrument():
    """They don't name theirs."""
    with pytest.raises(InvalidInput, match="instrument"):
        list(read_ticks("bars.csv", [BARS]))


DIRECTORY = shipped_instruments(date(2026, 11, 23))
INFY, SBIN = 408065, 779521


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        (
            f"symbol,{BARS}",
            [
                "NSE:INFY,2019-01-01 09:15:00,1,1,1,1500,10",
                "NSE:SBIN,2019-01-01 09:15:00,1,1,1,300,5",
                "NSE:INFY,2019-01-01 09:16:00,1,1,1,1501,20\n",
            ],
        ),
        (
            f"{BARS.strip()},instrument_token\n",
            [
                f"2019-01-01 09:15:00,1,1,1,1500,10,{INFY}\n",
                f"2019-01-01 09:15:00,1,1,1,300,5,{SBIN}\r\n",
                f"2019-01-01 09:16:00,1,1,1,1501,20,{INFY}",
            ],
        ),
    ],
)
def test_bars_of_several_instruments_name_theirs(header, rows):
    """A column symbol or instrument_token, anywhere; the day's volume is each instrument's own."""
    assert list(read_ticks("bars.csv", [header, *rows], 7, DIRECTORY)) == [
        Tick(INFY, 150000, OPEN_NS + MINUTE_NS, 10, OPEN_NS, 100, 100, 100),
        Tick(SBIN, 30000, OPEN_NS + MINUTE_NS, 5, OPEN_NS, 100, 100, 100),
        Tick(INFY, 150100, OPEN_NS + 2 * MINUTE_NS, 30, OPEN_NS + MINUTE_NS, 100, 100, 100),
    ]


@pytest.mark.parametrize(
    ("row", "column", "allowed"),
    [
        ("NSE:INFI,2019-01-01 09:16:00,1,1,1,1,1", "symbol", "a known instrument"),
        ("NSE:INFY,2019-01-01 09:14:00,1,1,1,1,1", "datetime_ist", "rows in the order of time"),
        ("NSE:INFY,2019-01-01 09:16:00,1,1,1,x,1", "close", "rupees"),
        ("NSE:INFY,2019-01-01 09:16:00,1,1,1,1", "all", "7 cells"),
        ("NSE:INFY", "all", "7 cells"),
    ],
)
def test_a_bad_bar_of_several_is_named(row, column, allowed):
    """An unknown symbol, a row before the one above it, a bad or missing cell."""
    ticks = read_ticks(
        "b.csv", [f"symbol,{BARS}", "NSE:SBIN,2019-01-01 09:15:00,1,1,1,1,1\n", row], None, DIRECTORY
    )
    next(ticks)
    with pytest.raises(MalformedRow, match=rf"^b\.csv, line 3, column {column}: .*{allowed}"):
        next(ticks)


def test_ticks_may_name_their_instrument_by_symbol():
    """`symbol` in the token's place."""
    rows = ["1,NSE:INFY,1500.05\n", "2,NSE:SBIN,300\n"]
    ticks = list(read_ticks("t.csv", ["ts,symbol,last_price\n", *rows], None, DIRECTORY))
    assert [(tick.instrument_token, tick.price) for tick in ticks] == [(INFY, 150005), (SBIN, 30000)]


def test_blank_lines_are_no_rows():
    """A file may end in empty lines."""
    assert len(bars("2019-01-01 09:15:00,1,1,1,1,1\n", "\n", "")) == 1
    assert len(trades("1,7,1\n", "\n")) == 1


def test_several_files_are_merged_by_time():
    """At one time the files' order holds."""
    merged = merge_ticks([iter(trades("1,1,1\n", "5,1,1\n")), iter(trades("1,2,1\n", "3,2,1\n"))])
    assert [(t.exchange_time, t.instrument_token) for t in merged] == [(1, 1), (1, 2), (3, 2), (5, 1)]


@given(st.lists(st.integers(min_value=0, max_value=3)))
def test_batches_hold_runs_of_one_time(times):
    """Nothing is lost, and no two neighbours share a time."""
    ticks = [Tick(1, 1, time) for time in times]
    batches = list(batches_by_time(ticks))
    assert [tick for batch in batches for tick in batch.ticks] == ticks
    assert all(tick.exchange_time == batch.market_time_ns for batch in batches for tick in batch.ticks)
    assert all(a.market_time_ns != b.market_time_ns for a, b in pairwise(batches))


def test_the_recorded_year_is_read_whole(nse_data):
    """92,017 bars of YESBANK come to the same sums as the csv module and Decimal find."""
    with gzip.open(nse_data / "yesbank_2019_1min" / "YESBANK_NSE_1min_2019.csv.gz", "rt") as file:
        lines = list(file)
    ticks = list(read_ticks("yesbank", lines, 3050241))
    rows = list(csv.DictReader(lines))
    assert len(ticks) == len(rows) == 92_017
    assert Decimal(sum(tick.price for tick in ticks)) / 100 == sum(Decimal(row["close"]) for row in rows)
    volumes = [0, *(tick.volume for tick in ticks)]
    of_minutes = [now - before if now >= before else now for before, now in pairwise(volumes)]
    assert sum(of_minutes) == sum(int(row["volume"]) for row in rows)
    ist = ZoneInfo("Asia/Kolkata")
    for tick, row in list(zip(ticks, rows, strict=True))[::997]:
        start = datetime.fromisoformat(row["datetime_ist"]).replace(tzinfo=ist)
        assert tick.bar_start == int(start.timestamp()) * 10**9 == tick.exchange_time - MINUTE_NS
