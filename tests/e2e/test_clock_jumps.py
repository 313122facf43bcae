"""The machine's clock is set an hour forwards and an hour back while orders flow: nothing is lost, doubled or stopped."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from evidence import check_books, read_evidence
from running import BUSY, Platform, until

from panda.trading.v1.trading_pb2 import ListOrdersRequest

PROGRAM = (sys.executable, str(Path(__file__).with_name("clock_jumps.py")))


def test_an_hour_forwards_and_two_back(tmp_path: Path) -> None:
    """Orders flow before, between and after the jumps, and the books agree with the exchange's journal."""
    with Platform(tmp_path / "data", program=PROGRAM) as platform:
        platform.start()
        platform.run_strategy("busy", **BUSY)
        until(lambda: orders(platform) >= 3, 30, "three orders")
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGUSR2):
            jumps = len(platform.logged("jumped"))
            assert platform.process is not None
            platform.process.send_signal(number)
            until(lambda seen=jumps: len(platform.logged("jumped")) > seen, 10, "the jump")
            before = orders(platform)
            until(lambda seen=before: orders(platform) >= seen + 3, 30, "three more orders")
        platform.come_to_rest()
        platform.stop()
        check_books(read_evidence(tmp_path / "data"))


def orders(platform: Platform) -> int:
    """How many there are, up to a page."""
    return len(platform.trading.ListOrders(ListOrdersRequest(page_size=500)).orders)
