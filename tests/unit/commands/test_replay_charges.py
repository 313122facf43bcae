"""What a replay says of its charges."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from alphapanda.cli import main

WAYS = ("json", "table", "report")


@pytest.fixture
def replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Replays two days that rise and fall, of a year."""

    def run(year: int, *options: str, **settings: str) -> Any:
        for name, value in settings.items():
            monkeypatch.setenv(f"ALPHAPANDA_PAPER_TRADING__{name.upper()}", value)
        file = tmp_path / f"{year}.csv"
        rows = [
            f"{year}-03-{day} {9 + at // 60:02}:{at % 60:02}:00,9,9,9,{1500 + (at % 40) * (1 if at % 80 < 40 else -1)},10"
            for day in ("12", "13")
            for at in range(15, 315)
        ]
        file.write_text("\n".join(("datetime_ist,open,high,low,close,volume", *rows)))
        asked = [
            "replay",
            str(file),
            "--instrument",
            "NSE:INFY",
            "--strategy",
            "ema_cross",
            "--quantity",
            "10",
        ]
        answer = CliRunner().invoke(main, [*asked, "-p", "fast=3", "-p", "slow=6", *options])
        assert answer.exit_code == 0, answer.output
        return answer

    return run


def test_charges_are_told_by_line(replayed) -> None:
    """The lines add up to the charges, in JSON and in the fills; the table and the report have a line for each."""
    found = json.loads(replayed(2025, "--json").stdout)
    lines = {name: Decimal(amount) for name, amount in found["charges_by_line"].items()}
    assert list(lines) == ["brokerage", "stt", "exchange_transaction", "ipft", "sebi", "stamp_duty", "gst"]
    assert sum(lines.values()) == Decimal(found["charges"]) == Decimal(found["figures"]["charges"]["value"])
    assert found["charges_sureness"]["brokerage"] == "verified"
    assert not any("ASSUMED" in name for name in found["assumptions"])
    table = replayed(2025).stdout
    assert f"brokerage {lines['brokerage']:,.2f} (verified)" in table


def test_rates_that_nobody_knows_are_said_atop(replayed, tmp_path: Path) -> None:
    """For 2019 every line is assumed; table, JSON and report say so before all figures."""
    report = tmp_path / "report.html"
    found = json.loads(replayed(2019, "--json", "--report", str(report)).stdout)
    assert set(found["charges_sureness"].values()) == {"assumed"}
    assert next(iter(found["assumptions"])) == "ASSUMED charges"
    assert "brokerage, stt" in found["assumptions"]["ASSUMED charges"]
    assert "note" in replayed(2019).stdout.splitlines()[0]
    page = report.read_text()
    assert page.index("ASSUMED charges") < page.index("The run</h2>")


@pytest.mark.parametrize(("charges", "lines"), [("none", set()), ("percent", {"commission"})])
def test_charges_may_be_a_percentage_or_none(replayed, charges: str, lines: set[str]) -> None:
    """A percentage of the turnover is one line, commission; none costs nothing."""
    found = json.loads(replayed(2025, "--json", charges=charges).stdout)
    assert set(found["charges_by_line"]) == lines
    assert found["charges_sureness"] == {}
    assert (Decimal(found["charges"]) == 0) is (charges == "none")
    assert ("0.1%" in found["assumptions"]["charges"]) is (charges == "percent")


def test_delivery_pays_the_depository_and_a_day_trade_in_it_does_not(replayed) -> None:
    """As CNC what is bought and sold on one day costs what MIS does, but for what is left over night."""
    found = json.loads(replayed(2025, "--json", "--product", "CNC").stdout)
    assert Decimal(found["charges_by_line"]["brokerage"]) > 0
    assert sum(map(Decimal, found["charges_by_line"].values())) == Decimal(found["charges"])
