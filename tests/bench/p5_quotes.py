"""P5: WatchQuotes in batches of 100 against a bare grpc.aio stream of the same bytes, from one process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from statistics import median
from typing import NamedTuple

import grpc
import psutil
from tests.bench.figures import Figure

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))
MESSAGES = 4_000
BAR = 0.8
READERS = (1, 10, 100)
READERS_OF_A_CONNECTION = 50
OURS, BARE = "/panda.marketdata.v1.MarketDataService/WatchQuotes", "/bare/Stream"
ENCODED = "/bare/Encoded"


class Run(NamedTuple):
    """Messages a second at the readers, and seconds of the server's processor for each."""

    rate: float
    cpu: float


def measure() -> list[Figure]:
    """Both sides answer from the same process; the readers are here and parse nothing on either side."""
    side = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.quote_stream_side"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert side.stdout is not None
        ours, bare = (int(port) for port in side.stdout.readline().split())
        return asyncio.run(_measure(psutil.Process(side.pid), ours, bare))
    finally:
        side.kill()
        side.wait()


async def _measure(process: psutil.Process, ours: int, bare: int) -> list[Figure]:
    figures = []
    for readers in READERS:
        runs: dict[str, list[Run]] = {OURS: [], BARE: []}
        for _ in range(ROUNDS):
            for method, port in ((OURS, ours), (BARE, bare)):
                runs[method].append(await _read(process, method, port, readers))
        figures.append(_figure(readers, runs))
    return [*figures, await _limit(process, bare)]


async def _limit(process: psutil.Process, bare: int) -> Figure:
    """What is left of the bare stream where each message has new prices and nothing else is done for it."""
    runs: dict[str, list[Run]] = {ENCODED: [], BARE: []}
    for _ in range(ROUNDS):
        for method, told in runs.items():
            told.append(await _read(process, method, bare, 1))
    encoded, peer = (
        Run(median(run.rate for run in each), median(run.cpu for run in each)) for each in runs.values()
    )
    return Figure(
        *("P5", "the limit for one reader: a bare stream whose messages are encoded in the cheapest way"),
        *(
            f"{encoded.rate * 100:,.0f} quotes/s",
            f"{peer.rate * 100:,.0f} quotes/s",
            encoded.rate / peer.rate,
        ),
        note=f"processor of the server a message: {encoded.cpu * 1e6:.0f} µs, bare {peer.cpu * 1e6:.0f} µs",
    )


def _figure(readers: int, runs: Mapping[str, Sequence[Run]]) -> Figure:
    told, peer = (
        Run(median(run.rate for run in runs[m]), median(run.cpu for run in runs[m])) for m in (OURS, BARE)
    )
    ratio = told.rate / peer.rate
    return Figure(
        *("P5", f"WatchQuotes, batches of 100, to {readers} reader{'s' if readers > 1 else ''}"),
        *(f"{told.rate * 100:,.0f} quotes/s", f"{peer.rate * 100:,.0f} quotes/s", ratio),
        *(f">= {BAR:g}x", ratio >= BAR),
        f"processor of the server a message: {told.cpu * 1e6:.0f} µs, bare {peer.cpu * 1e6:.0f} µs",
    )


async def _read(process: psutil.Process, method: str, port: int, readers: int) -> Run:
    async with AsyncExitStack() as stack:
        # A connection may have no more than 64 watches. Its number is an option, or gRPC would share one connection.
        channels = [
            await stack.enter_async_context(
                grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("alphapanda.connection", number)])
            )
            for number in range(-(-readers // READERS_OF_A_CONNECTION))
        ]
        calls = [
            channels[number // READERS_OF_A_CONNECTION].unary_stream(method)(b"") for number in range(readers)
        ]
        for call in calls:  # each is under way, past its snapshot
            for _ in range(3):
                await call.read()
        before, began = process.cpu_times(), time.perf_counter()
        await asyncio.gather(*(_take(call, MESSAGES // readers) for call in calls))
        seconds, after = time.perf_counter() - began, process.cpu_times()
        for call in calls:
            call.cancel()
    used = after.user + after.system - before.user - before.system
    return Run(MESSAGES / seconds, used / MESSAGES)


async def _take(call: grpc.aio.UnaryStreamCall[bytes, bytes], messages: int) -> None:
    for _ in range(messages):
        await call.read()
