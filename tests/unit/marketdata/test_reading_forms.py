"""The forms of data files that people have: each comes to the same ticks."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from datetime import UTC, timedelta, timezone

import pytest
from tests.unit.marketdata.data_files import (
    BARS,
    DIRECTORY,
    INFY,
    Bar,
    plain_row,
    plain_text,
    read,
    text_of,
    ticks_of_bars,
)

from alphapanda.domain.errors import InvalidInput
from alphapanda.marketdata.core.recorded.options import reading_options
from alphapanda.marketdata.feeds.extent import Extent

EXPECTED = ticks_of_bars()
HEADER = "date,open,high,low,close,volume"


def stamped(form: str, more: str = "", zone: timezone | None = None) -> Callable[[Bar], str]:
    return lambda bar: (
        f"{bar.start.astimezone(zone) if zone else bar.start:{form}}{more},{bar.prices},{bar.volume}"
    )


def epoch(unit: int, more: str = "") -> Callable[[Bar], str]:
    return lambda bar: f"{int(bar.start.timestamp()) * unit}{more},{bar.prices},{bar.volume}"


def quoted(bar: Bar) -> str:
    prices = (f'"{float(price):,.2f}"' for price in bar[1:5])
    return f'"{bar.start:%d-%b-%Y %H:%M}",{",".join(prices)},"{bar.volume:,}"'


def european(bar: Bar) -> str:
    return ";".join([f"{bar.start:%Y-%m-%d %H:%M}", *bar[1:5], str(bar.volume)]).replace(".", ",")


def yfinance(bar: Bar) -> str:
    return f"{bar.start.astimezone(UTC):%Y-%m-%d %H:%M:%S+00:00},{bar.close},{bar.high},{bar.low},{bar.open},{bar.volume}"


TEXTS = {
    "thin spaces": (HEADER, lambda bar: plain_row(bar).replace(",", "\u202f,\u00a0")),
    "units": ("Date (IST),Open (Rs.),High (₹),Low [INR], Close (Rs) ,Volume (shares)", plain_row),
    "kite": ("date,open,high,low,close,volume,oi", lambda bar: f"{stamped('%Y-%m-%d %H:%M:%S', '+05:30')(bar)},0"),
    "index column": (f",{HEADER}", lambda bar: f"{bar.volume},{plain_row(bar)}"),
    "unnamed index": (f"Unnamed: 0,{HEADER}", lambda bar: f"{bar.volume},{plain_row(bar)}"),
    "index without a name": (HEADER, lambda bar: f"{bar.volume},{plain_row(bar)}"),
    "time is the index": (",Open,High,Low,Close,Volume", plain_row),
    "tradingview epoch": ("time,open,high,low,close,Volume,Volume MA", lambda bar: f"{epoch(1)(bar)},NaN"),
    "tradingview iso": ("time,open,high,low,close,Volume", stamped("%Y-%m-%dT%H:%M:%S", "+05:30")),
    "yfinance": (
        "Datetime,Open,High,Low,Close,Adj Close,Volume",
        lambda bar: f"{bar.start:%Y-%m-%d %H:%M:%S}+05:30,{bar.prices},1.5,{bar.volume}",
    ),
    "openalgo": (
        "symbol,exchange,timestamp,open,high,low,close,volume,oi",
        lambda bar: f"INFY,NSE,{plain_row(bar)},0",
    ),
    "date and time": ("Date,Time,Open,High,Low,Close,Volume", stamped("%Y-%m-%d,%H:%M:%S")),
    "twelve hours": ("Date,Time,Open,High,Low,Close,Volume", stamped("%Y-%m-%d,%I:%M %p")),
    "amibroker": (
        "<TICKER>,<DTYYYYMMDD>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>",
        lambda bar: f"INFY,{stamped('%Y%m%d,%H%M%S')(bar)}",
    ),
    "no header": (plain_row(BARS[0]), plain_row),
    "no header, symbol first": (
        f"INFY,{stamped('%Y%m%d,%H:%M')(BARS[0])},0",
        lambda bar: f"INFY,{stamped('%Y%m%d,%H:%M')(bar)},0",
    ),
    "titles above": (f"Some vendor\nINFY 1 minute\n\n{HEADER}", plain_row),
    "separator named": ("sep=;\ndate;open;high;low;close;volume", lambda bar: plain_row(bar).replace(",", ";")),
    "semicolon, decimal comma": ("date;open;high;low;close;volume", european),
    "tab": ("Date\tOpen\tHigh\tLow\tClose\tVolume", lambda bar: plain_row(bar).replace(",", "\t")),
    "bar": ("Date|Open|High|Low|Close|Volume", lambda bar: plain_row(bar).replace(",", "|")),
    "nse page": ('"Date ","OPEN ","HIGH ","LOW ","close ","VOLUME "', quoted),
    "other order": (
        "Volume,Close,Low,High,Open,Date",
        lambda bar: f"{bar.volume}.0,{bar.close},{bar.low},{bar.high},{bar.open},{bar.start:%Y-%m-%d %H:%M}",
    ),
    "investing.com": (
        "Date,Price,Open,High,Low,Vol.,Change %",
        lambda bar: f'"{bar.start:%b %d, %Y %H:%M}",{bar.close},{bar.open},{bar.high},{bar.low},{bar.volume / 1000:.3f}K,0%',
    ),
    "trailing comma": (HEADER, lambda bar: f"{plain_row(bar)},"),
    "yahoo symbol": (f"Ticker,{HEADER}", lambda bar: f"INFY.NS,{plain_row(bar)}"),
    "fyers symbol": (f"Symbol,{HEADER}", lambda bar: f"NSE:INFY-EQ,{plain_row(bar)}"),
    "series": (f"tradingsymbol,SERIES,{HEADER}", lambda bar: f"infy,EQ,{plain_row(bar)}"),
    "utc by name": ("datetime_utc,open,high,low,close,volume", stamped("%Y-%m-%d %H:%M:%S", zone=UTC)),
    "T": (HEADER, stamped("%Y-%m-%dT%H:%M:%S")),
    "no seconds": (HEADER, stamped("%Y-%m-%d %H:%M")),
    "one digit": (HEADER, lambda bar: f"{bar.start.year}-{bar.start.month}-{bar.start.day} {bar.start.hour}:{bar.start:%M},{bar.prices},{bar.volume}"),
    "slashes": (HEADER, stamped("%Y/%m/%d %H:%M")),
    "Z": (HEADER, stamped("%Y-%m-%d %H:%M:%SZ", zone=UTC)),
    "zone without colon": (HEADER, stamped("%Y-%m-%dT%H:%M:%S+0530")),
    "IST": (HEADER, stamped("%Y-%m-%d %H:%M:%S IST")),
    "browser": (HEADER, stamped("%a %b %d %Y %H:%M:%S GMT+0530 (India Standard Time)")),
    "month's name": (HEADER, stamped("%d-%b-%Y %H:%M")),
    "compact": (HEADER, stamped("%Y%m%d%H%M")),
    "compact, two parts": (HEADER, stamped("%Y%m%d %H:%M")),
    "seconds": (HEADER, epoch(1)),
    "milliseconds": (HEADER, epoch(10**3)),
    "microseconds": (HEADER, epoch(10**6)),
    "nanoseconds": (HEADER, epoch(10**9)),
    "float seconds": (HEADER, epoch(1, ".0")),
}  # fmt: skip


def checked(recording) -> str:
    """Compares the ticks with the expected ones; returns what was recognised."""
    assert list(recording.ticks(Extent())) == EXPECTED
    (line,) = recording.lines(DIRECTORY)
    assert "1m bars of NSE:INFY, 30 rows, 2025-06-10 09:15 to 09:44" in line
    return line


@pytest.mark.parametrize("form", TEXTS)
def test_a_text_file_is_recognised(tmp_path, form):
    """Header, separator, times, numbers and symbol."""
    header, row = TEXTS[form]
    file = tmp_path / "bars.csv"
    file.write_text(text_of(header, row, BARS[1:] if form.startswith("no header") else BARS))
    line = checked(read(file))
    naive = (form not in {
        "kite", "tradingview epoch", "tradingview iso", "yfinance", "utc by name", "Z", "zone without colon", "IST", "browser",
    } and "seconds" not in form) or form == "no seconds"  # fmt: skip
    assert ("times without a zone are IST" in line) is naive


@pytest.mark.parametrize("form", ["%H:%M %d-%b-%Y", "%d%b%Y 0915", "%d-%b-%Y 9 am", "%d %b %Y 09.15"])
def test_no_time_of_day_is_lost(tmp_path, form):
    """One that isn't recognised is refused, not taken for midnight."""
    file = tmp_path / "bars.csv"
    file.write_text(text_of(HEADER, stamped(form)))
    with pytest.raises(InvalidInput, match=r"line 2, column date: .* --time-format names another form"):
        read(file)


@pytest.mark.parametrize("year", ["9999", "0001", "1900", "2262", "0099", "1969"])
@pytest.mark.parametrize("form", ["{}-06-10 09:50:00", "{}-06-10T09:50:00+05:30", "10-Jun-{}"])
def test_a_year_that_no_market_had_is_refused(tmp_path, year, form):
    """Not taken for another one, nor for the begin of the epoch."""
    file = tmp_path / "bars.csv"
    file.write_text(text_of(HEADER, plain_row) + f"{form.format(year)},1,1,1,1,1\n")
    with pytest.raises(InvalidInput, match=r"line 32, column date: .*(years 1970 to 2199|a time such as)"):
        read(file)


@pytest.mark.parametrize("format_", ["s", "ms"])
def test_a_given_unit_of_an_epoch_that_leads_too_far_is_refused(tmp_path, format_):
    """Nanoseconds taken for seconds don't turn into some other time."""
    file = tmp_path / "bars.csv"
    file.write_text(text_of(HEADER, epoch(10**9)))
    with pytest.raises(InvalidInput, match="years 1970 to 2199, read as"):
        read(file, time_format=format_)


def test_two_columns_of_one_name_are_refused_until_one_is_chosen(tmp_path):
    """Which of them is the price can't be seen."""
    file = tmp_path / "bars.csv"
    file.write_text(
        text_of(
            "date,open,high,low,close,Close,volume",
            lambda bar: plain_row(bar).replace(bar.close, f"{bar.close},1"),
        )
    )
    with pytest.raises(
        InvalidInput, match="'close' is not allowed; one column of this name; --columns close=5 or close=6"
    ):
        read(file)
    checked(read(file, columns="close=5"))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_any_encoding_and_line_end_is_read(tmp_path, encoding, end):
    """With a byte-order mark or without."""
    file = tmp_path / "bars.csv"
    file.write_bytes(text_of(HEADER, plain_row, end=end).encode(encoding))
    checked(read(file))


def test_packed_files_are_read_whatever_their_names(tmp_path):
    """.gz and .zip; a .zip with several files says so, a spreadsheet too."""
    packed, zipped = tmp_path / "bars.dat", tmp_path / "bars.zip"
    packed.write_bytes(gzip.compress(plain_text().encode()))
    checked(read(packed))
    for names, allowed in (
        (["b.csv"], ""),
        (["a.csv", "b.csv"], "with one file in it"),
        (["xl/workbook.xml"], "save it as CSV"),
    ):
        with zipfile.ZipFile(zipped, "w") as archive:
            for name in names:
                archive.writestr(name, plain_text())
        if not allowed:
            checked(read(zipped))
        else:
            with pytest.raises(InvalidInput, match=allowed):
                read(zipped)
    packed.write_bytes(packed.read_bytes()[:-50])
    with pytest.raises(InvalidInput, match=f"^file: '{packed}' is not allowed; a readable file"):
        read(packed)


@pytest.mark.parametrize(
    "header",
    [
        "Price,Close,High,Low,Open,Volume\nTicker,{0},{0},{0},{0},{0}\nDatetime,,,,,",
        ",Close,High,Low,Open,Volume\n,{0},{0},{0},{0},{0}\nDatetime,,,,,",
        "Ticker,{0},{0},{0},{0},{0}\nPrice,Close,High,Low,Open,Volume\nDatetime,,,,,",
        "Price,Close,High,Low,Open,Volume\nTicker,{0},{0},{0},{0},{0}",
    ],
)
def test_yfinances_headers_of_several_lines_are_read(tmp_path, header):
    """The ticker names the instrument."""
    file = tmp_path / "bars.csv"
    file.write_text(text_of(header.format("INFY.NS"), yfinance))
    assert "CSV (yfinance)" in checked(read(file, None))


def test_yfinances_several_tickers_stand_side_by_side(tmp_path):
    """An empty cell is a minute in which a stock didn't trade."""
    columns = ("Close", "High", "Low", "Open", "Volume")
    header = [",".join(["Price", *(name for name in columns for _ in range(2))])]
    header += [",".join(["Ticker", *["INFY.NS", "SBIN.NS"] * 5]), "Datetime,,,,,,,,,,"]
    rows = ["2025-06-10 09:15:00+05:30,1,2,1,2,1,2,1,2,10,20", "2025-06-10 09:16:00+05:30,1,,1,,1,,1,,10,"]
    file = tmp_path / "bars.csv"
    file.write_text("\n".join([*header, *rows]))
    recording = read(file, None)
    assert [(tick.instrument_token, tick.price, tick.volume) for tick in recording.ticks(Extent())] == [
        (INFY, 100, 10),
        (779521, 200, 20),
        (INFY, 100, 20),
    ]
    assert recording.counts() == {"without_price": 1}


CANDLES = [
    [f"{bar.start:%Y-%m-%dT%H:%M:%S}+0530", *(float(price) for price in bar[1:5]), bar.volume] for bar in BARS
]
RECORDS = [dict(zip(HEADER.split(","), candle, strict=True)) for candle in CANDLES]
COLUMNS = {name: [record[name] for record in RECORDS] for name in HEADER.split(",")}
EPOCHS = [int(bar.start.timestamp()) for bar in BARS]
JSONS = {
    "kite": {"status": "success", "data": {"candles": CANDLES}},
    "upstox": {"status": "success", "data": {"candles": [[*candle, 0] for candle in CANDLES]}},
    "fyers": {"s": "ok", "candles": [[at, *candle[1:]] for at, candle in zip(EPOCHS, CANDLES, strict=True)]},
    "angel one": {"status": True, "message": "SUCCESS", "data": CANDLES},
    "dhan": {**{name: COLUMNS[name] for name in HEADER.split(",")[1:]}, "timestamp": EPOCHS},
    "udf": {"s": "ok", "t": EPOCHS, **{name[0]: COLUMNS[name] for name in HEADER.split(",")[1:]}},
    "kiteconnect": RECORDS,
    "yahoo": {
        "chart": {
            "result": [
                {
                    "meta": {"symbol": "INFY.NS"},
                    "timestamp": EPOCHS,
                    "indicators": {"quote": [{name: COLUMNS[name] for name in HEADER.split(",")[1:]}]},
                }
            ],
            "error": None,
        }
    },
    "pandas columns": {
        name: {str(at): cell for at, cell in enumerate(cells)} for name, cells in COLUMNS.items()
    },
    "pandas index": {str(at): record for at, record in enumerate(RECORDS)},
    "pandas split": {"columns": list(COLUMNS), "index": list(range(30)), "data": CANDLES},
    "pandas time index": {
        name: {str(at * 1000): cell for at, cell in zip(EPOCHS, COLUMNS[name], strict=True)}
        for name in HEADER.split(",")[1:]
    },
}


@pytest.mark.parametrize("form", JSONS)
@pytest.mark.parametrize("indent", [None, 1])
def test_a_json_file_is_recognised(tmp_path, form, indent):
    """Candles as brokers answer them, records, columns."""
    file = tmp_path / "bars.json"
    file.write_text(json.dumps(JSONS[form], indent=indent))
    assert ": JSON, " in checked(read(file))


def test_json_lines_are_read(tmp_path):
    """A record a line; blank lines don't count."""
    file = tmp_path / "bars.jsonl"
    file.write_text("\n\n".join(map(json.dumps, RECORDS)))
    assert ": JSON lines, " in checked(read(file))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"status": "error", "message": "x"}', "candles as Kite, Upstox"),
        ("[]", "candles as Kite, Upstox"),
        ('{"status": ', "JSON .*"),
        ('[["2025-06-10", 1, 2, 3, 4, 5], ["2025-06-11", 1]]', "candle 2: .*6 values"),
        (
            '[{"date": "2025-06-10", "open": 1, "high": 1, "low": 1, "close": "x"}]',
            "candle 1, column close: 'x'",
        ),
    ],
)
def test_json_that_has_no_candles_says_what_is_wanted(tmp_path, text, says):
    """An error's answer, an empty list, half a file, a bad value."""
    file = tmp_path / "bars.json"
    file.write_text(text)
    with pytest.raises(InvalidInput, match=says) as refused:
        read(file)
    assert "\n" not in str(refused.value)


# -- days and bhavcopies ------------------------------------------------------------------------------------------------

DAYS = {
    "old bhavcopy": (
        "SYMBOL,SERIES,OPEN,HIGH,LOW,CLOSE,LAST,PREVCLOSE,TOTTRDQTY,TOTTRDVAL,TIMESTAMP,TOTALTRADES,ISIN,",
        ["20MICRONS,EQ,1,2,1,2,2,2,9,1,10-JUN-2024,1,X,", "INFY,EQ,1500.1,1510,1490,1505,1504,1500,100,1,10-JUN-2024,1,X,", "INFY,N1,1,1,1,1,1,1,1,1,10-JUN-2024,1,X,"],
        2,
    ),
    "udiff": (
        "TradDt,BizDt,Sgmt,Src,FinInstrmTp,FinInstrmId,ISIN,TckrSymb,SctySrs,XpryDt,OpnPric,HghPric,LwPric,ClsPric,LastPric,TtlTradgVol,Rsvd4",
        ["2024-06-10,2024-06-10,CM,NSE,STK,1,X,20MICRONS,EQ,,1,2,1,2,2,9,", "2024-06-10,2024-06-10,CM,NSE,STK,1594,X,INFY,EQ,,1500.10,1510.00,1490.00,1505.00,1504.00,100,"],
        1,
    ),
    "sec_bhavdata_full": (
        "SYMBOL, SERIES, DATE1, PREV_CLOSE, OPEN_PRICE, HIGH_PRICE, LOW_PRICE, LAST_PRICE, CLOSE_PRICE, AVG_PRICE, TTL_TRD_QNTY, DELIV_QTY",
        ["INFY, EQ, 10-Jun-2024, 1500, 1500.1, 1510, 1490, 1504, 1505, 1501, 100, -"],
        0,
    ),
    "nse page": (
        '"Date ","series ","OPEN ","HIGH ","LOW ","PREV. CLOSE ","ltp ","close ","vwap ","52W H ","52W L ","VOLUME ","VALUE ","No of trades "',
        ['"10-Jun-2024","EQ","1,500.10","1,510.00","1,490.00","1,500.00","1,504.00","1,505.00","1,501.00","2,000.00","1,300.00","100","1","1"'],
        0,
    ),
    "bse page": (
        "Date,Open Price,High Price,Low Price,Close Price,WAP,No.of Shares,No. of Trades,Deliverable Quantity",
        ["10-June-2024,1500.1,1510,1490,1505,1501.123,100,1,1,"],
        0,
    ),
    "yfinance daily": ("Date,Open,High,Low,Close,Adj Close,Volume", ["2024-06-10 00:00:00+05:30,1500.1,1510,1490,1505,1400,100"], 0),
}  # fmt: skip


@pytest.mark.parametrize("form", DAYS)
def test_days_and_bhavcopies_are_recognised(tmp_path, form):
    """One day of INFY, known at its close; what isn't known of a whole market is left out and counted."""
    header, rows, unknown = DAYS[form]
    file = tmp_path / "days.csv"
    file.write_text("\n".join([header, *rows]))
    recording = read(file, None if "sym" in header.lower() else "NSE:INFY")
    (tick,) = recording.ticks(Extent())
    assert (tick.instrument_token, tick.price, tick.volume) == (INFY, 150500, 100)
    assert (tick.open, tick.high, tick.low) == (150010, 151000, 149000)
    assert recording.counts() == ({"unknown": unknown} if unknown else {})


# -- options ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "row", "options"),
    [
        ("x,a,b,c,d,e", plain_row, {"columns": "time=x,open=a,high=b,low=c,close=d,volume=e"}),
        ("x,a,b,c,d,e", plain_row, {"columns": "time=1, open=2, high=3, low=4, close=5, volume=6"}),
        (HEADER, stamped("%d-%m-%Y %H:%M:%S"), {"time_format": "dmy"}),
        (HEADER, stamped("%m/%d/%y %I:%M %p"), {"time_format": "MDY"}),
        (HEADER, stamped("%H.%M on %d.%m.%y"), {"time_format": "%H.%M on %d.%m.%y"}),
        (HEADER, epoch(1000), {"time_format": "ms"}),
        (HEADER, stamped("%Y-%m-%d %H:%M", zone=UTC), {"time_zone": "UTC"}),
        (
            HEADER,
            stamped("%Y-%m-%d %H:%M", zone=timezone(timedelta(hours=-4))),
            {"time_zone": "America/New_York"},
        ),
    ],
)
def test_options_say_what_cannot_be_recognised(tmp_path, header, row, options):
    """Columns by name or number, the order of day and month, a pattern, a unit, a zone."""
    file = tmp_path / "bars.csv"
    file.write_text(text_of(header, row))
    checked(read(file, **options))


def test_a_date_is_day_first_where_no_other_reading_is_possible(tmp_path):
    """The 13th isn't a month, even if it comes late in the file; else the date is refused, naming the option."""
    file = tmp_path / "bars.csv"
    days = ["09-06-2025", "10-06-2025", "11-06-2025"]
    rows = [f"{day} {9 + at // 60:02}:{at % 60:02},1,1,1,1,1" for day in days for at in range(15, 400)]
    file.write_text("\n".join([HEADER, *rows]))
    with pytest.raises(
        InvalidInput, match=r"line 2, column date: '09-06-2025 09:15' is not allowed; .*--time-format dmy"
    ):
        read(file)
    file.write_text("\n".join([HEADER, *rows, "13-06-2025 09:15,1,1,1,1,1"]))
    assert "2025-06-09 09:15 to 2025-06-13 09:15; day first" in read(file).lines(DIRECTORY)[0]
    file.write_text("\n".join([HEADER, *rows, "13-06-2025 09:15,1,1,1,1,1", "06-13-2025 09:16,1,1,1,1,1"]))
    with pytest.raises(InvalidInput, match="column date"):
        read(file)


@pytest.mark.parametrize(
    ("row", "options"),
    [
        (lambda bar: f"45818.{bar.volume},{bar.prices},{bar.volume}", {}),
        (lambda bar: f"{bar.start:%H%M},{bar.prices},{bar.volume}", {}),
        (epoch(1), {"time_format": "dmy"}),
        (epoch(1), {"time_format": "ymd", "columns": "time=volume"}),
    ],
)
def test_numbers_that_are_no_times_are_refused(tmp_path, row, options):
    """A spreadsheet's days, times of day alone, an epoch where a date was said to be, prices."""
    file = tmp_path / "bars.csv"
    file.write_text(text_of(HEADER, row))
    with pytest.raises(InvalidInput, match=r"line 2, column (date|volume): .*--time-format"):
        read(file, **options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"columns": "open"}, "--columns: 'open' is not allowed; ROLE=COLUMN"),
        ({"columns": "opem=o"}, "--columns: 'opem' is not allowed; did you mean 'open'"),
        ({"columns": "open=x"}, "--columns open: 'x' is not allowed; a column of .*: datetime_ist, open"),
        ({"time_format": "day first"}, "--time-format: 'day first' is not allowed; dmy, mdy or ymd"),
        ({"time_zone": "Asia/Bombay"}, "--time-zone: 'Asia/Bombay' is not allowed"),
        ({"stamp": "begin"}, "--stamp: 'begin' is not allowed; allowed: end, start"),
        ({"on_conflict": "newest"}, "--on-conflict: 'newest' is not allowed"),
        (
            {"bar_interval": "1 fortnight"},
            "--bar-interval: '1 fortnight' is not allowed; the length of a bar",
        ),
    ],
)
def test_an_option_that_says_nothing_is_refused(tmp_path, options, says):
    """By its name, the value and what is allowed."""
    file = tmp_path / "bars.csv"
    file.write_text(plain_text())
    with pytest.raises(InvalidInput, match=f"^{says}"):
        read(file, **options)


def test_a_stream_of_options_is_part_of_a_runs_name():
    """What changes the ticks changes their ids; no option leaves them as they are."""
    assert reading_options().text == ""
    texts = {
        reading_options(stamp="end").text,
        reading_options(bar_interval="5m").text,
        reading_options(time_format="dmy").text,
    }
    assert len(texts) == 3


def test_an_empty_zip_is_refused(tmp_path):
    """It has no file."""
    held = io.BytesIO()
    zipfile.ZipFile(held, "w").close()
    file = tmp_path / "bars.zip"
    file.write_bytes(held.getvalue())
    with pytest.raises(InvalidInput):
        read(file)
