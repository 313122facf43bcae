"""Data files for tests: bars of one day in any form, and what is read of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.instruments.core import shipped_instruments
from alphapanda.marketdata.core.recorded.options import reading_options
from alphapanda.marketdata.core.ticks import Tick
from alphapanda.marketdata.feeds.extent import Extent
from alphapanda.marketdata.feeds.files.recording import NamedFile, Recording, read_recording

DIRECTORY = shipped_instruments(date(2026, 11, 23))
CALENDAR = load_nse_calendar()
INFY, SBIN = 408065, 779521
IST = ZoneInfo("Asia/Kolkata")
OPEN = datetime(2025, 6, 10, 9, 15, tzinfo=IST)
MINUTE_NS = 60_000_000_000


class Bar(NamedTuple):
    """A bar; prices are text with two decimals."""

    start: datetime
    open: str
    high: str
    low: str
    close: str
    volume: int

    @property
    def prices(self) -> str:
        """Open, high, low, close, with commas between them."""
        return ",".join(self[1:5])


def bars_of(count: int = 30, minutes: int = 1, start: datetime = OPEN) -> list[Bar]:
    """Rising bars."""
    made = []
    for at in range(count):
        paise = 149_600 + at * 20
        prices = (f"{(paise + more) / 100:.2f}" for more in (0, 10, -10, 5))
        made.append(Bar(start + timedelta(minutes=minutes * at), *prices, 1000 + at))
    return made


BARS = bars_of()


def text_of(header: str, row: Callable[[Bar], str], bars: Sequence[Bar] = BARS, end: str = "\n") -> str:
    """A text file with a row for each bar."""
    return "".join(line + end for line in (header, *map(row, bars)))


def plain_text(bars: Sequence[Bar] = BARS) -> str:
    """The form that the README names first."""
    return text_of("datetime_ist,open,high,low,close,volume", plain_row, bars)


def plain_row(bar: Bar) -> str:
    """A row of that form."""
    return f"{bar.start:%Y-%m-%d %H:%M:%S},{bar.prices},{bar.volume}"


def read(
    files: Path | Sequence[Path],
    symbol: str | None = "NSE:INFY",
    *,
    rows_in_memory: int = 1 << 21,
    **options: Any,
) -> Recording:
    """Reads files with options as `replay` has them."""
    instrument = DIRECTORY.require_symbol(symbol, "instrument") if symbol else None
    named = [NamedFile(file, instrument) for file in ([files] if isinstance(files, Path) else files)]
    return read_recording(named, DIRECTORY, CALENDAR, reading_options(**options), rows_in_memory)


def ticks_of(files: Path | Sequence[Path], symbol: str | None = "NSE:INFY", **options: Any) -> list[Tick]:
    """The ticks of files."""
    return list(read(files, symbol, **options).ticks(Extent()))


def ticks_of_bars(bars: Sequence[Bar] = BARS, minutes: int = 1, token: int = INFY) -> list[Tick]:
    """The ticks of bars, worked out here: each at its end, with the day's volume so far."""
    made, total = [], 0
    for bar in bars:
        total += bar.volume
        start = int(bar.start.timestamp()) * 10**9
        open_, high, low, close = (round(float(price) * 100) for price in bar[1:5])
        made.append(Tick(token, close, start + minutes * MINUTE_NS, total, start, open_, high, low))
    return made
