"""`alphapanda replay --report`: equity is sampled when the frames before a sample have had their effects."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from click.testing import CliRunner

from alphapanda.cli import main
from alphapanda.commands import replay_report
from alphapanda.replay.report.page import Report

IST = ZoneInfo("Asia/Kolkata")


def test_samples_follow_the_market(tmp_path: Path, monkeypatch) -> None:
    """While a position is held each minute's sample has the value of its own moment, not of frames to come."""
    monkeypatch.chdir(tmp_path)
    lines = ["datetime_ist,open,high,low,close,volume"]
    for minute in range(120):  # down, then up without an end: bought once, held to the square-off
        price = 1500 - minute if minute < 10 else 1480 + minute
        at = datetime(2024, 1, 2, 9, 20, tzinfo=IST) + timedelta(minutes=minute)
        lines.append(f"{at:%Y-%m-%d %H:%M:%S},{price},{price},{price},{price},100")
    Path("bars.csv").write_text("\n".join(lines) + "\n")
    reports: list[Report] = []

    def rendered(report: Report) -> str:
        reports.append(report)
        return ""

    monkeypatch.setattr(replay_report, "report_html", rendered)
    result = CliRunner().invoke(
        main,
        [
            "replay",
            "NSE:INFY=bars.csv",
            "--set",
            "ema_cross:fast=2,slow=4@NSE:INFY*10",
            "--report",
            "r.html",
            "--json",
        ],
    )
    assert result.exit_code == 0, result.output
    held = reports[0].curves.equity[-60:]
    assert len(held) == 60
    assert held == sorted(set(held))
