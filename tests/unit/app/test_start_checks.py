"""What a start shows of its checks: brokers one by one, strategies that can't trade as configured, and the table of all."""

from __future__ import annotations

import io
import re
from datetime import date
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from alphapanda.app.active_strategies import check_strategies
from alphapanda.app.preflight import StartCheck, blocking
from alphapanda.commands import start_checks
from alphapanda.instruments.core import shipped_instruments
from alphapanda.strategy.core.config import StrategyState

TYPES = ("ema_cross",)
DIRECTORY = shipped_instruments(date(2026, 11, 30))


def strategy(name: str, state: StrategyState = StrategyState.RUNNING, **more: Any) -> Any:
    usual = {
        "strategy_type": "ema_cross",
        "instruments": (SimpleNamespace(instrument_id="NSE:INFY"),),
        "brokers": ("paper",),
    }
    return SimpleNamespace(strategy_id=name, state=state, **(usual | more))


GONE = (SimpleNamespace(instrument_id="NSE:GONE"),)


@pytest.mark.parametrize(
    ("configs", "passed", "detail"),
    [
        ([], False, "0 running: nothing trades before one is started"),
        (
            [strategy("a", StrategyState.STOPPED, strategy_type="gone")],
            False,
            "0 running, 1 stopped: nothing trades before one is started",
        ),
        ([strategy("a"), strategy("b", StrategyState.STOPPED)], True, "1 running, 1 stopped"),
        ([strategy("a", strategy_type="mine")], False, "1 running; a: type 'mine' isn't known"),
        ([strategy("a", brokers=("zerodha",))], False, "1 running; a: broker 'zerodha' is off"),
        (
            [strategy(name, instruments=GONE) for name in "abcde"],
            False,
            "5 running; a: NSE:GONE isn't listed; b: NSE:GONE isn't listed; c: NSE:GONE isn't listed; and 2 more",
        ),
    ],
)
def test_strategies_that_cannot_trade_as_configured_are_named(configs, passed, detail) -> None:
    """What keeps a running one from it is named and blocks nothing; a stopped one needs nothing."""
    check = check_strategies(configs, TYPES, DIRECTORY, ("paper",))
    assert (check.passed, check.detail, check.blocks) == (passed, detail, False)


def test_the_demo_brings_strategies_of_its_own() -> None:
    """So its first start has none yet, and nothing is wrong with that."""
    check = check_strategies([], TYPES, DIRECTORY, ("paper",), demo=True)
    assert (check.passed, check.detail) == (True, "0 running; the demo's start next")


CHECKS = [
    StartCheck("database", "answers", passed=True, blocks=True),
    StartCheck("broker zerodha", "active but not enabled", passed=False, blocks=False),
    StartCheck("topics", "missing: market.ticks", passed=False, blocks=True),
]


def test_only_what_blocks_ends_a_start() -> None:
    """The others are shown."""
    assert blocking(CHECKS) == "topics: missing: market.ticks"
    assert not blocking(CHECKS[:2])


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_shows_one_table(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> None:
    """A row for each check, with its result and what it found; a pipe has the log's lines instead."""
    told = io.StringIO()
    console = Console(file=told, force_terminal=terminal, width=80, no_color=True, highlight=False)
    monkeypatch.setattr(start_checks, "out", cast("Any", console))
    start_checks.show_checks(CHECKS)
    plain = re.sub(r"\x1b\[\d*m", "", told.getvalue())
    lines = [line.split() for line in plain.splitlines()]
    rows = [
        ["database", "ok", "answers"],
        ["broker", "zerodha", "warn", "active", "but", "not", "enabled"],
        ["topics", "fail", "missing:", "market.ticks"],
    ]
    assert lines[1:] == (rows if terminal else [])
