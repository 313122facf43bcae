"""Builds what `serve` and `up` have in common: connections, and a process from its rooms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.app.bound import StopBound
from alphapanda.app.calendars import calendar_watch
from alphapanda.app.certificates import certificate_watch
from alphapanda.app.gauging import host_limits
from alphapanda.app.health import ActiveChecks, lag_watch
from alphapanda.app.measuring import measuring
from alphapanda.app.process import Lifecycle, Process, Room, Startable, mesh_server
from alphapanda.app.resources import ProcessResources, open_redis, simulated_brokers
from alphapanda.app.status import ops_room, running_service
from alphapanda.app.token_watch import token_watch
from alphapanda.embedded.supervisor import ServerSupervisor
from alphapanda.ops.health import HealthWatch
from alphapanda.ops.host_watch import HostWatch
from alphapanda.ops.source import StatusSource
from alphapanda.resilience.lanes import Lane
from alphapanda.settings.model import Settings
from alphapanda.storage.audit_trail import AuditTrail
from alphapanda.storage.engine import open_engine
from alphapanda.storage.laned_engine import LanedEngine, pool_size_of
from alphapanda.telemetry.host import HostReader
from alphapanda.trading.traders.registry import BrokerRegistry


def open_connections(
    settings: Settings,
    brokers: BrokerRegistry,
    database_url: str,
    redis_url: str,
    stack: AsyncExitStack,
    bound: StopBound,
) -> tuple[AsyncEngine, AsyncEngine, Redis]:
    """Opens the services' database engine, the paper exchange's engine, and Redis; the stack closes them within `bound`.

    The paper exchange has connections of its own because it takes the place of an external broker; as many for each simulated
    broker as trading has call slots. They are opened when they are needed.
    """
    pool_size, slow_query = settings.database.pool_size, settings.monitoring.slow_query_seconds
    engine = LanedEngine(
        {
            lane: open_engine(
                database_url,
                pool_size_of(lane, pool_size),
                slow_query,
                overflow=lane not in {Lane.QUERY, Lane.COMMAND},
            )
            for lane in Lane
        }
    )
    stack.push_async_callback(bound.end, "database", engine.dispose)
    at_paper = len(simulated_brokers(settings, brokers)) or 1
    paper_engine = open_engine(database_url, pool_size * at_paper, slow_query)
    stack.push_async_callback(bound.end, "paper database", paper_engine.dispose)
    redis = open_redis(redis_url, settings.retry, settings.redis.timeout_seconds)
    stack.push_async_callback(bound.end, "Redis", redis.aclose)
    return engine, paper_engine, redis


def process_of(
    resources: ProcessResources,
    rooms: Sequence[Room],
    port: int,
    *,
    elsewhere: Sequence[StatusSource] = (),
    watch_groups: bool = True,
    order: Sequence[str] = (),
    before_binding: Callable[[], None] = lambda: None,
    drain_seconds: float = 5.0,
    servers: Sequence[ServerSupervisor] = (),
    disk: Path | None = None,
) -> Process:
    """Builds a process: one server for these rooms and OpsService, with health checks and metrics.

    Args:
        resources: shared by the rooms.
        rooms: the rooms, in the order of the data flow.
        port: port of the server.
        elsewhere: services of other processes that OpsService reports on.
        watch_groups: whether this process watches the lag of the deployment's consumer groups.
        order: order of the services in GetStatus; services not in it come last.
        before_binding: called just before the server listens.
        drain_seconds: how long calls in flight may take when the process stops.
        servers: supervisors of the servers that this process runs.
        disk: a path on the disk that is watched; None: the current folder.
    """
    lifecycle = Lifecycle()
    groups = lag_watch(resources) if watch_groups else None
    watched = ActiveChecks(resources, rooms, [groups] if groups else (), servers)

    async def try_now() -> None:
        for room in rooms:
            for reader in room.consumers:
                reader.try_now()
            if room.relay is not None:
                room.relay.try_now()
        watched.check_soon()

    for supervisor in servers:
        supervisor.restored.append(try_now)
    running = {
        room.full_name: running_service(
            room, lambda: lifecycle.state, watched.of(room.service), watched.servers_of(room.service)
        )
        for room in rooms
    }
    sources: list[StatusSource] = [*running.values(), *elsewhere]
    sources.sort(key=lambda one: order.index(one.service) if one.service in order else len(order))
    trail = AuditTrail(resources.engine)
    settings = resources.settings
    host = HostWatch(
        HostReader(disk or Path.cwd()).read, host_limits(settings), settings.health_checks.interval_seconds
    )
    tokens = token_watch(resources)

    def about_process() -> Sequence[str]:
        return [
            *host.notices(),
            *(tokens.notices() if tokens else ()),
            *(resources.kite.notices() if resources.kite else ()),
        ]

    ops = ops_room(resources, sources, groups, servers, trail, about_process)
    running[ops.full_name] = running_service(ops, lambda: lifecycle.state)
    every = [*rooms, ops]
    security = resources.security.server
    server = mesh_server(resources.settings, port, every, before_binding, trail, security, resources.tracer)
    if resources.metrics is not None:
        resources.metrics.watch_services(lambda: server.not_serving)
    health: list[Startable] = [
        HealthWatch(running, server.set_serving),
        watched.dependencies,
        watched.checks,
        calendar_watch(resources.calendar, resources.settings.calendar.warn_days),
        host.rounds,
        *([tokens] if tokens else []),
        *([resources.kite] if resources.kite else []),
        *measuring(resources, [*running.values()], groups, server.admission, servers, every, host),
    ]
    if (tls := resources.security.server.tls) is not None:
        health.append(certificate_watch(tls, resources.settings.tls.warn_days))
    return Process(every, server, health, lifecycle, drain_seconds)
