"""`alphapanda instruments`: what is imported or added is known to a replay; refusals and unknown names are told."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from alphapanda.cli import main

DUMP = """\
instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,lot_size,instrument_type,segment,exchange
25857,101,TINY,"TINY ""TOYS"", LTD",0,,0,0.01,1,EQ,NSE,NSE
26113,102,TINYER,TINYER,0,,0,0.05,1,EQ,NSE,NSE
26369,103,BAD,BAD,0,,0,none,1,EQ,NSE,NSE
1000199,3907,GOLD27FEBFUT,GOLD,0,2027-02-05,0,1,1,FUT,MCX-FUT,MCX
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command where nothing was imported yet; a dump and a day of bars are there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALPHAPANDA_INSTRUMENTS__FILE", str(tmp_path / "instruments.sqlite"))
    Path("dump.csv").write_text(DUMP)
    lines = ["datetime_ist,open,high,low,close,volume"]
    for minute in range(200):
        price = 100 + minute // 6 % 2 * 4 + 0.01
        at = datetime(2024, 1, 2, 9, 20) + timedelta(minutes=minute)  # noqa: DTZ001 - written without a zone
        lines.append(f"{at:%Y-%m-%d %H:%M:%S},{price},{price},{price},{price},100")
    Path("bars.csv").write_text("\n".join(lines) + "\n")
    return lambda *arguments: CliRunner().invoke(main, arguments)


def replay(run: Callable[..., Result], symbol: str) -> Result:
    return run(
        "replay",
        "bars.csv",
        "--instrument",
        symbol,
        "--strategy",
        "ema_cross",
        "-p",
        "fast=2",
        "-p",
        "slow=4",
        "--json",
    )


def test_an_imported_instrument_is_replayed(run) -> None:
    """Before, the replay says how to make it known; the import says in one line what it did, and what it refused."""
    unknown = replay(run, "NSE:TINY")
    assert unknown.exit_code == 2
    assert "`alphapanda instruments import FILE` or `alphapanda instruments add" in unknown.stderr
    refused = run("instruments", "import", "dump.csv")
    assert refused.exit_code == 2
    assert (
        "1 of 3 can't; the first: dump.csv, line 4, column tick_size: 'none' is not allowed" in refused.stderr
    )
    imported = run("instruments", "import", "dump.csv", "--allow-drops")
    assert imported.exit_code == 0, imported.output
    assert imported.stdout.splitlines()[0] == (
        "Kite's instruments dump: 2 added, 0 changed, 0 ended, 0 unchanged, 1 refused; left out: MCX 1"
    )
    assert "line 4" in imported.stderr
    result = replay(run, "NSE:TINY")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["fills"] > 10


def test_an_added_instrument_is_replayed(run) -> None:
    """With its own grid: on five paise the same file's prices are off it."""
    assert run("instruments", "add", "NSE:MINE").exit_code == 0
    assert json.loads(replay(run, "NSE:MINE").stdout)["fills"] > 10


def test_instruments_are_listed_searched_and_shown(run) -> None:
    """Shipped and imported ones alike, as a table and as JSON."""
    run("instruments", "import", "dump.csv", "--allow-drops")
    found = json.loads(run("instruments", "search", "toys", "--json").stdout)
    assert [one["tradingsymbol"] for one in found["instruments"]] == ["TINY"]
    listed = json.loads(run("instruments", "list", "--prefix", "TINY", "--json").stdout)
    assert [one["tradingsymbol"] for one in listed["instruments"]] == ["TINY", "TINYER"]
    limited = run("instruments", "--limit", "2").stdout
    assert "and 25 more: --limit 27" in limited
    shown = json.loads(run("instruments", "show", "NSE:TINY", "--json").stdout)
    assert (shown["name"], shown["tickSize"]["value"]) == ('TINY "TOYS", LTD', "0.01")
    near = run("instruments", "show", "NSE:TINYES")
    assert near.exit_code == 2
    assert "did you mean 'NSE:TINYER'" in near.stderr


def test_a_file_names_the_instrument_that_is_traded(run) -> None:
    """Without --instrument a strategy trades what NSE:SYMBOL=FILE names."""
    run("instruments", "add", "NSE:MINE")
    parameters = ("--strategy", "ema_cross", "-p", "fast=2", "-p", "slow=4", "--json")
    assert json.loads(run("replay", "NSE:MINE=bars.csv", *parameters).stdout)["fills"] > 10
