"""`alphapanda replay --report`: equity is sampled when the frames before a sample have had their effects."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from click.testing import CliRunner

from alphapanda.cli import main
from alphapanda.commands import replaying
from alphapanda.replay.journal import ReplayJournal

IST = ZoneInfo("Asia/Kolkata")


def test_samples_follow_the_market(tmp_path: Path, monkeypatch) -> None:
    """While a position is held each five minutes' sample has the value of its own moment, not of frames to come."""
    monkeypatch.chdir(tmp_path)
    lines = ["datetime_ist,open,high,low,close,volume"]
    for minute in range(120):  # down, then up without an end: bought once, held to the square-off
        price = 1500 - minute if minute < 10 else 1480 + minute
        at = datetime(2024, 1, 2, 9, 20, tzinfo=IST) + timedelta(minutes=minute)
        lines.append(f"{at:%Y-%m-%d %H:%M:%S},{price},{price},{price},{price},100")
    Path("bars.csv").write_text("\n".join(lines) + "\n")
    journals: list[ReplayJournal] = []

    def report(_title, _summary, _figures, journal: ReplayJournal, _directory) -> str:
        journals.append(journal)
        return ""

    monkeypatch.setattr(replaying, "report_html", report)
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
    equities = [sample.equity for sample in journals[0].samples]
    held = equities[-12:]
    assert len(held) == 12
    assert held == sorted(set(held))
