"""Builds the active health checks of each room, from settings.health_checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import text

from alphapanda.app.clocks import wall_clock
from alphapanda.app.groups import GROUPS
from alphapanda.app.probes import lag, timed
from alphapanda.app.process import Room
from alphapanda.app.resources import ProcessResources
from alphapanda.embedded.supervisor import ServerSupervisor
from alphapanda.ops.checks import ActiveCheck, HealthChecks, PeriodicCheck
from alphapanda.ops.lag_watch import LagWatch
from alphapanda.resilience.failures import POSTGRESQL, REDIS

ON_DATABASE: Final = frozenset(
    {"instruments", "strategy", "risk", "trading", "portfolio", "auth", "broker-session"}
)
ON_LOG: Final = frozenset({"marketdata", "strategy", "risk", "trading", "portfolio"})
DEPENDENCY_SECONDS: Final = 2.0
"""Between two rounds that ask database, Redis and log, at most: what hangs is told within seconds, and asking is cheap."""

ON_REDIS: Final = frozenset({"marketdata", "risk", "trading", "portfolio"})


class ActiveChecks:
    """The active checks of a process, by service.

    Args:
        resources: shared by the services of this process.
        rooms: the rooms to check.
        also: checks that run in the rounds of `checks` and belong to no service.
        servers: supervisors of the servers that this process runs.

    Attributes:
        dependencies: rounds that ask database, Redis and log.
        checks: rounds of the other checks.
    """

    def __init__(
        self,
        resources: ProcessResources,
        rooms: Sequence[Room],
        also: Sequence[PeriodicCheck] = (),
        servers: Sequence[ServerSupervisor] = (),
    ) -> None:
        self._servers = servers
        limits = resources.settings.health_checks

        async def query() -> None:
            async with resources.engine.connect() as connection:
                await connection.execute(text("SELECT 1"))

        async def ping() -> None:
            await resources.redis.ping()

        topic = resources.topic_map.sources()[0]

        async def ask_log() -> None:
            await resources.log.ping(topic)

        slow = limits.max_latency_seconds
        log = ActiveCheck("log", timed(ask_log, slow), limits.timeout_seconds)
        database = ActiveCheck("database", timed(query, slow), limits.database_timeout_seconds)
        redis = ActiveCheck("redis", timed(ping, slow), limits.redis_timeout_seconds)
        self._by_service: dict[str, list[ActiveCheck]] = {}
        dependencies: dict[ActiveCheck, None] = {}
        for room in rooms:
            own = [database] * (room.service in ON_DATABASE) + [redis] * (room.service in ON_REDIS)
            own += [log] * (room.service in ON_LOG)
            dependencies |= dict.fromkeys(own)
            own += (ActiveCheck(name, ask, limits.timeout_seconds) for name, ask in room.probes.items())
            if room.followers:
                ask = lag(room.followers, limits.max_lag)
                own.append(ActiveCheck("lag", ask, limits.timeout_seconds))
            self._by_service[room.service] = own
        every = dict.fromkeys(check for checks in self._by_service.values() for check in checks)
        others = [check for check in every if check not in dependencies]
        interval, grace = limits.interval_seconds, limits.grace_seconds
        self.dependencies = HealthChecks([*dependencies], min(interval, DEPENDENCY_SECONDS), grace)
        self.checks = HealthChecks([*others, *also], interval, grace)

    def of(self, service: str) -> Sequence[ActiveCheck]:
        """Returns the checks of a service; some are shared with other services."""
        return self._by_service.get(service, ())

    def check_soon(self) -> None:
        """Begins the next rounds at once: a dependency has come back."""
        self.dependencies.check_soon()
        self.checks.check_soon()

    def servers_of(self, service: str) -> Sequence[ServerSupervisor]:
        """Returns the supervisors of the servers that a service depends on."""
        needed = {POSTGRESQL: ON_DATABASE, REDIS: ON_REDIS}
        return [server for server in self._servers if service in needed[server.name]]


def lag_watch(resources: ProcessResources) -> LagWatch:
    """Builds the watch over the lag of the deployment's groups."""
    limits = resources.settings.health_checks
    return LagWatch(
        resources.log, resources.topic_map, GROUPS, limits.max_lag, limits.timeout_seconds, wall_clock
    )
