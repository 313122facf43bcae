"""`alphapanda replay`: prices off the grid, wild prints and strange volumes change no figure and are counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner

from alphapanda.cli import main

IST = ZoneInfo("Asia/Kolkata")
TICKS = "ts,instrument_token,last_price,volume"
BARS = "datetime_ist,open,high,low,close,volume"
MEASURED = {"wall_seconds", "ticks_per_second", "peak_rss_mib"}

Replayed = Callable[..., dict[str, Any]]


@pytest.fixture
def replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Replayed:
    """The summary of a replay of these rows, without what measures the run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))

    def run(header: str, rows: Iterable[str], strategy: str, symbol: str) -> dict[str, Any]:
        Path("rows.csv").write_text("\n".join([header, *rows]) + "\n")
        asked = ["replay", "rows.csv", "--set", strategy, "--instrument", symbol, "--json"]
        answer = CliRunner().invoke(main, asked)
        assert answer.exit_code == 0, answer.output
        return {name: value for name, value in json.loads(answer.stdout).items() if name not in MEASURED}

    return run


def ticks(prices: list[str], day: str = "2025-06-10") -> list[str]:
    began = datetime.fromisoformat(f"{day}T09:15:00").replace(tzinfo=IST)
    return [
        f"{(began + timedelta(seconds=10 * n)).isoformat()},408065,{price},{1000 * (n + 1)}"
        for n, price in enumerate(prices)
        if price
    ]


def test_wild_prints_change_nothing_and_are_counted(replayed: Replayed) -> None:
    """Two absurd prices among 1500s: the same signals, fills, profit and drawdown as without them; ticks and bars alike."""
    quiet = [f"{1500 + n % 9 - n // 40}" for n in range(240)]
    wild = list(quiet)
    wild[60], wild[90] = "15000", "0.05"
    quiet[60] = quiet[90] = ""
    for strategy in ("ema_cross:fast=2,slow=5", "ema_cross:fast=2,slow=5,interval=1m"):
        without = replayed(TICKS, ticks(quiet), strategy, "NSE:INFY")
        along = replayed(TICKS, ticks(wild), strategy, "NSE:INFY")
        assert along.pop("dropped") == {"wild": 2}
        assert without.pop("dropped") == {}
        assert along == without
        assert along["signals"] > 5


def test_a_split_over_night_is_believed(replayed: Replayed) -> None:
    """The day after a split opens at a fifth: every tick of it is used, nothing is counted as wild."""
    prices = [f"{1500 + n % 9}" for n in range(60)]
    rows = ticks(prices) + ticks([f"{300 + n % 9}" for n in range(60)], "2025-06-11")
    summary = replayed(TICKS, rows, "ema_cross:fast=2,slow=5", "NSE:INFY")
    assert (summary["ticks"], summary["dropped"]) == (120, {})


@pytest.mark.parametrize(("day", "noted"), [("2024-01-02", {"rounded": 30}), ("2025-06-10", {})])
def test_a_low_priced_stock_keeps_its_rows(replayed: Replayed, day: str, noted: dict[str, int]) -> None:
    """Prices in paise are on the grid of 2025 and are rounded to that of January 2024; no row is lost."""
    began = datetime.fromisoformat(f"{day}T09:15:00")
    rows = [
        f"{began + timedelta(minutes=n):%Y-%m-%d %H:%M:%S},20.8{n % 5},20.9{n % 5},20.7{n % 5},20.8{n % 5},100"
        for n in range(1, 38)
        if n % 5
    ]
    summary = replayed(BARS, rows, "ema_cross:fast=2,slow=5", "NSE:YESBANK")
    assert (summary["ticks"], summary["dropped"], summary["noted"]) == (30, {}, noted)


def test_volumes_that_dip_and_vanish_give_the_same_vwap(replayed: Replayed) -> None:
    """A day's volume that falls for a moment, or to zero, leaves a strategy on volumes its signals; within a bar it leaves no trace."""
    prices = [f"{1500 + (n % 60) // 3}" for n in range(1200)]
    right = ticks(prices)
    strange = list(right)
    for n in (128, 129, 500, 801):
        strange[n] = strange[n].rsplit(",", 1)[0] + (",0" if n < 600 else ",500000")
    strategy = "vwap_reversion:interval=1m"
    assert replayed(TICKS, strange, strategy, "NSE:INFY") == replayed(TICKS, right, strategy, "NSE:INFY")
