"""Figures are collected from whoever answers; market data's latency and old snapshots are probed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from alphapanda.app.measuring import Collection
from alphapanda.app.probes import latency, snapshots
from alphapanda.domain.consumer_status import ConsumerStatus
from alphapanda.marketdata.core.slowest import Slowest
from alphapanda.ops.checks import CheckFailed
from alphapanda.ops.core import ServiceReport, ServiceState
from alphapanda.telemetry.figures import Point
from alphapanda.telemetry.gauges import THREADS

NOON = datetime(2026, 11, 30, 6, 30, tzinfo=UTC)


class Service:
    """A service whose store may hang."""

    service = "risk"

    def __init__(self) -> None:
        self.hangs = False
        self.consumers = [ConsumerStatus("risk.signals", "paper", open_circuits=("PostgreSQL",))]

    async def status(self) -> ServiceReport:
        if self.hangs:
            await asyncio.Event().wait()
        consumer = ConsumerStatus("risk.signals", "paper", lag=3)
        return ServiceReport("risk", ServiceState.SERVING, (consumer,), outbox_unpublished=2)


async def test_who_does_not_answer_is_shown_not_serving_and_the_others_go_on() -> None:
    """A hanging store costs the round its time and no more: its last figures stay, its breakers are told of without it."""
    service, asked = Service(), 0

    async def hangs_later() -> list[Point]:
        nonlocal asked
        asked += 1
        if asked > 1:
            await asyncio.Event().wait()
        return [Point(THREADS, 1.0)]

    async def counts() -> list[Point]:
        return [Point(THREADS, float(asked))]

    async def fails() -> list[Point]:
        raise ConnectionError

    collection = Collection([service], [hangs_later, counts, fails], 0.05)
    await collection.collect()
    service.hangs = True
    await collection.collect()
    (report,) = collection.reports
    (consumer,) = report.consumers
    assert (report.state, report.outbox_unpublished) == (ServiceState.NOT_SERVING, 2)
    assert (consumer.lag, consumer.open_circuits) == (3, ("PostgreSQL",))
    assert [point.value for point in collection.points] == [1.0, 2.0]


async def test_a_slow_frame_is_a_degradation_until_the_next_look() -> None:
    """The slowest frame since the last look is compared with the limit."""
    slowest = Slowest()
    probe = latency(slowest, 1.0)
    assert await probe() == ""
    for seconds in (0.2, 1.5, 0.3):
        slowest.note(seconds)
    assert await probe() == "a frame took 1.5 s to be published; 1 s are allowed"
    slowest.note(1.0)
    assert await probe() == ""


def resources_at(now: datetime) -> Any:
    async def view(_: object) -> Any:
        return SimpleNamespace(market_time=now)

    return cast(
        "Any",
        SimpleNamespace(
            settings=SimpleNamespace(health_checks=SimpleNamespace(snapshot_max_age_seconds=600.0)),
            prices=SimpleNamespace(view=view),
        ),
    )


async def test_snapshots_that_are_too_old_are_a_failure() -> None:
    """Portfolio doesn't serve then, and says how old they are."""
    probe = snapshots(resources_at(NOON), lambda: NOON - timedelta(seconds=601), 0.0)
    with pytest.raises(
        CheckFailed, match="the newest snapshots are 601 s of market time old; 600 s are allowed"
    ):
        await probe()


async def test_a_night_that_market_time_jumps_over_is_none() -> None:
    """Where the snapshots reach the time of the first look in a moment, nothing is wrong; nor where no time is known."""
    taken = iter([NOON - timedelta(hours=18), NOON])
    assert await snapshots(resources_at(NOON), lambda: next(taken), 0.0)() == ""
    assert await snapshots(resources_at(NOON), lambda: None, 0.0)() == ""
