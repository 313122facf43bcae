"""`alphapanda replay --grid`: many sets over the same data, each as if it were alone."""

from __future__ import annotations

import csv
import json
import multiprocessing
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner, Result

from alphapanda.cli import main
from alphapanda.commands import sweeping

IST = ZoneInfo("Asia/Kolkata")
OWN_TYPE = '''
"""Buys below a price, while it holds nothing."""

from typing import ClassVar

from pydantic import Field

from alphapanda.strategy.core.strategy import Stance, Strategy, StrategyParameters, Target


class BelowParameters(StrategyParameters):
    """When it buys."""

    price: int = Field(100, ge=1, le=10_000, description="rupees")


class Below(Strategy[BelowParameters]):
    """Long below a price while it holds nothing, flat above it."""

    type_name: ClassVar[str] = "below"
    parameters_model: ClassVar[type[StrategyParameters]] = BelowParameters
    wants_position: ClassVar[bool] = True

    def __init__(self, parameters: BelowParameters) -> None:
        self._price = parameters.price

    def on_tick(self, price: float, time_ns: int) -> Target | None:
        if price < self._price and not self.context.position.quantity:
            return Target(Stance.LONG, "below")
        if price > self._price and self.context.position.quantity:
            return Target(Stance.FLAT, "above")
        return None

    def state(self):
        return None

    def restore(self, state):
        pass
'''


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six days of a walk, with a bar outside of the session on each."""
    chance, price = random.Random(3), 1500.0
    lines = ["datetime_ist,open,high,low,close,volume"]
    for day in (1, 2, 3, 4, 5, 8):
        for minute in range(376):
            price = max(100.0, price + chance.choice((-2.0, -1.0, 0.0, 1.0, 2.0)))
            at = datetime(2024, 1, day, 9, 15, tzinfo=IST) + timedelta(minutes=minute)
            lines.append(f"{at:%Y-%m-%d %H:%M:%S},{price},{price},{price},{price},100")
    file = tmp_path_factory.mktemp("sweep") / "bars.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def asked(bars: Path, *arguments: str) -> Result:
    return CliRunner().invoke(
        main,
        ["replay", str(bars), "--instrument", "NSE:INFY", "--no-limits", "--allow-drops", *arguments],
        catch_exceptions=False,
    )


def answered(bars: Path, *arguments: str) -> dict[str, Any]:
    result = asked(bars, "--json", *arguments)
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def values(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: figure["value"] for name, figure in figures.items()}


def test_each_set_is_as_if_it_were_alone(bars: Path) -> None:
    """On ticks and on bars, on one core and on two: the same figures as a replay of the set alone."""
    grids = ("--grid", "ema_cross:fast=2,5,slow=8,12*10", "--grid", "sma_cross:fast=3,slow=9,15*10")
    two, one = (answered(bars, *grids, "--workers", workers) for workers in ("2", "1"))
    assert two["sets"] == one["sets"]
    assert len(two["sets"]) == 6
    nets = [float(each["figures"]["net_pnl"]) for each in two["sets"]]
    assert nets == sorted(nets, reverse=True)
    for each in two["sets"]:
        parameters = ",".join(f"{name}={value}" for name, value in each["parameters"].items())
        alone = answered(bars, "--set", f"{each['strategy']}:{parameters}*10")
        assert alone["fills"] > 10
        assert values(alone["figures"]) == each["figures"]


def test_a_strategy_that_reads_its_position_is_swept_too(bars: Path, tmp_path: Path) -> None:
    """It has a host of its own; its file is loaded as in a replay."""
    (tmp_path / "below.py").write_text(OWN_TYPE)
    folder = ("--strategies-folder", str(tmp_path))
    swept = answered(bars, *folder, "--grid", "below:price=1495,1505*10")
    assert len(swept["sets"]) == 2
    best = swept["sets"][0]
    alone = answered(bars, *folder, "--set", f"below:price={best['parameters']['price']}*10")
    assert alone["fills"] > 2
    assert values(alone["figures"]) == best["figures"]


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (["--strategy", "ema_cross"], "one set alone is tried, so there is nothing to rank"),
        (["--set", "ema_cross", "--set", "rsi"], "2 sets are tried each alone, with cash of its own"),
        (["--set", "ema_cross", "--set", "rsi", "--each-alone"], None),
    ],
)
def test_what_a_csv_makes_of_strategies_is_said(
    bars: Path, tmp_path: Path, chosen: list[str], said: str
) -> None:
    """An option of a sweep makes one of strategies that no grid varies, and a line says so."""
    result = asked(bars, *chosen, "--csv", str(tmp_path / "sets.csv"), "--to", "2024-01-01")
    assert result.exit_code == 0, result.stderr
    told = [line for line in result.stderr.splitlines() if "alone" in line]
    assert len(told) == (said is not None)
    assert all(said in line for line in told)


def test_walk_forward_tries_the_best_of_days_before(bars: Path, tmp_path: Path) -> None:
    """Windows of two days and two; CSV and report are written; the joined figures are the windows'."""
    table, report = tmp_path / "s.csv", tmp_path / "r.html"
    files = ("--csv", str(table), "--report", str(report))
    found = answered(bars, "--grid", "ema_cross:fast=2,5,slow=8,12*10", "--walk-forward", "2d/2d", *files)
    windows = found["walk_forward"]["windows"]
    assert [(each["train_from"], each["train_to"], each["test_from"], each["test_to"]) for each in windows] == [
        ("2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"),
        ("2024-01-03", "2024-01-04", "2024-01-05", "2024-01-08"),
    ]  # fmt: skip
    joined = found["walk_forward"]["out_of_sample"]
    assert sum(float(each["net_pnl"]) for each in windows) == pytest.approx(float(joined["net_pnl"]))
    assert sum(each["round_trips"] for each in windows) == joined["round_trips"] > 5
    assert joined["trading_days"] == len(found["walk_forward"]["days"]) == 4
    rows = list(csv.DictReader(table.open()))
    assert [row["net_pnl"] for row in rows] == [each["figures"]["net_pnl"] for each in found["sets"]]
    assert {row["fast"] for row in rows} == {"2", "5"}
    page = report.read_text()
    for text in (
        "4 sets of ema_cross on NSE:INFY",
        "Out of sample",
        "fast ↓ slow →",
        "ema_cross fast=2 slow=8",
    ):
        assert text in page
    assert "₹" in page


def test_files_too_large_for_memory_are_read_again(bars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then every group of sets reads them itself, with the same result."""
    grid = ("--grid", "ema_cross:fast=2,5,slow=8*10")
    held = answered(bars, *grid)
    monkeypatch.setattr(sweeping, "HELD_FRAMES", 100)
    again = answered(bars, *grid)
    assert again["sets"] == held["sets"]
    assert again["ticks"] == held["ticks"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--grid", "ema_cross:fast=9..5,slow=20"], "--grid fast"),
        (["--grid", "ema_cross:fast=1..40,slow=50..90"], "at most 1,000"),
        (["--grid", "ema_cross:fast=2,5,slow=8", "--walk-forward", "60d/20d"], "6 trading days"),
        (["--strategy", "ema_cross", "--walk-forward", "3d/1d"], "two sets or more to choose from"),
        (["--grid", "ema_cross:fast=2,slow=8", "--walk-forward", "9"], "60d/20d"),
        (["--grid", "ema_cross:fast=2,slow=8", "--walk-forward", "3d/1d", "--rank-by", "sharpe"], "below 20"),
        (["--grid", "ema_cross:fast=2,slow=8", "--trades", "t.csv"], "--trades"),
        (["--walk-forward", "3d/1d"], "--strategy"),
        (["--grid", "ema_cross:fast=2,slow=8@NSE:INFYY"], "NSE:INFY"),
        (["--grid", "ema_cross:fast=2,slow=8,interval=30s"], "interval"),
    ],
)
def test_what_cannot_be_swept_is_one_line(bars: Path, arguments: list[str], words: str) -> None:
    """It names the option, the value, and what is allowed."""
    result = asked(bars, *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert len([line for line in result.stderr.strip().splitlines() if "rows" not in line]) == 1


def test_sets_can_be_tried_each_alone(bars: Path) -> None:
    """--set without a grid, ranked by another measure; the table says what is left out of it."""
    sets = ("--set", "ema_cross:fast=2,slow=8*10", "--set", "rsi:period=5*10", "--each-alone")
    result = asked(bars, *sets, "--rank-by", "max_drawdown_at_days_ends")
    assert result.exit_code == 0, result.output
    assert "ranked by Max drawdown at days' ends" in result.stdout
    assert "ema_cross fast=2 slow=8" in result.stdout
    assert "2 sets over" in result.stdout


def test_what_a_worker_refuses_is_one_line(bars: Path, tmp_path: Path) -> None:
    """Bars of two minutes can't make bars of one: the worker's error is the command's."""
    lines = bars.read_text().splitlines()
    file = tmp_path / "two.csv"
    file.write_text("\n".join([lines[0], *lines[1:377:2]]) + "\n")
    result = asked(file, "--grid", "sma_cross:fast=3,slow=9,15,interval=1m", "--workers", "2")
    assert result.exit_code == 2
    assert "interval" in result.stderr.splitlines()[-1]


def test_ctrl_c_ends_the_workers(bars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command is aborted, and no worker goes on."""

    @contextmanager
    def interrupted(_sets: int) -> Iterator[Callable[[float], None]]:
        def shown(_share: float) -> None:
            raise KeyboardInterrupt

        yield shown

    monkeypatch.setattr(sweeping, "_progress", interrupted)
    result = asked(bars, "--grid", "ema_cross:fast=2,5,slow=8", "--workers", "2")
    assert result.exit_code == 1
    assert "Aborted" in result.output
    assert multiprocessing.active_children() == []
