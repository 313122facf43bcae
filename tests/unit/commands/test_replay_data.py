"""`alphapanda replay`: a run that used almost nothing of its data is an error, and every count is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner, Result

from alphapanda.cli import main

IST = ZoneInfo("Asia/Kolkata")
TUESDAY = datetime(2024, 1, 2, 9, 15, tzinfo=IST)
SATURDAY = datetime(2024, 1, 6, 9, 15, tzinfo=IST)
EVENING = datetime(2024, 1, 2, 16, 15, tzinfo=IST)


def ticks(began: datetime, count: int = 300, token: int = 408065, bad: int = 0) -> list[str]:
    """Ticks of INFY a minute apart; the price of the first `bad` is no price."""
    return [
        f"{(began + timedelta(minutes=at)).isoformat()},{token},{0 if at < bad else 1500 + at % 7}"
        for at in range(count)
    ]


def test_a_strategy_that_sees_its_instruments_together_needs_rows_of_all(replayed) -> None:
    """With one leg of a pair missing nothing can be traded: that is said, not shown as a result of zero."""
    pair = ("--set", "pairs:lookback=5@NSE:INFY,NSE:TCS")
    missing = replayed(ticks(TUESDAY), *pair)
    assert missing.exit_code == 2
    assert (
        "strategy pairs sees its instruments together, and the data has no row of NSE:TCS" in missing.stderr
    )
    whole = sorted(ticks(TUESDAY) + ticks(TUESDAY, token=2953217))
    assert replayed(whole, *pair).exit_code == 0


@pytest.fixture
def replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Replays these rows of ticks, with more arguments."""
    monkeypatch.chdir(tmp_path)

    def run(rows: list[str], *arguments: str) -> Result:
        Path("ticks.csv").write_text("\n".join(["ts,instrument_token,last_price", *rows]) + "\n")
        strategy = "ema_cross:fast=2,slow=4@NSE:INFY*10"
        return CliRunner().invoke(main, ["replay", "ticks.csv", "--set", strategy, *arguments])

    return run


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (
            ticks(TUESDAY, bad=4),
            "4 of 300 rows (1.3%) were not used: not positive (their price isn't above 0)",
        ),
        (ticks(TUESDAY, token=99), "none of the 300 rows could be used: 300 unknown instrument"),
        (ticks(TUESDAY, token=99), "tokens 99"),
        (ticks(TUESDAY, token=99), "`alphapanda instruments import FILE`"),
        (ticks(SATURDAY), "no row lies in a session: 300 no trading day"),
        (ticks(SATURDAY), "the first: Sat 2024-01-06 09:15:00"),
        (ticks(EVENING), "no row lies in a session: 300 outside session"),
        (ticks(TUESDAY, 30) + ticks(SATURDAY, 30), "30 of 60 rows (50.0%) were not used: no trading day"),
        (ticks(TUESDAY, token=60417), "strategy ema_cross saw no row: the data has none of NSE:INFY"),
        (ticks(TUESDAY, token=60417), "it has NSE:ASIANPAINT"),
        ([], "the data has no row"),
    ],
)
def test_a_run_that_used_almost_nothing_is_an_error(replayed, rows: list[str], says: str) -> None:
    """One line says why, and how to go on; there are no figures that look like a result."""
    result = replayed(rows, "--json")
    assert result.exit_code == 2
    assert result.stdout == ""
    *_, line = result.stderr.splitlines()
    assert line.startswith("alphapanda: this run is no result: ")
    assert says in line
    assert not rows or "--allow-drops" in line


def test_what_was_not_used_may_be_allowed(replayed) -> None:
    """With --allow-drops the same line is a warning, and the summary and the report name the counts."""
    result = replayed(ticks(TUESDAY, bad=4), "--json", "--allow-drops", "--report", "r.html")
    assert result.exit_code == 0
    summary = json.loads(result.stdout)
    assert (summary["ticks"], summary["dropped"]) == (296, {"not_positive": 4})
    assert "4 of 300 rows (1.3%)" in result.stderr
    assert "not_positive" in Path("r.html").read_text()


def test_few_rows_that_were_dropped_are_counted(replayed) -> None:
    """Up to one row in a hundred is no error; rows after the close are counted, too."""
    late = ticks(TUESDAY + timedelta(hours=6, minutes=30), 3)
    result = replayed(ticks(TUESDAY, bad=3) + late, "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["dropped"] == {"not_positive": 3}
    assert summary["unused"] == {"outside_session": 3}
    told = result.stderr.splitlines()
    assert "alphapanda: 3 of 303 rows (1.0%) were not used: not positive (their price isn't above 0)" in told


def test_a_closing_bar_lies_in_its_session(replayed) -> None:
    """A bar belongs to the session that holds its start, although its close is known after that session."""
    lines = ["datetime_ist,open,high,low,close,volume"]
    for minute in range(375):
        at = TUESDAY + timedelta(minutes=minute)
        lines.append(f"{at:%Y-%m-%d %H:%M:%S},1500,1500,1500,1500,10")
    Path("bars.csv").write_text("\n".join(lines) + "\n")
    asked = ["replay", "bars.csv", "--instrument", "NSE:INFY", "--strategy", "ema_cross", "--json"]
    summary = json.loads(CliRunner().invoke(main, asked).stdout)
    assert (summary["ticks"], summary["dropped"], summary["unused"]) == (375, {}, {})


def test_two_instruments_of_one_file_are_not_taken_for_one(replayed) -> None:
    """Beside rows of the given instrument, rows of an unknown one are an error, which says how to make it known."""
    lines = ["symbol,datetime,open,high,low,close,volume"]
    for symbol in ("NSE:INFY", "NSE:XYZ"):
        lines += [f"{symbol},2024-01-02 09:{minute:02}:00,100,101,99,100,10" for minute in range(15, 60)]
    Path("bars.csv").write_text("\n".join(lines) + "\n")
    asked = ["replay", "bars.csv", "--instrument", "NSE:INFY", "--strategy", "ema_cross"]
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 2
    assert "column symbol: 'NSE:XYZ' is not allowed" in result.stderr
    assert "`alphapanda instruments import FILE`" in result.stderr
