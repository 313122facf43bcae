"""A Redis that hangs (SIGSTOP) never blocks an exit: it is decided and executed meanwhile, and entries say why not."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.values import replace
from trading_room import VISIBILITY_WINDOW, approved, open_room, terminal

from alphapanda.app.resources import open_redis
from alphapanda.domain.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.domain.order import FailureReason, OrderStatus, PositionEffect, Side, TradingState
from alphapanda.embedded.redis import EmbeddedRedis
from alphapanda.paper_exchange.exchange import PaperExchange
from alphapanda.settings.operation import RetrySettings
from alphapanda.storage.kill_switch_mirror import KillSwitchMirror
from alphapanda.trading.traders.paper import PaperTrader
from alphapanda.trading.traders.trader import ExecutionMode, Placement
from panda.common.v1 import common_pb2 as common
from panda.trading.v1 import trading_pb2 as trading

BUDGET = 0.2


class Live(PaperTrader):
    """A live broker, which needs no price of ours."""

    def __init__(self, exchange: PaperExchange) -> None:
        super().__init__("paper", exchange, VISIBILITY_WINDOW)

    def get_execution_mode(self) -> ExecutionMode:
        return ExecutionMode.LIVE

    async def execute_order(self, placement: Placement) -> BrokerOrder:
        return BrokerOrder(f"L{placement.tag}", BrokerOrderStatus.OPEN)


@pytest.fixture
async def own_redis(tmp_path: Path) -> AsyncIterator[tuple[EmbeddedRedis, str]]:
    """A Redis of one's own, to be frozen; thawed at the end."""
    server = EmbeddedRedis(tmp_path)
    url = await server.start()
    yield server, url
    os.kill(server.pid, signal.SIGCONT)
    await server.stop()


async def test_an_exit_passes_a_frozen_redis(own_redis, tables: str) -> None:
    """Within a second or two the exit is at the broker and the entry has failed with its reason; a kill switch is applied."""
    server, url = own_redis
    async with open_room(tables, url, trader=Live, budget_seconds=BUDGET) as room:
        await room.open_for_trading()
        os.kill(server.pid, signal.SIGSTOP)
        entry, leaving = approved(1, 1), approved(2, 2, side=Side.SELL, effect=PositionEffect.REDUCES)
        async with asyncio.timeout(15):  # a call and its retries took 20 s with the client's own time-outs
            await room.handle(entry, leaving)
            assert (await room.order(leaving)).status is OrderStatus.OPEN
            failed = await room.ended(entry)
            request = trading.ApplyKillSwitchRequest(
                broker="paper", state=common.TRADING_STATE_HALTED, revision=1
            )
            assert (await room.api.ApplyKillSwitch(request, None)).revision == 1
        assert failed.failure in {FailureReason.MARKET_TIME_UNKNOWN, FailureReason.KILL_SWITCH}
        (told,) = terminal(await room.events(entry))
        assert told.order_failed.message
        waits = approved(3, 3, key=replace(approved(token=3).key, broker="papertwo"), side=Side.SELL,
                         effect=PositionEffect.REDUCES)  # fmt: skip
        with pytest.raises(Exception, match="a paper exit waits for it"):
            await room.handle(waits)
        os.kill(server.pid, signal.SIGCONT)
        await room.market_is()
        await room.handle(waits)
        assert (await room.ended(waits)).status is OrderStatus.FILLED


async def test_a_kill_switch_does_not_wait_for_a_frozen_redis(own_redis) -> None:
    """Its mirror is given up within the budget, to be written again; what can't be read is REDUCING."""
    server, url = own_redis
    redis = open_redis(url, RetrySettings(), timeout_seconds=2)
    mirror = KillSwitchMirror(redis, BUDGET)
    await mirror.write("paper", TradingState.ACTIVE, 1)
    os.kill(server.pid, signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await mirror.write("paper", TradingState.HALTED, 2)
    assert await mirror.state("paper") is TradingState.REDUCING
    assert time.monotonic() - began < 5
    await redis.aclose()


async def test_a_redis_that_hangs_is_an_error_after_our_time_outs(own_redis) -> None:
    """No default of the library decides: a call ends after the attempts and the time-out that are set."""
    server, url = own_redis
    redis = open_redis(url, RetrySettings(redis_attempts=1), timeout_seconds=0.2)
    await redis.ping()
    os.kill(server.pid, signal.SIGSTOP)
    async with asyncio.timeout(4):
        with pytest.raises(Exception, match=r"(?i)time"):
            await redis.ping()
    await redis.aclose()
