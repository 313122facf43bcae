from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from pyarrow import parquet

from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.errors import InvalidInput
from alphapanda.instruments.core import shipped_instruments
from alphapanda.marketdata.core.recorded.options import reading_options
from alphapanda.marketdata.core.ticks import Tick
from alphapanda.marketdata.feeds.extent import Extent
from alphapanda.marketdata.feeds.files import parquet_table as ours
from alphapanda.marketdata.feeds.parquet import RECORDING_KEY
from alphapanda.marketdata.feeds.replay import RecordingWanted, recording_of

DIRECTORY = shipped_instruments(date(2026, 11, 23))
CALENDAR = load_nse_calendar()
INFY, SBIN = 408065, 779521
IST = ZoneInfo("Asia/Kolkata")
OPEN = datetime(2026, 11, 23, 9, 15, tzinfo=IST)
OPEN_NS = int(OPEN.timestamp()) * 10**9
MINUTE_NS = 60_000_000_000
MINUTES = [datetime(2026, 11, 23, 9, 15 + n) for n in range(3)]  # noqa: DTZ001 - a bar's start is IST by its name


def written(tmp_path: Path, **columns) -> Path:
    file = tmp_path / "some.parquet"
    parquet.write_table(pa.table(columns), file)
    return file


def bars(**columns) -> dict[str, object]:
    prices = pa.array([1500.05, 1501.0, 1502.1])
    return {
        "datetime_ist": pa.array(MINUTES, pa.timestamp("us")),
        "open": pa.array([1500.0, 1501.05, 1502.0]),
        "high": pa.array([1500.1, 1501.05, 1503.0]),
        "low": pa.array([1499.0, 1500.0, 1501.0]),
        "close": prices,
        "volume": pa.array([10, 20, 30]),
    } | columns


def trades(**columns) -> dict[str, object]:
    return {
        "ts": pa.array([OPEN_NS, OPEN_NS + 1, OPEN_NS + 2]),
        "instrument_token": pa.array([INFY, SBIN, INFY], pa.uint32()),
        "last_price": pa.array([Decimal("1500.05"), Decimal(300), Decimal("1500.1")]),
    } | columns


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
@pytest.mark.parametrize("year", [9999, 1, 1900])
def test_a_year_that_no_market_had_is_refused(tmp_path, unit, year):
    """Whatever the unit of the column can hold."""
    times = pa.array([*MINUTES[:2], datetime(year, 6, 10)], pa.timestamp(unit))  # noqa: DTZ001
    with pytest.raises(InvalidInput, match=r"row 3, column datetime_ist: .* years 1970 to 2199"):
        read(written(tmp_path, **bars(datetime_ist=times)), "NSE:INFY")


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int8(), pa.large_string())])
def test_names_of_any_type_of_text_are_joined(tmp_path, kind):
    """Pandas writes a name in one type and the exchange beside it in another."""
    names = {"symbol": pa.array(["INFY"] * 3), "exchange": pa.array(["NSE"] * 3).cast(kind)}
    assert [tick[0] for tick in read(written(tmp_path, **bars(**names)))] == [INFY] * 3


def read(file: Path, instrument: str | None = None) -> list[Tick]:
    return list(RecordingWanted([file], instrument, DIRECTORY, CALENDAR).read().ticks(Extent()))


@pytest.mark.parametrize(
    "starts",
    [
        pa.array(MINUTES, pa.timestamp("us")),
        pa.array(MINUTES, pa.timestamp("s")),
        pa.array([at.replace(tzinfo=IST) for at in MINUTES], pa.timestamp("ns", "Asia/Kolkata")),
        pa.array([at.replace(tzinfo=IST).astimezone(UTC) for at in MINUTES], pa.timestamp("ms", "UTC")),
    ],
)
def test_bars_come_to_the_same_ticks_as_from_text(tmp_path, starts):
    """Whatever the unit and the zone of their starts."""
    prices = ("1500,1500.10,1499,1500.05,10", "1501.05,1501.05,1500,1501,20", "1502,1503,1501,1502.1,30")
    rows = [f"{at:%Y-%m-%d %H:%M:%S},{cells}" for at, cells in zip(MINUTES, prices, strict=True)]
    text = tmp_path / "b.csv"
    text.write_text("\n".join(["datetime_ist,open,high,low,close,volume", *rows]))
    expected = read(text, "NSE:INFY")
    assert read(written(tmp_path, **bars(datetime_ist=starts)), "NSE:INFY") == expected
    assert read(Path(f"NSE:INFY={written(tmp_path, **bars(datetime_ist=starts))}")) == expected


@pytest.mark.parametrize(
    "named",
    [
        {"symbol": pa.array(["NSE:INFY", "NSE:SBIN", "NSE:INFY"])},
        {"symbol": pa.array(["NSE:INFY", "NSE:SBIN", "NSE:INFY"]).dictionary_encode()},
        {"instrument_token": pa.array([INFY, SBIN, INFY], pa.int32())},
    ],
)
def test_bars_of_several_instruments_name_theirs(tmp_path, named):
    """By symbol or token; the day's volume is each instrument's own."""
    ticks = read(written(tmp_path, **bars(**named)))
    assert [(tick.instrument_token, tick.volume) for tick in ticks] == [(INFY, 10), (SBIN, 20), (INFY, 40)]


@pytest.mark.parametrize(
    "prices",
    [
        pa.array([1500.05, 300.0, 1500.1]),
        pa.array([Decimal("1500.05"), Decimal(300), Decimal("1500.1")], pa.decimal128(38, 10)),
        pa.array([Decimal("1500.05"), Decimal(300), Decimal("1500.1")], pa.decimal128(9, 2)),
    ],
)
def test_prices_are_exact(tmp_path, prices):
    """A double means the decimal it is nearest to; a decimal of any scale is itself."""
    ticks = read(written(tmp_path, **trades(last_price=prices)))
    assert [tick.price for tick in ticks] == [150005, 30000, 150010]


@pytest.mark.parametrize(
    "prices",
    [pa.array([1500.051, 1.0, 0.124]), pa.array([Decimal("1500.051"), Decimal("1.000"), Decimal("0.124")])],
)
def test_a_price_between_paise_is_rounded_and_counted(tmp_path, prices):
    """Whatever type it has."""
    wanted = RecordingWanted([written(tmp_path, **trades(last_price=prices))], None, DIRECTORY, CALENDAR)
    recording = wanted.read()
    assert sorted(tick.price for tick in recording.ticks(Extent())) == [12, 100, 150005]
    assert recording.counts() == {"rounded": 2}


def test_single_floats_are_rounded_to_paise(tmp_path):
    """1500.1 as a float of 32 bits is 1500.0999755859375."""
    close = pa.array([1500.05, 1501.0, 1500.1], pa.float32())
    ticks = read(written(tmp_path, **bars(close=close)), "NSE:INFY")
    assert [tick.price for tick in ticks] == [150005, 150100, 150010]


def test_an_index_of_pandas_is_a_column_like_others(tmp_path):
    """With a zone or without; other columns are left alone."""
    columns = bars(oi=pa.array([0, 0, 0]))
    columns["__index_level_0__"] = columns.pop("datetime_ist")
    assert [tick.volume for tick in read(written(tmp_path, **columns), "NSE:INFY")] == [10, 30, 60]


def test_ticks_have_instants_and_perhaps_volumes(tmp_path):
    """A timestamp with a zone or nanoseconds; a missing volume is an absent one. At one time they are in the order of instruments."""
    at = pa.array([OPEN, OPEN, OPEN], pa.timestamp("ns", "UTC"))
    ticks = read(written(tmp_path, **trades(ts=at, volume=pa.array([7, None, 9]))))
    assert [(tick.exchange_time, tick.volume) for tick in ticks] == [
        (OPEN_NS, 7),
        (OPEN_NS, 9),
        (OPEN_NS, None),
    ]
    assert [tick.volume for tick in read(written(tmp_path, **trades()))] == [None, None, None]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (trades(last_price=pa.array([[1.0], [2.0], [3.0]])), "row 1, column last_price: 'type list"),
        (trades(last_price=pa.array(["1", "x", "3"])), "row 2, column last_price: 'x' is not allowed; rupees"),
        (trades(last_price=pa.array([1.0, 2.0, float("inf")])), "row 3, column last_price: 'inf' is not"),
        (trades(instrument_token=pa.array([1, 2, 0])), "row 3, column instrument_token: '0' is not allowed"),
        (trades(ts=pa.array([None, OPEN_NS, OPEN_NS])), "row 1, column ts: '' is not allowed; a time"),
        (bars(symbol=pa.array(["NSE:INFY", "NSE:INFI", "NSE:SBIN"])), "row 2, column symbol: 'NSE:INFI' is not allowed; did you mean 'NSE:INFY'"),
        (bars(datetime_ist=pa.array(["a", "b", "c"])), "row 1, column datetime_ist: 'a' is not allowed; a time"),
        (bars(volume=pa.array([1, -2, 3])), "row 2, column volume: '-2' is not allowed"),
    ],
)  # fmt: skip
def test_a_cell_that_cannot_be_used_is_named_by_row_and_column(tmp_path, columns, says):
    """A missing value, a price that is none, an unknown instrument."""
    file = written(tmp_path, **columns)
    with pytest.raises(InvalidInput, match=f"^{file}, {says}"):
        read(file, None if "symbol" in columns else "NSE:INFY")


def test_columns_that_make_neither_bars_nor_ticks_are_named(tmp_path):
    """With what is wanted, and the option that names columns."""
    file = written(tmp_path, date=pa.array([1]))
    with pytest.raises(InvalidInput, match=r"column header: 'date' is not allowed; a time .*--columns"):
        read(file)


def test_days_and_times_of_day_may_be_two_columns(tmp_path):
    """Of any type that says a day, and a time of day."""
    columns = bars()
    columns.pop("datetime_ist")
    clocks = [at.time() for at in MINUTES]
    for clock in (pa.array(clocks), pa.array([f"{at:%H:%M}" for at in clocks])):
        file = written(tmp_path, date=pa.array([at.date() for at in MINUTES]), time=clock, **columns)
        assert [tick.exchange_time - OPEN_NS for tick in read(file, "NSE:INFY")] == [
            MINUTE_NS * at for at in (1, 2, 3)
        ]


def test_recorded_frames_are_read_as_they_are(tmp_path):
    """An option that says how to read bars means nothing to them."""
    file = tmp_path / "frames.parquet"
    table = pa.table({"ts": [1]}).replace_schema_metadata({RECORDING_KEY: b"1"})
    parquet.write_table(table, file)
    assert recording_of([file]) == file
    with pytest.raises(InvalidInput, match="options on how to read it mean nothing to recorded frames"):
        recording_of([file], reading_options(stamp="end"))


def test_rows_in_any_order_are_read_in_the_order_of_time(tmp_path):
    """As in a text file."""
    columns = bars(datetime_ist=pa.array(MINUTES[::-1]), volume=pa.array([30, 20, 10]))
    assert [tick.volume for tick in read(written(tmp_path, **columns), "NSE:INFY")] == [10, 30, 60]


def test_bars_need_an_instrument(tmp_path):
    """Those that don't name theirs."""
    with pytest.raises(InvalidInput, match="--instrument NSE:INFY, or NSE:INFY="):
        read(written(tmp_path, **bars()))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"ts,instrument_token\n"])
def test_a_file_that_is_cut_short_or_no_parquet_says_so(tmp_path, content):
    """One line, and the file's name."""
    file = tmp_path / "some.parquet"
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match=f"^file: '{file}' is not allowed; a whole, readable Parquet file"):
        read(file)
    whole = written(tmp_path, **trades()).read_bytes()
    file.write_bytes(whole[:-20])
    with pytest.raises(InvalidInput, match="a whole, readable Parquet file") as refused:
        read(file)
    assert "\n" not in str(refused.value)


def test_text_and_parquet_are_merged_by_time(tmp_path):
    """Several files at once, each with its own instrument."""
    text = tmp_path / "sbin.csv"
    text.write_text("datetime_ist,open,high,low,close,volume\n2026-11-23 09:16:00,1,1,1,300,5\n")
    files = [Path(f"NSE:INFY={written(tmp_path, **bars())}"), Path(f"NSE:SBIN={text}")]
    ticks = list(RecordingWanted(files, None, DIRECTORY, CALENDAR).read().ticks(Extent()))
    assert [tick.instrument_token for tick in ticks] == [INFY, INFY, SBIN, INFY]


def test_a_large_file_is_read_in_parts(tmp_path, monkeypatch):
    """Rows are numbered through."""
    monkeypatch.setattr(ours, "_ROWS", 2)
    file = written(tmp_path, **trades(instrument_token=pa.array([1, 2, 0])))
    with pytest.raises(InvalidInput, match="row 3, column instrument_token"):
        read(file)


def test_pyarrow_is_not_imported_for_text(tmp_path):
    """A replay of CSV files doesn't pay for it."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys, alphapanda.app.embedded; sys.exit('pyarrow' in sys.modules)"],
        check=False,
    )
    assert done.returncode == 0
