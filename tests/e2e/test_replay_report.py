from __future__ import annotations

import csv
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import fork_server

PROGRAM = str(Path(sys.executable).with_name("alphapanda"))


def bars(folder: Path, day: str = "2025-03-10") -> Path:
    """A session that goes up for an hour, down for two, up again."""
    lines, price = ["datetime_ist,open,high,low,close,volume"], 1500
    for minute in range(375):
        price += 1 if minute < 60 or minute > 180 else -1
        at = f"{day} {9 + (15 + minute) // 60:02}:{(15 + minute) % 60:02}:00"
        lines.append(f"{at},{price},{price},{price},{price}.00,10")
    file = folder / "bars.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def replay(*arguments: str) -> subprocess.CompletedProcess[str]:
    return fork_server.run([PROGRAM, "replay", *arguments])


def test_a_report_and_the_trades_are_written(tmp_path):
    """Two strategies at once: the CSV's rows add up to the summary, and the HTML stands alone."""
    report, trades = tmp_path / "r.html", tmp_path / "t.csv"
    done = replay(
        *(str(bars(tmp_path)), "--instrument", "NSE:INFY", "--json"),
        *("--set", "ema_cross:fast=5,slow=20*10", "--set", "ema_cross:fast=10,slow=40@NSE:INFY*20"),
        *("--report", str(report), "--trades", str(trades)),
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    rows = list(csv.DictReader(trades.open()))
    assert len(rows) == summary["fills"] >= 6
    assert {row["strategy"] for row in rows} == {"ema_cross.1", "ema_cross.2"}
    assert sum(Decimal(row["realised"]) for row in rows) == Decimal(summary["realised_pnl"])
    assert sum(Decimal(row["commission"]) for row in rows) == Decimal(summary["charges"])
    assert all(row["position"] == "0" for row in list({r["strategy"]: r for r in rows}.values()))
    page = report.read_text()
    assert "NSE:INFY" in page
    assert "Max drawdown" in page
    assert "<script src=" not in page


def test_what_cannot_be_written_or_read_is_named(tmp_path):
    """A folder that isn't there, a set that doesn't read, no strategy at all: one line each."""
    file = str(bars(tmp_path))
    for arguments, words in (
        (["--set", "ema_cross", "--report", str(tmp_path / "no" / "r.html")], "folder that exists"),
        (["--set", "ema_cross:fast"], "name=value"),
        (["--set", "EMA CROSS"], "--set"),
        ([], "--strategy"),
    ):
        done = replay(file, "--instrument", "NSE:INFY", *arguments)
        assert done.returncode == 2
        assert words in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_day_beyond_the_calendar_is_an_error_and_not_an_empty_result(tmp_path):
    """A recording of 2027 cannot be replayed: the calendar does not cover it, and says which years it does and what to do."""
    done = replay(str(bars(tmp_path, "2027-03-10")), "--instrument", "NSE:INFY", "--strategy", "ema_cross")
    assert done.returncode == 2
    assert "2027-03-10" in done.stderr
    assert "2026-12-31" in done.stderr
    assert "alphapanda calendar import" in done.stderr


def test_a_rise_that_no_year_can_hold_is_reported(tmp_path):
    """A day that multiplies the cash: report and summary are written, and CAGR is n/a because a day is no year."""
    lines = ["datetime_ist,open,high,low,close,volume"]
    for minute in range(200):
        price = 100 + max(0, minute - 30)
        at = f"2025-06-10 {9 + (15 + minute) // 60:02}:{(15 + minute) % 60:02}:00"
        lines.append(f"{at},{price},{price},{price},{price},100")
    file, report, settings = tmp_path / "up.csv", tmp_path / "r.html", tmp_path / "settings.toml"
    file.write_text("\n".join(lines) + "\n")
    settings.write_text("[paper_trading]\nstarting_cash = 1000\n")
    asked = ("--instrument", "NSE:INFY", "--strategy", "ema_cross", "--no-limits", "--config", str(settings))
    done = replay(str(file), *asked, "--quantity", "5", "--report", str(report), "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)["figures"]
    assert figures["cagr"]["value"] is None
    assert figures["cagr"]["reason"] == "a day is no year"
    assert figures["total_return"]["value"] is not None
    assert "n/a: a day is no year" in report.read_text()
