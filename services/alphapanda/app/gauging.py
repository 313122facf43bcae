"""The figures of a process that belong to no service: consumers, limiters, machine, thresholds of alarms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from alphapanda.app.groups import GROUPS
from alphapanda.domain.consumer_status import ConsumerStatus
from alphapanda.mesh.admission import Admission
from alphapanda.resilience.failures import BROKER, LOG, POSTGRESQL, REDIS
from alphapanda.settings.model import Settings
from alphapanda.telemetry import gauges
from alphapanda.telemetry.figures import Point
from alphapanda.telemetry.host import ProcessUse

DEPENDENCIES: Final = (POSTGRESQL, REDIS, LOG, BROKER)


def of_consumers(consumers: Iterable[ConsumerStatus]) -> Sequence[Point]:
    """Parked keys and breakers of the consumers in groups; a breaker that is closed shows 0."""
    found = []
    for one in consumers:
        if one.consumer in GROUPS:
            found.append(Point(gauges.PARKED_KEYS, one.parked, (one.consumer, one.broker)))
            found += [
                Point(gauges.BREAKER_OPEN, name in one.open_circuits, (one.consumer, one.broker, name))
                for name in DEPENDENCIES
            ]
    return found


def of_admission(admission: Admission) -> Sequence[Point]:
    """Calls that the server may work on beside those at work, by kind."""
    running, found = admission.running, []
    for kind, most in admission.limits.items():
        labels = (f"calls_{kind.value}", "")
        found.append(Point(gauges.HEADROOM, max(most - running[kind], 0), labels))
        found.append(Point(gauges.LIMIT, most, labels))
    return found


def of_machine(use: Mapping[str, float], process: ProcessUse) -> Sequence[Point]:
    """What the machine and this process use."""
    found = [Point(gauges.HOST_USED, share, (name,)) for name, share in use.items()]
    found.append(Point(gauges.MEMORY, process.memory))
    found.append(Point(gauges.DESCRIPTORS, process.descriptors))
    found.append(Point(gauges.THREADS, process.threads))
    if process.cpu is not None:
        found.append(Point(gauges.PROCESS_CPU, process.cpu))
    return found


def host_limits(settings: Settings) -> Mapping[str, float]:
    """Largest used share without an alarm, by resource."""
    limits = settings.health_checks
    return {"memory": limits.max_memory, "cpu": limits.max_cpu, "disk": limits.max_disk}


def thresholds(settings: Settings) -> Sequence[Point]:
    """The settings that alarms compare with, so that the rules of Prometheus follow them."""
    limits = settings.health_checks
    values = {
        **host_limits(settings),
        "lag": limits.max_lag,
        "tick_age": limits.tick_max_age_seconds,
        "snapshot_age": limits.snapshot_max_age_seconds,
        "market_data_latency": limits.market_data_max_latency_seconds,
        "calendar_days": settings.calendar.warn_days,
        "certificate_days": settings.tls.warn_days,
    }
    return [Point(gauges.ALARM_THRESHOLD, value, (name,)) for name, value in values.items()]
