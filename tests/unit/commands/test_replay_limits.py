"""`alphapanda replay --limits FILE`: what the file forbids is refused in the replay, and a bad file is told."""

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


@pytest.fixture
def replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Replays four hours in which moving averages cross often, with more arguments; ten shares of INFY each time."""
    monkeypatch.chdir(tmp_path)
    began = datetime(2024, 1, 2, 9, 20, tzinfo=IST)
    lines = ["datetime_ist,open,high,low,close,volume"]
    for minute in range(240):
        price = 1500 + minute // 6 % 2 * 4
        at = began + timedelta(minutes=minute)
        lines.append(f"{at:%Y-%m-%d %H:%M:%S},{price},{price},{price},{price},100")
    Path("bars.csv").write_text("\n".join(lines) + "\n")

    def run(*arguments: str) -> Result:
        strategy = "ema_cross:fast=2,slow=4@NSE:INFY*10"
        return CliRunner().invoke(
            main, ["replay", "NSE:INFY=bars.csv", "--set", strategy, "--json", *arguments]
        )

    return run


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("limits.toml", "[account]\nmax_daily_trades = 4\n"),
        ("limits.yaml", "strategies:\n  ema_cross:\n    max_strategy_daily_trades: 4\n"),
    ],
)
def test_what_the_file_forbids_is_refused(replayed, name: str, text: str) -> None:
    """The orders over the limit are refused for its reason, and entries stop; without the file all are let through."""
    free = json.loads(replayed().stdout)
    assert free["rejected"] == {}
    assert free["orders"] > 8
    Path(name).write_text(text)
    bound = json.loads(replayed("--limits", name).stdout)
    assert bound["rejected"].keys() == {"DAILY_TRADES"}
    assert 4 <= bound["orders"] < free["orders"]
    assert bound["signals"] == bound["validated"] + sum(bound["rejected"].values())


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("l.toml", "[account]\nmax_daily_trades = \n", "line 2, column 20"),
        ("l.yaml", "account:\n  max_daily_trades: [4\n", "line 3, column 1"),
        ("l.yaml", "account:\n  max_daily_trades: 4\n  max_daily_trades: 5\n", "'max_daily_trades' is there twice (at line 3"),
        ("l.yaml", "account:\n  [max, trades]: 4\n", "a name is expected (at line 2, column 3)"),
        ("l.toml", "[account]\nmax_daily_trades = 'few'\n", "l.toml: account.max_daily_trades: 'few' is not allowed"),
        ("l.yaml", "account:\n  max_daily_trades: -1\n", "l.yaml:2: account.max_daily_trades: '-1' is not allowed"),
        ("l.toml", "[account]\nmax_daily_trade = 4\n", "did you mean 'max_daily_trades'"),
        ("l.toml", '[instruments."NSE:INFI"]\nmax_order_value = 1\n', "did you mean 'NSE:INFY'"),
        ("l.toml", "[strategies.rsi]\nmax_order_value = 1\n", "allowed: ema_cross"),
    ],
)  # fmt: skip
def test_a_malformed_file_is_told_in_one_line(replayed, name: str, text: str, says: str) -> None:
    """Nothing is replayed; file and place, or the field, the value and what is allowed, stand on stderr."""
    Path(name).write_text(text)
    result = replayed("--limits", name)
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("alphapanda: ")
    assert name in line
    assert says in line


def test_a_file_that_is_not_there_is_told(replayed) -> None:
    """The file is named."""
    result = replayed("--limits", "none.toml")
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert "none.toml" in line
