"""What `alphapanda replay` shows on a terminal while it works."""

from __future__ import annotations

import io

import pytest
from click.testing import CliRunner
from rich.console import Console

from alphapanda.cli import main
from alphapanda.commands import replaying


def test_the_bar_reaches_its_end(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The day that is played, and a bar that has an end and comes to it; the summary is not disturbed by it."""
    shown = io.StringIO()
    monkeypatch.setattr(replaying, "err", Console(file=shown, force_terminal=True, width=120))
    file = tmp_path / "bars.csv"
    bars = (
        f"2025-03-10 {9 + at // 60:02}:{at % 60:02}:00,1500,1506,1500,{1500 + at % 7},10"
        for at in range(15, 315)
    )
    file.write_text("\n".join(("datetime_ist,open,high,low,close,volume", *bars)))
    asked = ["replay", str(file), "--instrument", "NSE:INFY", "--strategy", "ema_cross", "--json"]
    answer = CliRunner().invoke(main, asked, catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    assert answer.stdout.startswith("{")
    assert "replaying 2025-03-10" in shown.getvalue()
    assert "100%" in shown.getvalue()
