"""Bars that lie on the clock: 09:15, 10:00, 11:00 …, as resampling makes them; the session's first one is shorter."""

from __future__ import annotations

import gzip
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.unit.marketdata.data_files import DIRECTORY, IST, OPEN, Bar, bars_of, plain_text, read

from alphapanda.cli import main
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import instant
from alphapanda.marketdata.feeds.extent import Extent
from alphapanda.strategy.core.bars import by_clock

DAYS = tuple(OPEN.replace(day=day) for day in (9, 10, 11, 12, 13))


def by_clock_bars(first: str, minutes: int = 60, *, ends: bool = False) -> list[Bar]:
    """Bars of five days by the clock; the first one is named by this time, the others by their starts (or ends)."""
    made = []
    for day in DAYS:
        hour, minute = map(int, first.split(":"))
        at = day.replace(hour=hour, minute=minute)
        while at < day.replace(hour=16 if ends else 15, minute=30):
            made += bars_of(1, start=at)
            at = at.replace(minute=at.minute // minutes * minutes if minutes < 60 else 0)
            at += timedelta(minutes=minutes)
    return made


def spans(file: Path, **options: str) -> list[tuple[str, str]]:
    """Start and end of the first day's bars."""
    found = [
        tuple(f"{instant(ns).astimezone(IST):%H:%M}" for ns in (tick.bar_start, tick.exchange_time))
        for tick in read(file, **options).ticks(Extent())
    ]
    return found[: len(found) // len(DAYS)]  # type: ignore[return-value]


HOURS = ["09:15", "10:00", "11:00", "12:00", "13:00", "14:00", "15:00", "15:30"]


@pytest.mark.parametrize(
    ("bars", "options"),
    [
        (by_clock_bars("09:15"), {}),
        (by_clock_bars("09:15"), {"bar_interval": "1h"}),
        (by_clock_bars("09:00"), {}),
        (by_clock_bars("09:00"), {"bar_interval": "60m"}),
        (by_clock_bars("10:00", ends=True), {"stamp": "end"}),
    ],
)
def test_hours_by_the_clock_are_known_at_their_ends(tmp_path, bars, options) -> None:
    """The first one begins with the session and ends at 10:00, the last one ends with the session; a line says so."""
    file = tmp_path / "hours.csv"
    file.write_text(plain_text(bars))
    assert spans(file, **options) == list(pairwise(HOURS))
    [line] = read(file, **options).lines(DIRECTORY)
    assert "1h bars" in line
    assert "bars end with the clock, so a session's first one is shorter" in line


def test_ends_by_the_clock_are_not_taken_for_starts(tmp_path) -> None:
    """Days that begin at 10:00 and end after the close are refused, with what to say."""
    file = tmp_path / "hours.csv"
    file.write_text(plain_text(by_clock_bars("10:00", ends=True)))
    with pytest.raises(InvalidInput, match="named by their ends; --stamp end"):
        read(file)


def test_hours_from_the_open_are_not_by_the_clock(tmp_path) -> None:
    """09:15, 10:15 …: each an hour long; half hours by the clock are told from those of the session."""
    file = tmp_path / "hours.csv"
    file.write_text(plain_text([bar for day in DAYS for bar in bars_of(7, 60, day)]))
    assert spans(file)[:2] == [("09:15", "10:15"), ("10:15", "11:15")]
    file.write_text(plain_text(by_clock_bars("09:15", 30)))
    assert spans(file)[:3] == [("09:15", "09:30"), ("09:30", "10:00"), ("10:00", "10:30")]


def test_an_interval_that_hours_by_the_clock_can_not_serve_is_told_with_those_that_they_can(
    tmp_path, monkeypatch
) -> None:
    """By the length of the other bars, and not by that of the first."""
    monkeypatch.chdir(tmp_path)
    Path("hours.csv").write_text(plain_text(by_clock_bars("09:15")))
    result = CliRunner().invoke(
        main, ["replay", "hours.csv", "--strategy", "rsi", "--instrument", "NSE:INFY"]
    )
    assert result.exit_code == 2
    assert "can't be made from recorded bars of 1h: set its interval to 1h or 2h or 1d" in result.stderr


@pytest.mark.parametrize("interval", ["1h", "2h"])
def test_a_strategy_gets_these_bars(tmp_path, monkeypatch, interval) -> None:
    """It decides at their ends; one of 2h gets two hours, the first one what remains of them."""
    monkeypatch.chdir(tmp_path)
    Path("hours.csv").write_text(plain_text(by_clock_bars("09:15")))
    Path("own").mkdir()
    Path("own/ends.py").write_text(
        "from alphapanda.strategy import BarParameters, BarStrategy\n\n\n"
        'class Ends(BarStrategy[BarParameters]):\n    """Writes down its bars."""\n\n'
        '    type_name, parameters_model = "ends", BarParameters\n\n'
        "    def __init__(self, parameters):\n        pass\n\n"
        "    def on_bar(self, bar):\n"
        "        with open('seen', 'a') as seen:\n"
        "            print(bar.start_ns, bar.end_ns, bar.ticks, file=seen)\n"
    )
    chosen = ["--strategy", "ends", "-p", f"interval={interval}", "--instrument", "NSE:INFY"]
    result = CliRunner().invoke(main, ["replay", "hours.csv", *chosen, "--strategies-folder", "own"])
    assert result.exit_code == 0, result.stderr
    seen = [list(map(int, line.split())) for line in Path("seen").read_text().splitlines()]
    shown = [f"{instant(end).astimezone(IST):%H:%M}" for _, end, _ in seen[: len(seen) // len(DAYS)]]
    assert shown == (HOURS[1:] if interval == "1h" else ["10:00", "12:00", "14:00", "15:30"])
    assert instant(seen[0][0]) == DAYS[0]


class Session:
    """Regular hours of a day."""

    open_ns = int(OPEN.timestamp()) * 10**9
    close_ns = open_ns + 375 * 60 * 10**9
    day_open_ns, day_close_ns = open_ns, close_ns


@pytest.mark.parametrize("recorded", [1, 2, 3, 5, 10, 15, 20, 25, 30, 40, 45, 60, 75, 90, 125, 150])
@pytest.mark.parametrize("wanted", [5, 15, 30, 60, 75, 120, 125])
def test_no_bar_that_lies_on_the_session_is_taken_for_one_by_the_clock(recorded, wanted) -> None:
    """Whatever its length, the last one that the close cuts among them, unless that length can't serve the interval at all."""
    minute = 60 * 10**9
    for start in range(0, 375, recorded):
        at, ends = start * minute + Session.open_ns, min(start + recorded, 375) * minute + Session.open_ns
        found = by_clock(wanted * minute, at, ends, Session())  # type: ignore[arg-type]
        assert not found or wanted % recorded


def test_fractions_of_volumes_are_cut_and_counted(tmp_path) -> None:
    """Floats of yfinance and of crypto files are whole units, rounded down; a text is still refused."""
    file = tmp_path / "bars.csv"
    rows = plain_text().splitlines()
    rows[1], rows[2], rows[3] = f"{rows[1]}.0", f"{rows[2]}.75", f"{rows[3]}.5"
    file.write_text("\n".join(rows) + "\n")
    recording = read(file)
    volumes = [tick.volume for tick in recording.ticks(Extent())]
    assert volumes[:3] == [1000, 2001, 3003]
    assert "2 rows with volumes rounded down to whole units" in recording.lines(DIRECTORY)[0]
    file.write_text("\n".join([*rows[:-1], f"{rows[-1]}x"]) + "\n")
    with pytest.raises(InvalidInput, match="column volume"):
        read(file)


@pytest.mark.parametrize(
    ("codec", "shown"),
    [("cp1252", "cp1252"), ("utf-32", "UTF-32"), ("utf-32-le", "UTF-32"), ("utf-32-be", "UTF-32")],
)
def test_another_encoding_is_named_with_the_remedy(tmp_path, codec, shown) -> None:
    """One line names the file, the encoding and how to convert it."""
    file = tmp_path / "bars.csv"
    text = plain_text().replace("close", "close (£)" if codec == "cp1252" else "close")
    file.write_bytes(text.encode(codec))
    with pytest.raises(
        InvalidInput, match=f"seems to be {shown}.*iconv -f {shown.upper()} -t UTF-8 bars.csv"
    ):
        read(file)


def test_a_packed_file_in_another_encoding_is_unpacked_first(tmp_path) -> None:
    """The remedy works as it is written."""
    file = tmp_path / "bars.csv.gz"
    file.write_bytes(gzip.compress(plain_text().encode("utf-32")))
    with pytest.raises(
        InvalidInput, match=r"`gunzip -c bars.csv.gz \| iconv -f UTF-32 -t UTF-8 > utf8-bars.csv`"
    ):
        read(file)


def test_a_stray_byte_far_down_is_named_alike(tmp_path) -> None:
    """Beyond what is looked at first."""
    file = tmp_path / "bars.csv"
    rows = plain_text([bar for day in DAYS for bar in bars_of(375, 1, day)] * 4).encode()
    begins = datetime(2025, 6, 16, 9, 15, tzinfo=IST)
    file.write_bytes(
        rows + plain_text(bars_of(2, start=begins)).split("\n", 1)[1].encode().replace(b"1000", b"\x961000")
    )
    with pytest.raises(InvalidInput, match="seems to be cp1252"):
        read(file, on_conflict="last")
