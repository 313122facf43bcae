"""P10: two strategy processes against one, on a pre-filled topic of four partitions that are assigned already."""

from __future__ import annotations

import asyncio
import os
from statistics import median

from tests.bench.backlog import INSTRUMENTS, PARTITIONS, backlog, drain
from tests.bench.figures import Figure

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
FRAMES = int(os.environ.get("BENCH_FRAMES", "2000"))
BAR = 1.8


def measure() -> list[Figure]:
    """Rounds alternate; two processes took as long as the slower one."""
    return [asyncio.run(_measure())]


async def _measure() -> Figure:
    one: list[float] = []
    two: list[float] = []
    async with backlog("quiet", FRAMES) as bootstrap:
        for _ in range(ROUNDS):
            for processes, took in ((1, one), (2, two)):
                drained = await asyncio.to_thread(drain, "stage", bootstrap, "quiet", processes, FRAMES)
                took.append(max(each.seconds for each in drained))
    ticks = FRAMES * PARTITIONS * INSTRUMENTS
    ratio = median(one) / median(two)
    return Figure(
        *("P10", f"{ticks:,} ticks from Kafka through two strategy processes, against one"),
        *(f"{ticks / median(two):,.0f} ticks/s", f"{ticks / median(one):,.0f} ticks/s", ratio),
        *(f">= {BAR:g}x", ratio >= BAR, f"of {ROUNDS} runs; Kafka's own work is on the same cores"),
    )
