"""What a well-behaved client and a kill switch notice of a hostile client: `make hostile` (R15 of the scorecard)."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from running import Platform, until

from panda.common.v1.common_pb2 import (
    SIDE_BUY,
    SIDE_SELL,
    TRADING_STATE_ACTIVE,
    TRADING_STATE_HALTED,
    TradingState,
)
from panda.marketdata.v1.marketdata_pb2 import GetMarketStatusRequest
from panda.risk.v1.risk_pb2 import GetLimitsRequest, SetKillSwitchRequest
from panda.trading.v1.trading_pb2 import ListOrdersRequest, PlaceOrderRequest

HOSTILE = Path(__file__).with_name("hostile.py")
KILL_SWITCH_SECONDS = 2.0
TIMES_IDLE = 10.0
MOST_MEBIBYTES = 150
_PAUSE_SECONDS = 0.02
_PATIENCE_SECONDS = 60.0
_READS_A_SWITCH = 2


@dataclass(frozen=True, slots=True)
class Flood:
    """The hostile client: its seed, calls at once, connections, and how long it goes on; `same`: its reads are measured too."""

    seed: int = 1
    in_flight: int = 500
    connections: int = 5
    seconds: float = 5.0
    same: bool = False


@dataclass(frozen=True, slots=True)
class Noticed:
    """What was measured; seconds.

    Attributes:
        idle: reads before the flood.
        flooded: reads during it, one after the other. gRPC has a queue for each RPC; nobody floods this one.
        flooded_same: reads of an RPC that is flooded, during it.
        kill_switch: SetKillSwitch during it, halting and releasing.
        grown_mebibytes: memory of the platform's process after the flood less before.
        hostile: what became of the hostile calls.
    """

    idle: list[float]
    flooded: list[float]
    flooded_same: list[float]
    kill_switch: list[float]
    grown_mebibytes: float
    hostile: dict[str, Any]

    @property
    def times_idle(self) -> float:
        """Median read during the flood, in medians before it."""
        return median(self.flooded) / median(self.idle)


def place_orders(platform: Platform, orders: int) -> None:
    """Places orders, so that there is something to read."""
    until(lambda: platform.market.GetMarketStatus(GetMarketStatusRequest()).ticks, 10, "ticks")

    def place(number: int) -> None:
        side = SIDE_SELL if number % 2 else SIDE_BUY
        request = PlaceOrderRequest(request_id=f"before-{number}", symbol="NSE:INFY", side=side, quantity=1)
        platform.trading.PlaceOrder(request, timeout=_PATIENCE_SECONDS)

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(place, range(orders)))


def flood(platform: Platform, wanted: Flood, reads: int) -> Noticed:
    """Floods a platform; measures reads and kill switches before the flood and during it.

    Args:
        platform: the running platform.
        wanted: the flood.
        reads: so many before it, and as many during it as fit.
    """
    assert platform.process is not None
    process = psutil.Process(platform.process.pid)

    def read() -> None:
        platform.risk.GetLimits(GetLimitsRequest(), timeout=_PATIENCE_SECONDS)

    def read_as_they_do() -> None:
        platform.trading.ListOrders(ListOrdersRequest(page_size=20), timeout=_PATIENCE_SECONDS)

    def switch(number: int, state: TradingState.ValueType) -> None:
        request = SetKillSwitchRequest(
            request_id=f"switch-{number}", broker="paper", state=state, reason="flooded"
        )
        platform.risk.SetKillSwitch(request, timeout=_PATIENCE_SECONDS)

    read()
    idle = [_timed(read) for _ in range(reads)]
    before = process.memory_info().rss
    hostile = subprocess.Popen(
        [
            *(sys.executable, str(HOSTILE), platform.target, "--seed", str(wanted.seed)),
            *("--in-flight", str(wanted.in_flight), "--connections", str(wanted.connections)),
            *("--seconds", str(wanted.seconds)),
        ],
        stdout=subprocess.PIPE,
    )
    try:
        until(lambda: platform.logged("calls.refused"), 20, "the first refusal")
        switches, flooded, same = [], [], []
        while hostile.poll() is None:
            number = len(switches)
            state = TRADING_STATE_ACTIVE if number % 2 else TRADING_STATE_HALTED
            switches.append(_timed(lambda: switch(number, state)))  # noqa: B023 - called at once
            flooded += [_timed(read) for _ in range(_READS_A_SWITCH)]
            if wanted.same:
                same.append(_timed(read_as_they_do))
        told, _ = hostile.communicate(timeout=wanted.seconds + _PATIENCE_SECONDS)
    finally:
        hostile.kill()
        hostile.wait()
    grown = (process.memory_info().rss - before) / 2**20
    return Noticed(idle, flooded, same, switches, grown, json.loads(told))


def _timed(call: Callable[[], None]) -> float:
    time.sleep(_PAUSE_SECONDS)
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _ms(seconds: list[float]) -> str:
    return f"{1000 * median(seconds):.1f} ms"


def main() -> None:
    """Floods a platform of its own in full, and prints what was noticed; exit status 1 where a bar isn't met."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--in-flight", type=int, default=500)
    parser.add_argument("--connections", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = Flood(**vars(parser.parse_args()), same=True)
    with tempfile.TemporaryDirectory(prefix="panda-") as folder, Platform(Path(folder, "data")) as platform:
        platform.start()
        place_orders(platform, 300)
        noticed = flood(platform, given, 200)
        platform.stop()
    hostile = noticed.hostile
    met = {
        f"SetKillSwitch within {KILL_SWITCH_SECONDS:g} s": max(noticed.kill_switch) <= KILL_SWITCH_SECONDS,
        f"a read within {TIMES_IDLE:g} times its idle time": noticed.times_idle <= TIMES_IDLE,
        "every refusal RESOURCE_EXHAUSTED with RetryInfo": not hostile["refused_badly"],
        f"memory within {MOST_MEBIBYTES} MiB": noticed.grown_mebibytes <= MOST_MEBIBYTES,
    }
    reads = (
        f"read: {_ms(noticed.idle)} idle, {_ms(noticed.flooded)} flooded ({noticed.times_idle:.1f} times), the longest of"
        f" {len(noticed.flooded)} {max(noticed.flooded):.2f} s; of an RPC that is flooded {_ms(noticed.flooded_same)}"
    )
    switches = (
        f"SetKillSwitch: {_ms(noticed.kill_switch)}, the longest of {len(noticed.kill_switch)}"
        f" {max(noticed.kill_switch):.2f} s"
    )
    lines = [
        f"{sum(hostile['statuses'].values())} hostile calls, {given.in_flight} at once: {hostile['statuses']}",
        f"refused: {hostile['reasons']}",
        reads,
        switches,
        f"memory: {noticed.grown_mebibytes:+.0f} MiB",
        *(f"{'met' if holds else 'NOT MET'}: {bar}" for bar, holds in met.items()),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.exit(not all(met.values()))


if __name__ == "__main__":
    main()
