"""P15: manual orders against strategies' orders, five hundred at once on one account.

Each side has a position in each of as many instruments, so that no order waits for another one of its position. An order
turns its position round on both sides: an entry of two units after the first.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from statistics import median

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from tests.bench.figures import Figure
from tests.bench.order_flow import PATIENCE, QUIET, OrderFlow

from alphapanda.domain.instrument import Instrument
from panda.common.v1 import common_pb2 as common
from panda.trading.v1 import trading_pb2 as trading
from panda.trading.v1.trading_pb2_grpc import TradingServiceStub

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
AT_ONCE = int(os.environ.get("BENCH_AT_ONCE", "500"))
FIRST_TOKEN = 90_000_001
BAR = 0.5


@dataclass
class Side:
    """What the rounds of one side came to: orders a second, by the clock and by the services' processor."""

    by_clock: list[float] = field(default_factory=list)
    by_processor: list[float] = field(default_factory=list)


def measure() -> list[Figure]:
    """Rounds alternate, after one that warms both sides up."""
    return asyncio.run(_measure())


async def _measure() -> list[Figure]:
    strategies, manual = Side(), Side()
    with tempfile.TemporaryDirectory(prefix="alphapanda-bench-") as folder:
        async with (
            OrderFlow(Path(folder), instruments=_instruments()) as flow,
            grpc.aio.insecure_channel(flow.targets["trading"]) as channel,
        ):
            stub = TradingServiceStub(channel)
            for number in range(ROUNDS + 1):
                await _round(flow, strategies, flow.at_once())
                async with _serving(flow):
                    await _round(flow, manual, _place(stub, flow.symbols, number))
    return [
        _figure("", strategies.by_clock, manual.by_clock, BAR),
        _figure(", by the services' processor", strategies.by_processor, manual.by_processor, None),
    ]


async def _round(flow: OrderFlow, side: Side, orders: Awaitable[float]) -> None:
    """One round, and what settles after it: a side pays for all that its orders cause."""
    began = flow.processor_seconds()
    side.by_clock.append(await orders)
    await asyncio.sleep(QUIET)
    side.by_processor.append(AT_ONCE / (flow.processor_seconds() - began))


@asynccontextmanager
async def _serving(flow: OrderFlow) -> AsyncIterator[None]:
    """Raises if trading or risk doesn't answer as serving meanwhile."""
    found: Counter[str] = Counter()

    async def watch(service: str) -> None:
        async with grpc.aio.insecure_channel(flow.targets[service]) as channel:
            while True:
                answer = await HealthStub(channel).Check(HealthCheckRequest(), timeout=PATIENCE)
                found[HealthCheckResponse.ServingStatus.Name(answer.status)] += 1
                await asyncio.sleep(0.25)

    watching = [asyncio.create_task(watch(service)) for service in ("trading", "risk")]
    try:
        yield
    finally:
        for task in watching:
            task.cancel()
        await asyncio.wait(watching)
    if set(found) != {"SERVING"}:
        raise RuntimeError(f"health during manual orders: {dict(found)}")


def _figure(how: str, strategies: Sequence[float], manual: Sequence[float], bar: float | None) -> Figure:
    ours, peer = median(manual[1:]), median(strategies[1:])
    return Figure(
        *("P15", f"{AT_ONCE} manual orders at once, against as many of strategies, one account{how}"),
        *(f"{ours:.0f} orders/s", f"{peer:.0f} orders/s", ours / peer),
        *(("", None) if bar is None else (f">= {bar:g}x", ours / peer >= bar)),
        f"of {ROUNDS} runs; a manual order until its answer, a strategy's from its tick until its fill's topic",
    )


async def _place(stub: TradingServiceStub, symbols: Sequence[str], number: int) -> float:
    """Manual orders a second, one for each symbol, all placed at once: until the last is answered as filled."""
    requests = [
        trading.PlaceOrderRequest(
            request_id=f"round-{number}-{symbol}",
            symbol=symbol,
            side=common.SIDE_SELL if number % 2 else common.SIDE_BUY,
            quantity=2 if number else 1,
        )
        for symbol in symbols
    ]
    began = time.perf_counter()
    answers = await asyncio.gather(*(stub.PlaceOrder(request, timeout=PATIENCE) for request in requests))
    seconds = time.perf_counter() - began
    for answer in answers:
        if answer.order.state.status != common.ORDER_STATUS_FILLED:
            status = common.OrderStatus.Name(answer.order.state.status)
            raise RuntimeError(f"a manual order of {answer.order.symbol} is {status}: {answer.order.message}")
    return len(requests) / seconds


def _instruments() -> list[Instrument]:
    """Shares that exist only here: the shipped ones are too few to have a position for each order."""
    return [
        Instrument(
            *(f"NSE:B{number}", FIRST_TOKEN + number, "NSE", f"B{number}", f"B{number}", "NSE", "EQ"),
            *(Decimal("0.05"), 1, 0, "NSE_EQ"),
        )
        for number in range(AT_ONCE)
    ]
