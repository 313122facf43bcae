"""P10: two strategy processes against one, on a pre-filled topic of four partitions that are assigned already.

Kafka works while they drain, so on two cores two processes and Kafka share what one process and Kafka have to
themselves. What the processes cost is told beside it: ticks a second of the processor each uses, added up, is what
they drain where each has a core of its own; it falls short of twice where they do something twice or wait in turns for
something they share.
"""

from __future__ import annotations

import asyncio
import os
from statistics import median

from tests.bench.backlog import INSTRUMENTS, PARTITIONS, Drained, backlog, drain
from tests.bench.figures import Figure

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
FRAMES = int(os.environ.get("BENCH_FRAMES", "6000"))
BAR = 1.8


def measure() -> list[Figure]:
    """Rounds alternate after one that warms Kafka up; two processes took as long as the slower one."""
    return asyncio.run(_measure())


async def _measure() -> list[Figure]:
    runs: dict[int, list[list[Drained]]] = {1: [], 2: []}
    async with backlog("quiet", FRAMES) as bootstrap:
        for _ in range(ROUNDS + 1):
            for processes, drained in runs.items():
                drained.append(await asyncio.to_thread(drain, "stage", bootstrap, "quiet", processes, FRAMES))
    ticks = FRAMES * PARTITIONS * INSTRUMENTS
    one, two = (
        median(ticks / max(each.seconds for each in drained) for drained in runs[n][1:]) for n in (1, 2)
    )
    one_cpu, two_cpu = (
        median(sum(each.ticks / each.cpu for each in drained) for drained in runs[n][1:]) for n in (1, 2)
    )
    cores = len(os.sched_getaffinity(0))
    return [
        Figure(
            *("P10", f"{ticks:,} ticks from Kafka, two strategy processes against one, by processor time"),
            *(f"{two_cpu:,.0f} ticks/s", f"{one_cpu:,.0f} ticks/s", two_cpu / one_cpu),
            *(f">= {BAR:g}x", two_cpu / one_cpu >= BAR),
            "ticks a second of the processor of each: what they drain where each has a core and Kafka has others",
        ),
        Figure(
            *("P10", "the same by the wall"),
            *(f"{two:,.0f} ticks/s", f"{one:,.0f} ticks/s", two / one),
            note=f"of {ROUNDS} runs; Kafka and both processes share {cores} cores",
        ),
    ]
