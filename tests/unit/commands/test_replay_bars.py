"""`alphapanda replay` on files of bars: intervals that they can't serve are told."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from alphapanda.cli import main


def test_an_interval_that_the_file_cannot_serve_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The replay ends with an error, which says what the interval may be."""
    monkeypatch.chdir(tmp_path)
    rows = [f"2024-01-02 09:{minute}:00,1500,1501,1499,1500,100" for minute in range(15, 60)]
    Path("bars.csv").write_text("\n".join(["datetime_ist,open,high,low,close,volume", *rows]) + "\n")
    chosen = ["--strategy", "momentum", "-p", "interval=30s", "--instrument", "NSE:INFY"]
    result = CliRunner().invoke(main, ["replay", "bars.csv", *chosen])
    assert (result.exit_code, result.stdout) == (2, "")
    recognised, told = result.stderr.splitlines()
    assert recognised.startswith("alphapanda: bars.csv: CSV, 1m bars of NSE:INFY, 45 rows")
    assert told == (
        "alphapanda: strategy momentum, interval: '30s' is not allowed; bars of 30s can't be made from recorded bars of"
        " 1m: set its interval to 1m or 2m or 3m, or give it finer data"
    )


@pytest.mark.parametrize(
    ("product", "more", "said"),
    [("MIS", [], True), ("CNC", [], False), ("MIS", ["--grid", "rsi:period=2,3,interval=1d"], True)],
)
def test_daily_bars_for_a_product_of_a_day_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, product: str, more: list[str], said: bool
) -> None:
    """One line says that MIS is squared off each day, and what holds over night."""
    monkeypatch.chdir(tmp_path)
    rows = [f"2024-01-{day:02},1500,1501,1499,{1500 + day % 3},100" for day in (*range(2, 6), *range(8, 13))]
    Path("bars.csv").write_text("\n".join(["date,open,high,low,close,volume", *rows]) + "\n")
    chosen = more or ["--strategy", "rsi", "-p", "interval=1d", "-p", "period=2"]
    result = CliRunner().invoke(
        main, ["replay", "bars.csv", *chosen, "--product", product, "--instrument", "NSE:INFY"]
    )
    assert result.exit_code == 0, result.stderr
    hints = [
        line for line in result.stderr.splitlines() if "--product CNC holds a position over night" in line
    ]
    assert len(hints) == said


def test_a_symbol_that_is_named_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be traded against itself, or decided twice."""
    monkeypatch.chdir(tmp_path)
    Path("bars.csv").write_text(
        "date,open,high,low,close,volume\n2024-01-02 09:15:00,1500,1501,1499,1500,100\n"
    )
    result = CliRunner().invoke(main, ["replay", "bars.csv", "--set", "pairs@NSE:INFY,NSE:INFY"])
    assert result.exit_code == 2
    assert (
        result.stderr.strip() == "alphapanda: symbols: 'NSE:INFY, NSE:INFY' is not allowed; each symbol once"
    )
