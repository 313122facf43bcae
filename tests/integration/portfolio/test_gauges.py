"""What portfolio's figures say: sums over a broker's accounts at the last prices, and nothing where a price is missing."""

from __future__ import annotations

from typing import Any

import pytest
from portfolio_service import INFY, OPENED, TCS, Market, Service, stored_in
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.portfolio.cache import BooksCache
from alphapanda.portfolio.consumer import PortfolioConsumer
from alphapanda.portfolio.gauges import PortfolioGauges
from alphapanda.telemetry import gauges
from alphapanda.telemetry.figures import Gauge


@pytest.mark.parametrize("fills", ["paper"], indirect=True)
async def test_profit_and_exposure_are_summed_by_broker(engine: AsyncEngine, fills, redis: Redis) -> None:
    """Long and short add up in the gross exposure; the day's profit is since the day's first snapshot; duplicates are counted."""
    service = Service(stored_in(engine), "paper", Market(), redis)
    told: list[tuple[Any, ...]] = []

    class Told:
        def absorbed(self, *values: object) -> None:
            told.append(values)

        def passed(self, stage: str, broker: str, seconds: float, correlation_id: str) -> None:
            told.append((stage, broker, seconds > 0, correlation_id))

    service.consumer = PortfolioConsumer(service.manager, service.store, (), Told())  # type: ignore[arg-type]
    await service.start()
    batch = [
        fills(1, 10, "100", "1"),
        fills(2, -5, "200", "2", instrument="NSE:TCS", token=TCS, account="second"),
    ]
    await service.fill(*batch)
    await service.fill(batch[0])
    assert told == [
        *(("fill_to_booked", "paper", True, received.correlation_id) for received in batch),
        ("portfolio", "paper", 1),
    ]
    asked = PortfolioGauges(
        service.store,
        BooksCache(service.store, redis),
        service.manager,
        service.market,
        lambda: service.snapshots.taken_to,
        OPENED.date,
    )

    async def read() -> dict[Gauge, float]:
        points = await asked.points()
        assert all(point.labels == ("paper",) for point in points)
        return {point.gauge: point.value for point in points}

    service.tick(INFY, "110", 10)
    unpriced = await read()
    assert (unpriced[gauges.UNPRICED_POSITIONS], unpriced[gauges.GROSS_EXPOSURE]) == (1, 1100)
    assert not {gauges.EQUITY, gauges.UNREALISED, gauges.DAY_PNL} & unpriced.keys()
    service.tick(TCS, "190", 10)
    assert await read() == {
        gauges.CASH: 2_000_000 - 1000 + 1000 - 3,
        gauges.REALISED: 0,
        gauges.CHARGES: 3,
        gauges.EQUITY: 2_000_000 + 100 + 50 - 3,
        gauges.UNREALISED: 150,
        gauges.DAY_PNL: 147,
        gauges.GROSS_EXPOSURE: 1100 + 950,
        gauges.NET_EXPOSURE: 1100 - 950,
        gauges.OPEN_POSITIONS: 2,
        gauges.UNPRICED_POSITIONS: 0,
    }
    await service.stop()
