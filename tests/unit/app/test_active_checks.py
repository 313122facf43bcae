"""A dependency that hangs is told within seconds, by name, for every service that needs it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from alphapanda.app.health import DEPENDENCY_SECONDS, ON_DATABASE, ON_LOG, ON_REDIS, ActiveChecks
from alphapanda.app.kite_accounts import BROKER_SESSION
from alphapanda.app.process import Room
from alphapanda.ops.core import blocking_failure
from alphapanda.settings.operation import HealthCheckSettings

SERVICES = ("marketdata", "instruments", "strategy", "risk", "trading", "portfolio", "auth", BROKER_SESSION)
NEEDED_BY = {"database": ON_DATABASE, "redis": ON_REDIS, "log": ON_LOG}


class Dependencies:
    """Database, Redis and log; the one that is named hangs."""

    def __init__(self, hanging: str) -> None:
        self._hanging = hanging

    async def _answer(self, name: str) -> None:
        if name == self._hanging:
            await asyncio.Event().wait()

    async def ping(self, topic: str = "") -> None:
        """Redis's without a topic, the log's with one."""
        await self._answer("log" if topic else "redis")

    @asynccontextmanager
    async def connect(self) -> Any:
        """The database's."""
        yield self

    async def execute(self, _: object) -> None:
        """A statement."""
        await self._answer("database")


@pytest.mark.parametrize("hanging", NEEDED_BY)
async def test_what_hangs_is_named_by_who_needs_it(hanging: str) -> None:
    """Services that need it are not serving, and say which it is; the others serve."""
    both = Dependencies(hanging)
    limits = HealthCheckSettings(
        interval_seconds=0.01,
        timeout_seconds=0.1,
        redis_timeout_seconds=0.1,
        database_timeout_seconds=0.1,
        grace_seconds=0,
    )
    resources = SimpleNamespace(
        settings=SimpleNamespace(health_checks=limits),
        engine=both,
        redis=both,
        log=both,
        topic_map=SimpleNamespace(sources=lambda: ("market.ticks",)),
    )
    rooms = [Room(service, f"panda.{service}", lambda _: None) for service in SERVICES]
    watched = ActiveChecks(cast("Any", resources), rooms)
    await watched.dependencies.start()
    told: dict[str, str] = {}
    async with asyncio.timeout(10):
        while told.keys() != NEEDED_BY[hanging]:
            await asyncio.sleep(0.01)
            failures = {
                room.service: blocking_failure(
                    cast("Any", watched.of(room.service)),
                )
                for room in rooms
            }
            told = {service: failure for service, failure in failures.items() if failure}
    await watched.dependencies.stop()
    assert set(told.values()) == {f"{hanging}: no answer within 0.1 s"}


async def test_dependencies_are_asked_every_few_seconds_whatever_the_interval() -> None:
    """The other checks keep the interval of the settings; what a service can't work without is asked more often."""
    resources = SimpleNamespace(
        settings=SimpleNamespace(health_checks=HealthCheckSettings()),
        topic_map=SimpleNamespace(sources=lambda: ("market.ticks",)),
    )
    watched = ActiveChecks(cast("Any", resources), [])
    assert watched.checks.interval_seconds == HealthCheckSettings().interval_seconds
    assert watched.dependencies.interval_seconds == DEPENDENCY_SECONDS
    assert DEPENDENCY_SECONDS <= 2
