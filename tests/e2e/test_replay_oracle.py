"""Replay of a real year against an oracle that shares no code with it."""

from __future__ import annotations

import importlib.util
import json
import sys
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import fork_server
import pytest

from alphapanda.app.replay import WantedStrategy, build_replay

IST = ZoneInfo("Asia/Kolkata")
spec = importlib.util.spec_from_file_location("oracle", Path(__file__).with_name("oracle.py"))
oracle = importlib.util.module_from_spec(spec)
sys.modules["oracle"] = oracle
spec.loader.exec_module(oracle)


@pytest.fixture
def year(nse_data) -> Path:
    return nse_data / "yesbank_2019_1min" / "YESBANK_NSE_1min_2019.csv.gz"


@pytest.mark.parametrize(
    ("fast", "slow", "quantity", "fill"), [(10, 20, 100, "next_open"), (3, 50, 7, "close")]
)
def test_every_flip_of_the_real_year_is_the_oracles(year, fast, slow, quantity, fill, monkeypatch):
    """Each fill's time, side, quantity, price, charges and profit, and each refusal, agree with the oracle.

    The oracle believes every price: on 14 February 2019 the share really opened a quarter higher.
    """
    monkeypatch.setenv("ALPHAPANDA_MARKETDATA__WILD_PRINT_PERCENT", "0")
    fills = []

    def took(filled, realised):
        at = filled.fill.traded_at.astimezone(IST).replace(tzinfo=None)
        side = filled.order.side.name
        fills.append((at, side, filled.fill.quantity, filled.fill.price, filled.fill.commission, realised))

    run = build_replay(
        [year],
        [WantedStrategy("ema_cross", {"fast": str(fast), "slow": str(slow)}, quantity=quantity)],
        instrument="NSE:YESBANK",
        on_fill=took,
        fill=fill,
    )
    run.replay.run(run.frames)
    expected = oracle.run(year, fast, slow, quantity, next_open=fill == "next_open")
    assert len(expected.fills) > 500
    assert fills == expected.fills
    assert run.replay.tally.rejected == {"MARKET_HOURS": len(expected.refused)}
    statement = run.replay.statement()
    assert statement.cash == expected.cash
    assert statement.profit.realised == sum(fill[5] for fill in expected.fills)
    assert statement.profit.charges == sum(fill[4] for fill in expected.fills)
    assert statement.equity == expected.cash + expected.position * expected.last


def test_the_summary_is_the_same_bytes_but_for_the_machines_three(year):
    """Two runs of the command print the same JSON, apart from time, rate and memory."""
    command = [
        *(str(Path(sys.executable).with_name("alphapanda")), "replay", str(year), "--strategy", "ema_cross"),
        *("-p", "fast=5", "-p", "slow=60", "--instrument", "NSE:YESBANK", "--quantity", "10", "--json"),
    ]
    summaries = []
    for _ in range(2):
        done = fork_server.run(command)
        done.check_returncode()
        summary = json.loads(done.stdout)
        for machine in ("wall_seconds", "ticks_per_second", "peak_rss_mib"):
            assert summary.pop(machine) > 0
        summaries.append(json.dumps(summary))
    assert summaries[0] == summaries[1]
    summary = json.loads(summaries[0])
    assert summary["ticks"] == 92_017
    assert summary["orders"] == summary["fills"] == summary["validated"] > 0
    assert summary["signals"] == summary["validated"] + sum(summary["rejected"].values())
    assert Decimal(summary["cash"]) == 1_000_000 + Decimal(summary["realised_pnl"]) - Decimal(
        summary["charges"]
    )


def test_the_oracle_finds_a_wrong_fill(year):
    """The comparison can fail: an oracle a minute late disagrees."""
    books = oracle.run(year, 10, 20, 100, days=1)
    assert books.fills != [(fill[0] + timedelta(minutes=1), *fill[1:]) for fill in books.fills]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.csv", "--strategy", "ema_cross"], ["nowhere.csv"]),
        (["FILE", "--strategy", "ema_cros"], ["ema_cros", "ema_cross"]),
        (["FILE", "--strategy", "ema_cross", "-p", "fst=3"], ["fst", "fast"]),
        (["FILE", "--strategy", "ema_cross", "-p", "fast=x"], ["parameters.fast", "x", "whole number"]),
        (["FILE", "--strategy", "ema_cross", "-p", "fast"], ["fast", "name=value"]),
        (["FILE", "--strategy", "ema_cross", "--instrument", "NSE:YESBNK"], ["NSE:YESBNK", "NSE:YESBANK"]),
        (["FILE", "--strategy", "ema_cross", "--quantity", "0"], ["quantity", "0"]),
        (["FILE", "--strategy", "ema_cross", "--product", "MSI"], ["MSI", "MIS"]),
        (
            ["BAD", "--strategy", "ema_cross", "--instrument", "NSE:INFY"],
            ["bad.csv", "line 3", "close", "x9"],
        ),
    ],
)
def test_bad_input_gets_one_line_and_no_traceback(tmp_path, arguments, words):
    """What can't be used is named with its value and what is allowed; the exit code is 2."""
    good = tmp_path / "good.csv"
    good.write_text("ts,instrument_token,last_price\n2019-01-01T09:15:00+05:30,408065,700.05\n")
    bad = tmp_path / "bad.csv"
    bad.write_text(
        "datetime_ist,open,high,low,close,volume\n"
        "2019-01-01 09:15:00,1,1,1,1,1\n2019-01-01 09:16:00,1,1,1,x9,1\n"
    )
    named = [str(good) if a == "FILE" else str(bad) if a == "BAD" else a for a in arguments]
    program = str(Path(sys.executable).with_name("alphapanda"))
    done = fork_server.run([program, "replay", *named], cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    for word in words:
        assert word in done.stderr
