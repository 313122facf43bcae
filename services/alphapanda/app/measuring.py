"""Opens the process's metrics (settings.monitoring.metrics) and updates them from the services' reports."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from alphapanda import __version__
from alphapanda.app.calendars import days_left
from alphapanda.app.certificates import certificate_days
from alphapanda.app.resources import ProcessResources, wall_clock
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import instant
from alphapanda.mesh.admission import Admission
from alphapanda.ops.core import ServiceReport, ServiceState
from alphapanda.ops.lag_watch import LagWatch
from alphapanda.ops.source import RunServer, StatusSource
from alphapanda.resilience.rounds import Rounds
from alphapanda.settings.model import Settings

if TYPE_CHECKING:
    from alphapanda.telemetry.metrics import Metrics

_log = structlog.get_logger(__name__)


def open_metrics(settings: Settings, stack: AsyncExitStack) -> Metrics | None:
    """Opens the metrics; None where they are switched off or no exporter is configured. The stack closes them.

    Raises:
        InvalidInput: the port for Prometheus can't be bound.
    """
    monitoring, telemetry = settings.monitoring, settings.telemetry
    if not monitoring.metrics or not (monitoring.prometheus_port or telemetry.otlp_endpoint):
        return None
    from alphapanda.telemetry.metrics import (  # noqa: PLC0415 - importing it takes time, which a start without metrics saves
        Metrics,
        PrometheusEndpoint,
        collector_reader,
    )

    readers = []
    if monitoring.prometheus_port:
        try:
            endpoint = PrometheusEndpoint(settings.api.host, monitoring.prometheus_port)
        except OSError as error:
            allowed = f"a port that can be bound ({error.strerror})"
            raise InvalidInput("monitoring.prometheus_port", monitoring.prometheus_port, allowed) from None
        stack.callback(endpoint.stop)
        readers.append(endpoint.reader)
    if telemetry.otlp_endpoint:
        readers.append(
            collector_reader(
                telemetry.otlp_endpoint, monitoring.metrics_interval_seconds, telemetry.otlp_timeout_seconds
            )
        )
    metrics = Metrics(readers, settings.environment, __version__)
    stack.callback(metrics.stop)
    return metrics


async def _collect(
    metrics: Metrics,
    services: Sequence[StatusSource],
    lag_watch: LagWatch | None,
    market_age: float | None,
    servers: Sequence[RunServer],
    admission: Admission,
    calendar_days: int,
    certificate_days: float | None,
) -> None:
    from alphapanda.telemetry.metrics import (  # noqa: PLC0415 - as above
        CallMetrics,
        GroupMetrics,
        ServerMetrics,
        ServiceMetrics,
    )

    reports: list[ServiceReport] = [await service.status() for service in services]
    metrics.observe(
        [
            ServiceMetrics(
                one.service, one.state is ServiceState.SERVING, one.outbox_unpublished, one.counters
            )
            for one in reports
        ],
        [(one.service, consumer) for one in reports for consumer in one.consumers],
        []
        if lag_watch is None
        else [
            GroupMetrics(lag.group, lag.topic, lag.broker, lag.lag, lag_watch.alarms_about(lag))
            for lag in lag_watch.lags
        ],
        market_age,
        [ServerMetrics(one.name, one.serving, one.restarts) for one in servers],
        CallMetrics(
            {kind.value: calls for kind, calls in admission.running.items()}, admission.refused.copy()
        ),
        calendar_days,
        certificate_days,
    )


def measuring(
    resources: ProcessResources,
    services: Sequence[StatusSource],
    lag_watch: LagWatch | None,
    admission: Admission,
    servers: Sequence[RunServer] = (),
) -> list[Rounds]:
    """Builds the task that updates the metrics, so that a reader never waits for the services; none where they are off.

    While a dependency can't be reached its metrics keep their last values; the health checks report the failure.
    """
    metrics = resources.metrics
    if metrics is None:
        return []
    seconds = resources.settings.monitoring.metrics_interval_seconds

    async def collect() -> None:
        async with asyncio.timeout(seconds):  # bounded, because a stop waits for this round
            age: float | None = None
            with suppress(RedisError, OSError):  # without Redis the age isn't known; the other metrics are
                if clock := (await resources.prices.read(())).clock:
                    age = (wall_clock() - instant(clock.wall_time_ns)).total_seconds()
            await _collect(
                metrics,
                services,
                lag_watch,
                age,
                servers,
                admission,
                days_left(resources.calendar),
                certificate_days(resources.security.server.tls),
            )

    return [Rounds("figures", collect, seconds, _log, at_once=True)]
