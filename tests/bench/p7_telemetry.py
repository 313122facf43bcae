"""P7: what logs, timed handlers and traces cost: ticks as in P1, and orders with all strategies busy.

On is what `serve` does by default, with a file for each channel, and traces at the default ratios to a collector that throws them
away; off logs errors alone and records none. The correlation id of a single event is a context variable that both sides set.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

from tests.bench.backlog import INSTRUMENTS, PARTITIONS, backlog, drain
from tests.bench.collecting import discarding_collector
from tests.bench.figures import Figure
from tests.bench.order_flow import OrderFlow

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))
FRAMES = int(os.environ.get("BENCH_FRAMES", "2000"))
BLOCK = int(os.environ.get("BENCH_BLOCK", "300"))
TICKS_BAR, ORDERS_BAR = 0.95, 0.85


def measure() -> list[Figure]:
    """Rounds alternate, after one that warms both sides up; of the orders, two meshes stand beside each other."""
    return [asyncio.run(_ticks()), asyncio.run(_orders())]


async def _ticks() -> Figure:
    rates: dict[bool, list[float]] = {False: [], True: []}
    with discarding_collector() as collector:
        return await _drained(rates, collector)


async def _drained(rates: dict[bool, list[float]], collector: str) -> Figure:
    async with backlog("quiet", FRAMES) as bootstrap:
        for _ in range(ROUNDS + 1):
            for telemetry, told in rates.items():
                [drained] = await asyncio.to_thread(
                    *(drain, "stage", bootstrap, "quiet", 1, FRAMES),
                    telemetry=collector if telemetry else "",
                )
                told.append(drained.ticks / drained.cpu)
    ticks = FRAMES * PARTITIONS * INSTRUMENTS
    what = f"{ticks:,} ticks from Kafka through strategies, telemetry on against off"
    note = f"of {ROUNDS} runs; by seconds of the processor the strategies' process used"
    return _figure(what, "ticks/s", rates[True][1:], rates[False][1:], TICKS_BAR, note)


async def _orders() -> Figure:
    rates: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory(prefix="alphapanda-bench-") as folder:
        async with AsyncExitStack() as stack:
            collector = stack.enter_context(discarding_collector())
            silent = {"ALPHAPANDA_LOGGING__LEVEL": "error"}
            speaking = {
                "ALPHAPANDA_LOGGING__LEVEL": "info",
                "ALPHAPANDA_LOGGING__FOLDER": str(Path(folder) / "logs"),
                "ALPHAPANDA_TELEMETRY__OTLP_ENDPOINT": collector,
            }
            flows = {
                False: await stack.enter_async_context(OrderFlow(Path(folder) / "off", silent)),
                True: await stack.enter_async_context(OrderFlow(Path(folder) / "on", speaking)),
            }
            for _ in range(ROUNDS + 1):
                for telemetry, flow in flows.items():
                    rates[telemetry].append(await flow.flat_out(BLOCK))
    what = "orders filled, the next of each strategy as soon as its last has filled, telemetry on against off"
    note = f"of {ROUNDS} runs of {BLOCK} orders, 20 strategies; two meshes on this machine's cores"
    return _figure(what, "orders/s", rates[True][1:], rates[False][1:], ORDERS_BAR, note)


def _figure(what: str, unit: str, on: Sequence[float], off: Sequence[float], bar: float, note: str) -> Figure:
    ours, peer = median(on), median(off)
    ratio = ours / peer
    return Figure(
        *("P7", what, f"{ours:,.0f} {unit}", f"{peer:,.0f} {unit}", ratio),
        *(f">= {bar:g}x", ratio >= bar, note),
    )
