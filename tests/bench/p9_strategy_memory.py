"""P9: resident memory of a strategy host, for each pair of a strategy and an instrument."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.bench.figures import Figure

BAR = 1024
STRATEGIES, INSTRUMENTS = 1000, 100


def measure() -> list[Figure]:
    """In a process of its own, so that nothing freed before is taken for free."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.strategy_memory_side", str(STRATEGIES), str(INSTRUMENTS)],
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout)
    pairs = told.pop("pairs")
    return [
        Figure(
            *("P9", f"ema_cross, {STRATEGIES:,} strategies x {INSTRUMENTS} instruments: {what}"),
            *(f"{size:,.0f} bytes a pair", "", size / BAR, "<= 1 KiB", size <= BAR, f"{pairs:,} pairs"),
        )
        for what, size in told.items()
    ]
