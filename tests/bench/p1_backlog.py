"""P1: a Kafka backlog drained through the strategy stage, against a bare aiokafka loop over the same ticks one a record."""

from __future__ import annotations

import asyncio
import os
from statistics import median

from tests.bench.backlog import FLIPS, INSTRUMENTS, PARTITIONS, backlog, drain
from tests.bench.figures import Figure

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SIDE_ROUNDS = int(os.environ.get("BENCH_SIDE_ROUNDS", str(ROUNDS)))
FRAMES = int(os.environ.get("BENCH_FRAMES", "1000"))
BAR = 1.2


def measure() -> list[Figure]:
    """Rounds alternate; once with next to no signals, once with every flip sent."""
    return [asyncio.run(_measure(feed)) for feed in ("quiet", FLIPS)]


async def _measure(feed: str) -> Figure:
    ours: list[float] = []
    bare: list[float] = []
    signals = 0
    quiet = feed != FLIPS
    rounds = ROUNDS if quiet else SIDE_ROUNDS
    async with backlog(feed, FRAMES, bare=True) as bootstrap:
        for _ in range(rounds):
            [stage] = await asyncio.to_thread(drain, "stage", bootstrap, feed, 1, FRAMES)
            [loop] = await asyncio.to_thread(drain, "bare", bootstrap, feed, 1, FRAMES)
            ours.append(stage.ticks / stage.seconds)
            bare.append(loop.ticks / loop.seconds)
            signals = stage.signals
    ticks = FRAMES * PARTITIONS * INSTRUMENTS
    ratio = median(ours) / median(bare)
    return Figure(
        *("P1", f"{ticks:,} ticks from Kafka through strategies, {'quiet' if quiet else 'every flip sent'}"),
        *(f"{median(ours):,.0f} ticks/s", f"{median(bare):,.0f} ticks/s", ratio),
        *((f">= {BAR:g}x", ratio >= BAR) if quiet else ("", None)),
        f"of {rounds} runs; {signals:,} signals; against bare getmany, a tick a record",
    )
