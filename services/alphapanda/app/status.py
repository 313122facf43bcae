"""Builds a process's status: a status source for each room, and the room of OpsService."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from alphapanda import __version__
from alphapanda.app.calendars import notices
from alphapanda.app.certificates import certificate_notices
from alphapanda.app.clocks import wall_clock
from alphapanda.app.day_cycle import day_cycle
from alphapanda.app.groups import GROUPS
from alphapanda.app.process import Phase, Room
from alphapanda.app.resources import ProcessResources
from alphapanda.embedded.supervisor import ServerSupervisor
from alphapanda.ops.api import OpsServicer
from alphapanda.ops.audit_api import AuditApi
from alphapanda.ops.backups import Backups
from alphapanda.ops.checks import ActiveCheck
from alphapanda.ops.core import ServiceState
from alphapanda.ops.lag_watch import LagWatch
from alphapanda.ops.log_api import LogApi
from alphapanda.ops.source import RunningService, StatusSource
from alphapanda.storage.audit import PostgresAudit, audit_purge
from alphapanda.storage.audit_trail import AuditTrail
from alphapanda.storage.purging import Purging
from panda.ops.v1.ops_pb2_grpc import add_OpsServiceServicer_to_server

OPS_SERVICE = "panda.ops.v1.OpsService"


def running_service(
    room: Room,
    lifecycle: Callable[[], ServiceState],
    active: Sequence[ActiveCheck] = (),
    servers: Sequence[ServerSupervisor] = (),
) -> RunningService:
    """Builds the status source of a room, with its active checks and the servers that it depends on."""
    return RunningService(
        room.service,
        lifecycle,
        wall_clock,
        readers=[*room.followers, *room.consumers],
        relay=room.relay,
        brokers=room.brokers,
        counters=room.counters,
        checks=[*servers, *active, *room.checks],  # dependencies are named first
        degradable=[*active, *room.degradable],
    )


def ops_room(
    resources: ProcessResources,
    services: Sequence[StatusSource],
    lag_watch: LagWatch | None = None,
    servers: Sequence[ServerSupervisor] = (),
    trail: AuditTrail | None = None,
    about_host: Callable[[], Sequence[str]] = tuple,
) -> Room:
    """Builds the room of OpsService for these services, with the groups' lag where this process watches it.

    Args:
        resources: shared by the services of this process.
        services: reported by GetStatus.
        lag_watch: watches the groups' lag; None where another process does.
        servers: supervisors of the servers that this process runs.
        trail: records the process's commands; its old entries are purged where the groups' lag is watched.
        about_host: returns what a person should know about the machine, in sentences.
    """

    async def market_time() -> datetime | None:
        return (await resources.prices.view(())).market_time

    found = None if lag_watch is None else day_cycle(resources, market_time)
    cycle, channels = (None, ()) if found is None else found
    settings = resources.settings
    about_calendar = notices(resources.calendar, settings.calendar.warn_days)
    about_certificate = certificate_notices(resources.security.server.tls, settings.tls.warn_days)
    about_the_log = LogApi(resources.log, resources.topic_map, GROUPS)
    servicer = OpsServicer(
        services,
        __version__,
        wall_clock(),
        market_time,
        about_the_log,
        lag_watch,
        servers,
        Backups(resources.write_backup),
        audit=AuditApi(PostgresAudit(resources.engine)),
        day_cycle=cycle,
        notices=lambda: [*about_calendar(), *about_certificate(), *about_host()],
    )
    retention = resources.settings.retention
    purges = Purging(
        "ops",
        resources.engine,
        [audit_purge(timedelta(hours=retention.audit_hours))],
        retention.interval_seconds,
        wall_clock,
    )
    recording = [] if trail is None else [(Phase.LISTEN, trail)]
    forgetting = [] if lag_watch is None else [(Phase.WAKE, purges.rounds)]
    return Room(
        service="ops",
        full_name=OPS_SERVICE,
        registration=lambda server: add_OpsServiceServicer_to_server(servicer, server),
        parts=[
            (Phase.LISTEN, about_the_log),
            *recording,
            *forgetting,
            *([] if cycle is None else [(Phase.FEED, cycle.rounds)]),
        ],
        channels=channels,
        checks=[] if cycle is None else [cycle.rounds],
        gauges=[about_the_log.points] if lag_watch is not None else (),
    )
