"""`alphapanda call` on a watch: message by message, until somebody ends it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path


def test_a_watch_is_printed_as_it_comes_and_ends_with_ctrl_c(target):
    """The snapshot, then changes, each as it is told; Ctrl-C ends it well."""
    program = Path(sys.executable).with_name("alphapanda")
    running = subprocess.Popen(
        [program, "call", "MarketDataService/WatchQuotes", '{"symbols": ["NSE:INFY"]}', "--target", target],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert running.stdout is not None
        seen = ""
        while seen.count('"marketTime"') < 3:
            line = running.stdout.readline()
            assert line, "it ended"
            seen += line
        running.send_signal(signal.SIGINT)
        _, complaints = running.communicate(timeout=10)
    finally:
        running.kill()
    assert seen.index('"snapshot": true') < seen.index('"marketTime"')
    assert seen.count('"snapshot"') == 1
    assert complaints == ""
    assert running.returncode == 0
