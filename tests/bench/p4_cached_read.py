"""P4: a unary cached read with authentication, trace and log against a bare grpc.aio echo: the server's processor time of a request."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

import grpc
import psutil
from tests.bench.figures import Figure

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))
REQUESTS = 4_000
IN_FLIGHT = 32
BAR = 0.75
OURS, BARE = "/panda.instruments.v1.InstrumentService/GetInstrument", "/bare/Echo"
NAMED = "/bare/Named"


class Side(NamedTuple):
    """Where a side answers, and what is sent to it."""

    method: str
    port: int
    request: bytes
    metadata: tuple[tuple[str, str], ...]


def measure() -> list[Figure]:
    """Both sides answer from the same process; what calls them is here."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.cached_read_side"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        ours, bare, token, request = process.stdout.readline().split()
        body = bytes.fromhex(request)
        metadata = (("authorization", f"Bearer {token}"),)
        sides = (
            Side(OURS, int(ours), body, metadata),
            Side(BARE, int(bare), body, ()),
            Side(NAMED, int(bare), body, metadata),
        )
        return asyncio.run(_measure(psutil.Process(process.pid), sides))
    finally:
        process.kill()
        process.wait()


async def _measure(process: psutil.Process, sides: Sequence[Side]) -> list[Figure]:
    taken: dict[str, list[float]] = {side.method: [] for side in sides}
    for _ in range(ROUNDS):
        for side in sides:
            taken[side.method].append(await _seconds(process, side))
    ours, bare, named = (median(taken[side.method]) for side in sides)
    ratio = bare / ours
    return [
        Figure(
            *(
                "P4",
                f"cached read with auth, trace and log, {IN_FLIGHT} in flight; the server's processor a request",
            ),
            *(f"{ours * 1e6:.0f} µs", f"{bare * 1e6:.0f} µs", ratio),
            *(f">= {BAR:g}x", ratio >= BAR),
            f"{REQUESTS:,} requests a round, both sides in one process",
        ),
        Figure(
            *("P4", "the limit: an echo that gets a token in its metadata and answers with an id"),
            *(f"{named * 1e6:.0f} µs", f"{bare * 1e6:.0f} µs", bare / named),
        ),
    ]


async def _seconds(process: psutil.Process, side: Side) -> float:
    """Processor seconds of the server for a request."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{side.port}") as channel:
        call = channel.unary_unary(side.method)
        left = iter(range(REQUESTS))

        async def ask() -> None:
            for _ in left:
                await call(side.request, metadata=side.metadata)

        await call(side.request, metadata=side.metadata)
        before = process.cpu_times()
        await asyncio.gather(*(ask() for _ in range(IN_FLIGHT)))
        after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / REQUESTS
