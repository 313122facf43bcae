"""A full disk: the platform says so, loses nothing, and goes on by itself when there is room again."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from evidence import check_books, read_evidence
from running import BUSY, Platform, until

from panda.ops.v1.ops_pb2 import SERVICE_STATE_NOT_SERVING, GetStatusRequest
from panda.portfolio.v1.portfolio_pb2 import GetPortfolioRequest
from panda.trading.v1.trading_pb2 import ListOrdersRequest

SIZE = "200m"


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of its own that is soon full."""
    with tempfile.TemporaryDirectory(prefix="panda-") as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=1777", "tmpfs", folder],
            capture_output=True,
            text=True,
            check=False,
        )
        if mounted.returncode:
            pytest.skip(f"NO SMALL DISK: only root can mount one ({mounted.stderr.strip()})")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_told_and_survived(small_disk: Path, tmp_path: Path) -> None:
    """The market stops with a clear word, and when there is room again it goes on: orders, fills, ledger, cash agree."""
    with Platform(small_disk / "data", home=tmp_path) as platform:
        platform.start()
        platform.run_strategy("busy", **BUSY)
        until(lambda: orders(platform) >= 3, 30, "three orders")
        ballast = small_disk / "ballast"
        fill(ballast)
        until(lambda: "disk is full" in errors(platform).get("marketdata", ""), 30, "a clear word")

        ballast.unlink()
        until(lambda: not errors(platform), 60, "health")
        before = orders(platform)
        until(lambda: orders(platform) >= before + 3, 60, "three more orders")
        assert platform.books.GetPortfolio(GetPortfolioRequest()).portfolio.revision > 3
        platform.come_to_rest()
        platform.stop()
        assert "Traceback" not in platform.complaints
        assert len(platform.complaints.splitlines()) <= 3  # one a minute, about log files that are full, too
        check_books(read_evidence(small_disk / "data"))


def fill(ballast: Path) -> None:
    """Takes all the room there is."""
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(2**16)):
            pass


def orders(platform: Platform) -> int:
    """How many there are, up to a page."""
    return len(platform.trading.ListOrders(ListOrdersRequest(page_size=500)).orders)


def errors(platform: Platform) -> dict[str, str]:
    """What keeps services from their work."""
    services = platform.ops.GetStatus(GetStatusRequest()).services
    return {one.service: one.last_error for one in services if one.state == SERVICE_STATE_NOT_SERVING}
