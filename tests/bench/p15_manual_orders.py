"""P15: manual orders against strategies' orders, five hundred at once on one account.

Each side has a position in each of as many instruments, so that no order waits for another one of its position. An order
turns its position round on both sides: an entry of two units after the first.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from statistics import median

import grpc
from tests.bench.figures import Figure
from tests.bench.order_flow import PATIENCE, OrderFlow

from alphapanda.domain.instrument import Instrument
from panda.common.v1 import common_pb2 as common
from panda.trading.v1 import trading_pb2 as trading
from panda.trading.v1.trading_pb2_grpc import TradingServiceStub

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
AT_ONCE = int(os.environ.get("BENCH_AT_ONCE", "500"))
FIRST_TOKEN = 90_000_001
BAR = 0.5


def measure() -> list[Figure]:
    """Rounds alternate, after one that warms both sides up."""
    return [asyncio.run(_measure())]


async def _measure() -> Figure:
    strategies: list[float] = []
    manual: list[float] = []
    with tempfile.TemporaryDirectory(prefix="alphapanda-bench-") as folder:
        async with (
            OrderFlow(Path(folder), instruments=_instruments()) as flow,
            grpc.aio.insecure_channel(flow.targets["trading"]) as channel,
        ):
            stub = TradingServiceStub(channel)
            for number in range(ROUNDS + 1):
                strategies.append(await flow.at_once())
                manual.append(await _place(stub, flow.symbols, number))
    ours, peer = median(manual[1:]), median(strategies[1:])
    return Figure(
        *("P15", f"{AT_ONCE} manual orders at once, against as many of strategies, one account"),
        *(f"{ours:.0f} orders/s", f"{peer:.0f} orders/s", ours / peer, f">= {BAR:g}x", ours / peer >= BAR),
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
