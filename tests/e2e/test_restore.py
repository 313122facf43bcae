"""A platform that was brought back to an earlier time decides nothing twice and sends nothing again."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from evidence import Evidence, read_evidence
from running import ALPHAPANDA, BUSY, Platform, until

from panda.common.v1.common_pb2 import TRADING_STATE_ACTIVE
from panda.risk.v1.risk_pb2 import GetKillSwitchRequest
from panda.trading.v1.trading_pb2 import GetBrokerComparisonRequest, ListOrdersRequest


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs a command of `alphapanda`."""
    command = [ALPHAPANDA[0], *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def sent(evidence: Evidence) -> list[str]:
    """The tags with which the paper exchange was called to place an order, from its own journal."""
    calls = sorted(evidence.rows("calls"), key=lambda row: row["seq"])
    return [row["tag"] for row in calls if row["what"] == "place"]


def orders(platform: Platform) -> int:
    return len(platform.trading.ListOrders(ListOrdersRequest(page_size=500)).orders)


def test_a_database_of_an_earlier_time_sends_nothing_again(up, tmp_path: Path) -> None:
    """A database from before some orders, beside the log that knows them: refused, repaired, reconciled, and none is sent again."""
    first = up()
    first.run_strategy("busy", **BUSY)
    until(lambda: orders(first) >= 3, 30, "three orders")
    backup = run("backup", tmp_path / "backup", "--data-dir", first.data_dir)
    assert backup.returncode == 0, backup.stderr
    before = orders(first)
    until(lambda: orders(first) >= before + 3, 30, "three more orders")
    first.come_to_rest()
    first.stop()
    at_first = sent(read_evidence(first.data_dir))
    later = first.data_dir.parent / "later"
    assert run("restore", tmp_path / "backup", "--data-dir", later).returncode == 0
    at_backup = sent(read_evidence(later))
    assert 3 <= len(at_backup) < len(at_first)
    shutil.rmtree(later / "eventlog")
    shutil.copytree(first.data_dir / "eventlog", later / "eventlog")

    refused = run(*ALPHAPANDA[1:], "--data-dir", later)
    assert refused.returncode == 1
    [line] = refused.stderr.splitlines()
    assert "is newer than the database" in line
    assert f"`alphapanda log repair --data-dir {later}`" in line
    repaired = run("log", "repair", "--data-dir", later)
    assert repaired.returncode == 0, repaired.stderr
    assert "were left out, which the database never decided" in repaired.stderr

    with Platform(later) as second:
        second.start()
        assert second.wait_for("broker.reconciled", 30)["differences"] == []
        switch = second.risk.GetKillSwitch(GetKillSwitchRequest(broker="paper")).kill_switch
        assert switch.state == TRADING_STATE_ACTIVE
        held = orders(second)
        until(lambda: orders(second) >= held + 2, 60, "two new orders")
        second.come_to_rest()
        compared = second.trading.GetBrokerComparison(GetBrokerComparisonRequest(broker="paper"))
        assert list(compared.differences) == []
        second.stop()
    at_last = sent(read_evidence(later))
    assert at_last[: len(at_backup)] == at_backup
    assert not set(at_last[len(at_backup) :]) & set(at_first), "an order was sent again"
    assert len(set(at_last)) == len(at_last)
