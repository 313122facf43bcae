"""`alphapanda replay` with little cash, and with an account for each strategy."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner, Result

from alphapanda.cli import main

IST = ZoneInfo("Asia/Kolkata")
SETS = (
    "ema_cross:fast=2,slow=4@NSE:INFY*100",
    "ema_cross:fast=3,slow=6@NSE:INFY*150",
    "rsi:period=3@NSE:INFY*400",
)


@pytest.fixture
def replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Replays two hours in which prices swing."""
    monkeypatch.chdir(tmp_path)
    began = datetime(2024, 1, 2, 9, 20, tzinfo=IST)
    lines = ["datetime_ist,open,high,low,close,volume"]
    for minute in range(120):
        price = 1500 + minute // 6 % 2 * 4 + minute % 5
        at = began + timedelta(minutes=minute)
        lines.append(f"{at:%Y-%m-%d %H:%M:%S},{price},{price},{price},{price},100")
    Path("bars.csv").write_text("\n".join(lines) + "\n")

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["replay", "NSE:INFY=bars.csv", *arguments])

    return run


def sets(*texts: str) -> list[str]:
    return [part for text in texts for part in ("--set", text)]


def books(summary: dict[str, Any]) -> dict[str, Any]:
    return {name: summary[name] for name in ("cash", "equity", "realised_pnl", "unrealised_pnl", "charges")}


def test_what_the_cash_can_not_pay_is_refused_and_said(replayed, monkeypatch) -> None:
    """The entries are counted under their reason, the first is explained on one line, and the setting turns it off."""
    monkeypatch.setenv("ALPHAPANDA_PAPER_TRADING__STARTING_CASH", "10000")
    poor = replayed(*sets(SETS[0]), "--json")
    found = json.loads(poor.stdout)
    assert found["rejected"].keys() == {"BUYING_POWER"}
    assert (found["orders"], found["unpaid"]) == (0, found["signals"])
    [line] = [line for line in poor.stderr.splitlines() if "entries were not paid" in line]
    assert "rupees of margin and charges, account 'default' has 10000.00 available; 3" in line
    monkeypatch.setenv("ALPHAPANDA_PAPER_TRADING__BUYING_POWER", "false")
    free = json.loads(replayed(*sets(SETS[0]), "--json").stdout)
    assert (free["unpaid"], free["rejected"]) == (0, {})
    assert "needn't be paid" in free["assumptions"]["funds"]


def test_a_gap_before_the_fill_is_paid_or_not_filled(replayed) -> None:
    """Delivery of all the cash, and an open a tenth higher: nothing is bought, nothing is owed, and the summary says why."""
    prices = [*[1500] * 12, 1510, *[1650] * 9, 1400]
    began = datetime(2024, 1, 2, 9, 20, tzinfo=IST)
    lines = [
        f"{began + timedelta(minutes=at):%Y-%m-%d %H:%M:%S},{price},{price},{price},{price},100"
        for at, price in enumerate(prices)
    ]
    Path("bars.csv").write_text("\n".join(["datetime_ist,open,high,low,close,volume", *lines]) + "\n")
    gone = replayed(
        *("--strategy", "ema_cross", "-p", "fast=2", "-p", "slow=4", "-p", "interval=1m"),
        *("--quantity", "100%", "--product", "CNC", "--json"),
    )
    found = json.loads(gone.stdout)
    assert (found["orders"], found["fills"], found["unpaid"], found["cash"]) == (1, 0, 1, "1000000.00")
    [line] = [line for line in gone.stderr.splitlines() if "1 entry was not paid" in line]
    assert "insufficient funds: BUY" in line


def test_a_size_that_buys_no_unit_is_said(replayed) -> None:
    """A run that traded nothing because its size is below one share's price says so on one line, with the price."""
    small = replayed("--set", "rsi:period=3@NSE:INFY*900INR", "--json")
    found = json.loads(small.stdout)
    assert (found["orders"], found["unpaid"]) == (0, 0)
    [line] = [line for line in small.stderr.splitlines() if "entries came to no units" in line]
    assert line.startswith(
        f"alphapanda: {found['rejected']['SIZE']} entries came to no units, the first: 900.00 rupees buy no"
    )


def test_strategies_with_own_accounts_are_as_if_alone(replayed, monkeypatch) -> None:
    """Each one's account ends as a replay of it alone with that cash; what one can't pay takes nothing from another."""
    monkeypatch.setenv(
        "ALPHAPANDA_PAPER_TRADING__SLIPPAGE_PERCENT", "0"
    )  # it is drawn by the strategy's name
    together = json.loads(replayed(*sets(*SETS), "--own-account", "1,00,000", "--json").stdout)
    names = ("ema_cross.1", "ema_cross.2", "rsi")
    assert tuple(together["accounts"]) == names
    for name, text in zip(names, SETS, strict=True):
        alone = json.loads(replayed(*sets(text), "--own-account", "100000", "--json").stdout)
        account = together["accounts"][name]
        assert {field: account[field] for field in books(alone)} == books(alone)
    assert together["unpaid"] > 0
    assert "for each of 3 strategies" in together["assumptions"]["funds"]
    shared = json.loads(replayed(*sets(*SETS), "--json").stdout)
    assert "accounts" not in shared
    assert "account" in replayed(*sets(*SETS), "--own-account", "100000").stdout


@pytest.mark.parametrize("cash", ["x", "-5", "0", "NaN", "1e99"])
def test_cash_that_is_none_is_told(replayed, cash: str) -> None:
    """One line names the option, the value and what is allowed."""
    refused = replayed(*sets(SETS[0]), "--own-account", cash)
    assert refused.exit_code == 2
    assert f"--own-account: {cash!r} is not allowed; rupees above 0" in refused.stderr
