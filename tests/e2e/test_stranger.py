"""A stranger on a Saturday: from a strategy of 15 lines to a stop and a restart that changes nothing, by commands alone."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fork_server
import pytest
from recordings import walk
from running import ALPHAPANDA, Platform, until

PROGRAM = ALPHAPANDA[0]
NAME = "zigzag"
STRATEGY = """
from alphapanda.strategy import Bar, BarParameters, BarStrategy, Field, Stance, Wish

class Parameters(BarParameters):
    step: float = Field(0.0, ge=0, le=10, description="percent a close has to differ from the last one")

class Zigzag(BarStrategy[Parameters]):
    type_name, parameters_model = "zigzag", Parameters

    def __init__(self, parameters: Parameters) -> None:
        self.step, self.last = parameters.step, 0.0

    def on_bar(self, bar: Bar) -> Wish | None:
        change, self.last = bar.close - self.last, bar.close
        stance = Stance.LONG if change > self.last * self.step / 100 else Stance.SHORT
        return Wish(stance, f"close {bar.close} after {bar.close - change}")
"""


class Stranger:
    """Somebody at a terminal, in a folder of their own.

    Args:
        home: the folder.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.target = ""
        self.folder = home / "strategies"

    def run(self, *arguments: str, code: int = 0) -> str:
        """What a command says; it ends with `code`."""
        asks = (
            [] if not self.target or arguments[0] in {"replay", "new-strategy"} else ["--target", self.target]
        )
        done = fork_server.run(
            [PROGRAM, *arguments, *asks], cwd=self.home, env=os.environ | {"COLUMNS": "200"}, timeout=120
        )
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def ask(self, *arguments: str) -> Any:
        """A command's answer as JSON."""
        return json.loads(self.run(*arguments, "--json"))

    def positions(self) -> dict[str, int]:
        """Units held by this strategy, by symbol."""
        held = self.ask("positions", "--strategy", NAME).get("positions", [])
        return {one["symbol"]: int(one["quantity"]) for one in held}

    def orders(self) -> list[dict[str, Any]]:
        """The strategy's orders, the newest first."""
        found: list[dict[str, Any]] = self.ask("orders", "--strategy", NAME).get("orders", [])
        return found


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    with tempfile.TemporaryDirectory(prefix="panda-") as folder:
        yield Stranger(Path(folder))


def test_a_stranger_on_a_saturday(stranger: Stranger) -> None:
    """Writes, replays, runs, changes, watches, is refused, squares off, stops and finds everything as it was."""
    writes_a_strategy(stranger)
    replays_it(stranger)
    environment = {"ALPHAPANDA_STRATEGY__FOLDER": str(stranger.folder)}
    with Platform(stranger.home / "data", "--demo", environment=environment) as platform:
        platform.start()
        stranger.target = platform.target
        runs_it(stranger)
        changes_it(stranger)
        sees_it(stranger)
        is_refused(stranger)
        squares_off(stranger)
        platform.come_to_rest()
        before = state_of(stranger)
        platform.stop()

        platform.start()
        stranger.target = platform.target
        assert state_of(stranger) == before
        platform.stop()


def writes_a_strategy(stranger: Stranger) -> None:
    """A file of 15 lines, begun by `new-strategy`, whose own test shows how to test it."""
    assert len([line for line in STRATEGY.splitlines() if line.strip()]) <= 15
    stranger.run("new-strategy", NAME, "--folder", "strategies")
    (stranger.folder / f"test_{NAME}.py").unlink()
    (stranger.folder / f"{NAME}.py").write_text(STRATEGY, encoding="utf-8")


def replays_it(stranger: Stranger) -> None:
    """The recording gives a report that can be opened without a network."""
    file = walk(stranger.home)
    told = stranger.run(
        *("replay", str(file), "--instrument", "NSE:INFY", "--strategies-folder", "strategies"),
        *("--strategy", NAME, "-p", "step=0.02", "--quantity", "5", "--report", "report.html", "--json"),
    )
    summary, _ = json.JSONDecoder().raw_decode(
        told, told.index("{")
    )  # what is said beside it stands around it here
    assert summary["orders"] > 10
    assert "<html" in (stranger.home / "report.html").read_text(encoding="utf-8")[:200].lower()


def runs_it(stranger: Stranger) -> None:
    """It trades beside the demo's strategies."""
    stranger.run(
        *("strategies", "create", NAME, "--name", NAME, "--instrument", "NSE:INFY"),
        *("-p", "interval=1s", "--quantity", "5", "--start"),
    )
    until(lambda: len(stranger.orders()) >= 3, 60, "three orders of it")


def changes_it(stranger: Stranger) -> None:
    """A parameter that isn't allowed is refused by name; one that is takes effect while it runs."""
    refusal = stranger.run("strategies", "change", NAME, "-p", "step=11", code=1)
    assert "step" in refusal
    assert "11" in refusal
    revision = int(stranger.ask("strategies", "show", NAME)["strategy"]["revision"])
    stranger.run("strategies", "change", NAME, "-p", "step=0.001", "--keep")
    changed = stranger.ask("strategies", "show", NAME)["strategy"]
    assert changed["parameters"]["step"] == "0.001"
    assert int(changed["revision"]) == revision + 1
    orders = len(stranger.orders())
    until(lambda: len(stranger.orders()) > orders, 60, "an order of the new revision")


def sees_it(stranger: Stranger) -> None:
    """The strategy is in the live view, its new revision on the list, every service in the status."""
    seen = stranger.run("watch", "--once")
    assert NAME in seen
    assert "equity" in seen
    assert NAME in stranger.run("strategies")
    assert "risk" in stranger.run("status")


def is_refused(stranger: Stranger) -> None:
    """A limit of its own stops it, and the verdict names rule, limit, what was observed, and how much would pass."""
    stranger.run("risk", "set", "max_order_quantity=2", "--strategy", NAME, "--reason", "learning")
    refused = ("risk", "verdicts", "--refused", "--strategy", NAME)
    until(lambda: "an order of 5 units is over the limit of 2" in stranger.run(*refused), 60, "a refusal")
    verdict = next(one for one in stranger.ask(*refused)["verdicts"] if one["reason"] == "ORDER_QUANTITY")
    (failed,) = [rule for rule in verdict["rules"] if rule["outcome"] == "RULE_OUTCOME_FAILED"]
    assert failed["limit"] == "<= 2"
    assert int(verdict["largestQuantity"]) == 2
    assert failed["message"] in stranger.run("risk", "verdict", verdict["signalId"])


def squares_off(stranger: Stranger) -> None:
    """It trades again with less, is stopped, and squared off it holds nothing."""
    stranger.run("strategies", "change", NAME, "--quantity", "2")
    until(lambda: any(stranger.positions().values()), 60, "a position")
    stranger.run("strategies", "stop", NAME)
    until(lambda: not [one for one in stranger.orders() if "leavesQuantity" in one], 30, "no open order")
    stranger.run("orders", "square-off", "--strategy", NAME, "--reason", "enough for today")
    until(lambda: set(stranger.positions().values()) <= {0}, 30, "a flat position")


def state_of(stranger: Stranger) -> dict[str, Any]:
    """All that a restart must not change."""
    return {
        "positions": [settled(one) for one in stranger.ask("positions", "--flat")["positions"]],
        "strategies": stranger.ask("strategies"),
        "limits": stranger.ask("risk", "limits", "--strategy", NAME),
        "verdicts": stranger.ask("risk", "verdicts", "--strategy", NAME),
        "orders": stranger.ask("orders"),
        "ledger": json.loads(
            stranger.run("call", "PortfolioService/ListLedgerEntries", '{"pageSize": 1000}')
        ),
        "cash": json.loads(stranger.run("call", "PortfolioService/GetPortfolio"))["portfolio"]["cash"],
    }


def settled(position: dict[str, Any]) -> dict[str, Any]:
    """A position without what the market goes on to change: its price, and the profit that depends on it."""
    return {name: value for name, value in position.items() if name not in {"lastPrice", "profit"}} | {
        name: position["profit"][name] for name in ("realisedPnl", "charges")
    }
