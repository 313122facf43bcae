"""P3: the slowest orders at half of the peak against the slowest of an idle platform."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

from tests.bench.figures import Figure
from tests.bench.order_flow import OrderFlow, quantile

SAMPLES = int(os.environ.get("BENCH_SAMPLES", "2000"))
PEAK_SECONDS = float(os.environ.get("BENCH_PEAK_SECONDS", "30"))
BAR = 3.0


def measure() -> list[Figure]:
    """One mesh: idle, then its peak, then half of that."""
    return asyncio.run(_measure())


async def _measure() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="alphapanda-bench-") as folder:
        async with OrderFlow(Path(folder)) as flow:
            idle = await flow.one_by_one(SAMPLES)
            peak = await flow.peak(PEAK_SECONDS)
            trial = await flow.at_rate(peak / 2, 2 * SAMPLES / peak)
    quiet, busy = quantile(idle, 0.99), quantile(trial.latencies, 0.99)
    note = f"peak {peak:.0f} orders/s over {PEAK_SECONDS:g} s, four services and the stores on this machine's cores"
    return [
        Figure(
            *(
                "P3",
                f"frame to fill at {peak / 2:.0f} orders/s, p99 of {len(trial.latencies):,}; against idle",
            ),
            *(
                f"{busy * 1e3:.1f} ms",
                f"{quiet * 1e3:.1f} ms",
                busy / quiet,
                f"<= {BAR:g}x",
                busy / quiet <= BAR,
            ),
            note,
        )
    ]
