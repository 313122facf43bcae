"""Risk decides while Redis hangs (SIGSTOP), with an account-wide limit set: exits pass, entries are refused with a reason."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import UTC, datetime
from pathlib import Path

from alphapanda.app.resources import open_redis
from alphapanda.domain.order import OrderStatus, PositionEffect
from alphapanda.embedded.redis import EmbeddedRedis
from alphapanda.risk.core.limit_changes import LimitChange
from alphapanda.risk.core.scoped_limits import LimitScope
from alphapanda.settings.operation import RetrySettings
from alphapanda.storage.price_cache import PriceCache


async def test_exits_are_decided_while_redis_hangs(postgres_risk, tmp_path: Path) -> None:
    """The exit has its verdict long before a call to Redis and its retries would be over."""
    risk = postgres_risk
    await risk.raw(risk.signal(10))
    (bought,) = await risk.validated()
    await risk.told(bought, 10, OrderStatus.FILLED, 1)
    now = datetime.now(tz=UTC)
    async with risk.store.unit("paper", "default") as unit:
        values = {"max_gross_exposure": "100000000"}
        await unit.save_limits(LimitChange(LimitScope(), values, (), "test", "a test", now))
    server = EmbeddedRedis(tmp_path)
    redis = open_redis(await server.start(), RetrySettings(), timeout_seconds=2)
    await redis.ping()
    os.kill(server.pid, signal.SIGSTOP)
    try:
        risk.market.view = PriceCache(redis, 10.0, lambda: now).view
        async with asyncio.timeout(8):
            await risk.raw(risk.signal(0))
            await risk.raw(risk.signal(20))
        leaving = (await risk.validated())[1:]
        assert [(order.quantity, order.effect) for order in leaving] == [(10, PositionEffect.REDUCES)]
    finally:
        os.kill(server.pid, signal.SIGCONT)
        await redis.aclose()
        await server.stop()
