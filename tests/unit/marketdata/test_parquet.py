from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from pyarrow import parquet

from alphapanda.domain.errors import InvalidInput
from alphapanda.instruments.core import shipped_instruments
from alphapanda.marketdata.core.csv_replay import read_ticks
from alphapanda.marketdata.core.ticks import OFF_SCALE, Tick
from alphapanda.marketdata.feeds import parquet as ours
from alphapanda.marketdata.feeds.extent import Extent
from alphapanda.marketdata.feeds.replay import recorded_ticks

DIRECTORY = shipped_instruments(date(2026, 11, 23))
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


def read(file: Path, instrument: str | None = None) -> list[Tick]:
    return list(recorded_ticks([file], DIRECTORY, instrument, Extent()))


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
    expected = list(read_ticks("b.csv", ["datetime_ist,open,high,low,close,volume", *rows], INFY))
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


def test_a_price_between_paise_is_off_the_scale(tmp_path):
    """For the sanitiser to count, whatever type it has."""
    for prices in ([1500.051, 1.0, 0.125], [Decimal("1500.051"), Decimal("1.000"), Decimal("0.125")]):
        ticks = read(written(tmp_path, **trades(last_price=pa.array(prices))))
        assert [tick.price for tick in ticks] == [OFF_SCALE, 100, OFF_SCALE]


def test_ticks_have_instants_and_perhaps_volumes(tmp_path):
    """A timestamp with a zone or nanoseconds; a missing volume is an absent one."""
    at = pa.array([OPEN, OPEN, OPEN], pa.timestamp("ns", "UTC"))
    ticks = read(written(tmp_path, **trades(ts=at, volume=pa.array([7, None, 9]))))
    assert [(tick.exchange_time, tick.volume) for tick in ticks] == [
        (OPEN_NS, 7),
        (OPEN_NS, None),
        (OPEN_NS, 9),
    ]
    assert [tick.volume for tick in read(written(tmp_path, **trades()))] == [None, None, None]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (trades(ts=pa.array(MINUTES)), r"column ts: 'type timestamp\[us\]' is not allowed; a timestamp with"),
        (
            trades(last_price=pa.array(["1", "2", "3"])),
            "column last_price: 'type string' is not allowed; decimal",
        ),
        (trades(instrument_token=pa.array([1.0, 2.0, 3.0])), "column instrument_token: 'type double'"),
        (trades(volume=pa.array([1.0, 2.0, 3.0])), "column volume: 'type double' is not allowed; a whole"),
        (
            bars(datetime_ist=pa.array(["a", "b", "c"])),
            "column datetime_ist: 'type string' is not allowed; a time",
        ),
        (
            bars(close=pa.array([1, 2, 3], pa.float32())),
            "column close: 'type float' is not allowed; decimal128",
        ),
        (bars(symbol=pa.array([1, 2, 3])), "column symbol: 'type int64' is not allowed; a string"),
        ({"date": pa.array([1])}, "columns: 'date' is not allowed; the columns datetime_ist,open"),
    ],
)
def test_a_column_of_another_type_is_named_before_the_first_row(tmp_path, columns, says):
    """File, column, its type and what is allowed; nothing is guessed."""
    file = written(tmp_path, **columns)
    with pytest.raises(InvalidInput, match=f"^{file}, {says}"):
        read(file, "NSE:INFY")


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (trades(last_price=pa.array([1.0, None, 3.0])), "row 2, column last_price: '' is not allowed; a value"),
        (trades(last_price=pa.array([1.0, 2.0, float("inf")])), "row 3, column last_price: 'inf' is not"),
        (trades(instrument_token=pa.array([1, 2, 0])), "row 3, column instrument_token: '0' is not allowed"),
        (bars(symbol=pa.array(["NSE:INFY", "NSE:INFI", "NSE:SBIN"])), "row 2, column symbol: 'NSE:INFI' is not allowed; did you mean 'NSE:INFY'"),
        (bars(symbol=pa.array(["NSE:INFY"] * 3), datetime_ist=pa.array(MINUTES[::-1])), "row 2, column datetime_ist: .* in the order of time"),
        (bars(datetime_ist=pa.array([at.replace(second=1) for at in MINUTES])), "row 1, column datetime_ist: .*start of a minute"),
        (bars(volume=pa.array([1, -2, 3])), "row 2, column volume: '-2' is not allowed"),
    ],
)  # fmt: skip
def test_a_cell_that_cannot_be_used_is_named_by_row_and_column(tmp_path, columns, says):
    """A missing value, a price that is none, an unknown instrument, rows out of order."""
    file = written(tmp_path, **columns)
    with pytest.raises(InvalidInput, match=f"^{file}, {says}"):
        read(file, "NSE:INFY")


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
    ticks = list(recorded_ticks(files, DIRECTORY, None, Extent()))
    assert [tick.instrument_token for tick in ticks] == [INFY, INFY, SBIN, INFY]


def test_a_large_file_is_read_in_parts(tmp_path, monkeypatch):
    """Rows are numbered through."""
    monkeypatch.setattr(ours, "_ROWS", 2)
    file = written(tmp_path, **trades(instrument_token=pa.array([1, 2, 0])))
    ticks = recorded_ticks([file], DIRECTORY, None, Extent())
    assert len(list(islice(ticks, 2))) == 2
    with pytest.raises(InvalidInput, match="row 3, column instrument_token"):
        next(ticks)


def test_pyarrow_is_not_imported_for_text(tmp_path):
    """A replay of CSV files doesn't pay for it."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys, alphapanda.app.embedded; sys.exit('pyarrow' in sys.modules)"],
        check=False,
    )
    assert done.returncode == 0
