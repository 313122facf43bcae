"""`alphapanda watch` over gRPC: on a platform that trades, and on one that goes away and comes back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from alphapanda.commands.live.following import sources

SOURCES = {source.name for source in sources("", "", tuple)}
PROGRAM = str(Path(sys.executable).with_name("alphapanda"))


def test_once_is_one_picture(asked):
    """`watch --once` shows clock, account, strategies, positions, orders and services, and ends."""
    shown = asked("watch", "--once")
    for part in (
        "paper/default  ● NSE open",
        "simulated",
        "demo.bharti.quick",
        "filled",
        "portfolio    ● serving",
    ):
        assert part in shown, shown


def test_once_as_json_has_everything(asked):
    """`watch --once --json` is one object in which nothing is unknown and nobody silent."""
    (line,) = asked("watch", "--once", "--json").splitlines()
    found = json.loads(line)
    assert found["market"]["simulated"] is True
    assert {one["strategyId"] for one in found["strategies"]} >= {"demo.bharti.quick", "demo.infy"}
    assert found["orders"]
    assert found["portfolio"]["positions"]
    assert found["troubles"] == {}
    assert found["lags"] is not None


def test_a_pipe_gets_lines_until_ctrl_c(target):
    """Without a terminal `watch` prints the figures as a line at once, and Ctrl-C ends it with 0."""
    with subprocess.Popen(
        [PROGRAM, "watch", "--target", target], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("equity ")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_prices_of_what_is_traded_are_followed(target):
    """Within seconds the strategies' symbols have prices, and these move."""
    with subprocess.Popen(
        [PROGRAM, "watch", "--json", "--target", target],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        prices = (json.loads(line)["quotes"].get("NSE:INFY", {}).get("lastPrice") for line in process.stdout)
        first = next(price for price in prices if price)
        next(price for price in prices if price != first)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_an_account_that_is_not_there_is_said(refused, asked):
    """The part of the picture that can't be had says why; the others are shown."""
    found = json.loads(asked("watch", "--once", "--json", "--account", "nobody"))
    assert "nobody" in found["troubles"]["portfolio"]
    assert found["market"] is not None


def test_a_platform_that_comes_back_is_followed_again(fakes, nobody):
    """While nobody answers `watch --json` says so each second; it goes on by itself when the platform is there."""
    with subprocess.Popen(
        [PROGRAM, "watch", "--json", "--target", nobody],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        objects = map(json.loads, process.stdout)
        away = next(found for found in objects if found["troubles"])
        assert f"nothing answers on {nobody}" in away["troubles"]["strategies"]
        next(found for found in objects if found["troubles"].keys() >= SOURCES)
        fakes.start("strategy", address=nobody)
        next(found for found in objects if found["strategies"] and "strategies" not in found["troubles"])
        fakes.stop(nobody)
        next(found for found in objects if "strategies" in found["troubles"])
        fakes.start("strategy", address=nobody)
        next(found for found in objects if "strategies" not in found["troubles"])
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
