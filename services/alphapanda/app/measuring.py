"""Opens the process's metrics (settings.monitoring.metrics) and updates them from the services' reports."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import structlog
from redis.exceptions import RedisError

from alphapanda import __version__
from alphapanda.app.calendars import days_left
from alphapanda.app.certificates import certificate_days
from alphapanda.app.clocks import wall_clock
from alphapanda.app.gauging import of_admission, of_consumers, of_machine, thresholds
from alphapanda.app.probes import traded_segments, trades
from alphapanda.app.process import Gauges, Room
from alphapanda.app.resources import ProcessResources
from alphapanda.domain.consumer_status import ConsumerStatus
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import instant
from alphapanda.domain.order import FailureReason
from alphapanda.mesh.admission import Admission
from alphapanda.ops.core import ServiceReport, ServiceState, unanswered
from alphapanda.ops.host_watch import HostWatch
from alphapanda.ops.lag_watch import LagWatch
from alphapanda.ops.source import RunServer, StatusSource
from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.budgets import within
from alphapanda.resilience.rounds import Rounds
from alphapanda.risk.core.reasons import REASONS
from alphapanda.settings.model import Settings
from alphapanda.storage.price_cache import MarketClock
from alphapanda.telemetry.error_counts import ErrorCounts
from alphapanda.telemetry.figures import Outcome, Point
from alphapanda.telemetry.gauges import IN_SESSION
from alphapanda.telemetry.host import ProcessReader

if TYPE_CHECKING:
    from alphapanda.telemetry.metrics import Metrics

MOST_SECONDS: Final = 3.0
"""How long services and stores may take to answer a round."""

T = TypeVar("T")
_log = structlog.get_logger(__name__)


def open_metrics(settings: Settings, stack: AsyncExitStack) -> Metrics | None:
    """Opens the metrics; None where they are switched off or no exporter is configured. The stack closes them.

    Raises:
        InvalidInput: the port for Prometheus can't be bound.
    """
    monitoring, telemetry = settings.monitoring, settings.telemetry
    delivers = telemetry.otlp_endpoint and telemetry.otlp_metrics
    if not monitoring.metrics or not (monitoring.prometheus_port or delivers):
        return None
    from alphapanda.telemetry.metrics import (  # noqa: PLC0415 - importing it takes time, which a start without metrics saves
        Metrics,
        collector_reader,
    )

    readers, exemplars, endpoint = [], None, None
    if monitoring.prometheus_port:
        from alphapanda.telemetry.prometheus import PrometheusEndpoint  # noqa: PLC0415 - as above

        host, port = monitoring.prometheus_host, monitoring.prometheus_port
        try:
            endpoint = PrometheusEndpoint(host, port, monitoring.cors_origins)
        except OSError as error:
            allowed = f"a port that can be bound at {host} ({error.strerror})"
            raise InvalidInput("monitoring.prometheus_port", port, allowed) from None
        stack.callback(endpoint.stop)
        readers.append(endpoint.reader)
        exemplars = endpoint.exemplars
    if delivers:
        readers.append(
            collector_reader(
                telemetry.otlp_endpoint, monitoring.metrics_interval_seconds, telemetry.otlp_timeout_seconds
            )
        )
    errors = ErrorCounts()
    logging.getLogger().addHandler(errors)
    stack.callback(logging.getLogger().removeHandler, errors)
    metrics = Metrics(readers, settings.environment, __version__, exemplars, errors)
    stack.push_async_callback(asyncio.to_thread, metrics.stop)
    if endpoint is not None:
        endpoint.not_serving = metrics.not_serving
    brokers = settings.active_brokers
    metrics.expect(
        [
            *((broker, Outcome.APPROVED, "") for broker in brokers),
            *((broker, Outcome.REFUSED, reason) for broker in brokers for reason in REASONS),
        ],
        [
            *((broker, status, "") for broker in brokers for status in ("filled", "cancelled")),
            *((broker, "failed", reason.name) for broker in brokers for reason in FailureReason),
        ],
        [(service, broker) for service in ("risk", "trading", "portfolio") for broker in brokers],
    )
    return metrics


class MeasuredService(StatusSource, Protocol):
    """A service that also tells of its consumers without asking anybody."""

    @property
    def consumers(self) -> Sequence[ConsumerStatus]:
        """Its consumers, by broker; their lag isn't known."""


class Collection:
    """Collects the figures of a process. Each part has the same time; of one that doesn't answer the last figures stay.

    A service that doesn't report in time is shown as not serving.

    Args:
        services: their reports are observed.
        gauges: asked for points.
        seconds: how long the parts may take, all at once.
    """

    def __init__(self, services: Sequence[MeasuredService], gauges: Sequence[Gauges], seconds: float) -> None:
        self._services = services
        self._gauges = gauges
        self._seconds = seconds
        self._reports: dict[str, ServiceReport] = {}
        self._points: list[Sequence[Point]] = [()] * len(gauges)

    @property
    def reports(self) -> Sequence[ServiceReport]:
        """The newest reports, in the order of the services."""
        return [self._reports[one.service] for one in self._services if one.service in self._reports]

    @property
    def points(self) -> Sequence[Point]:
        """The newest points of all gauges."""
        return [point for points in self._points for point in points]

    async def collect(self) -> None:
        """Asks all parts."""
        reports = asyncio.gather(*(self._answered(one.status()) for one in self._services))
        gauges = asyncio.gather(*(self._answered(ask()) for ask in self._gauges))
        for service, report in zip(self._services, await reports, strict=True):
            self._reports[service.service] = self._kept(service, report)
        for number, points in enumerate(await gauges):
            if points is not None:
                self._points[number] = points

    async def _answered(self, call: Coroutine[Any, Any, T]) -> T | None:
        """The answer; None where it failed, which the health checks report, or took too long."""
        answers: list[T] = []

        async def ask() -> None:
            answers.append(await within(self._seconds, call))

        await attempted(ask())
        return answers[0] if answers else None

    def _kept(self, service: MeasuredService, report: ServiceReport | None) -> ServiceReport:
        """The report; where its stores didn't answer, the one before with what is known without them."""
        before = self._reports.get(service.service)
        if report is not None and (report.consumers or before is None or not before.consumers):
            return report
        if before is None:
            return unanswered(service.service, "")
        lags = {(one.consumer, one.broker): one.lag for one in before.consumers}
        consumers = (replace(one, lag=lags.get((one.consumer, one.broker), 0)) for one in service.consumers)
        return replace(before, state=ServiceState.NOT_SERVING, consumers=tuple(consumers))


def _observe(
    metrics: Metrics,
    collection: Collection,
    lag_watch: LagWatch | None,
    market_age: float | None,
    servers: Sequence[RunServer],
    admission: Admission,
    calendar_days: int,
    certificate_days: float | None,
    points: Sequence[Point],
) -> None:
    from alphapanda.telemetry.metrics import (  # noqa: PLC0415 - as above
        CallMetrics,
        GroupMetrics,
        ServerMetrics,
        ServiceMetrics,
    )

    reports = collection.reports
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
    consumers = [consumer for one in reports for consumer in one.consumers]
    metrics.observe_points([*points, *collection.points, *of_consumers(consumers)])


def measuring(
    resources: ProcessResources,
    services: Sequence[MeasuredService],
    lag_watch: LagWatch | None,
    admission: Admission,
    servers: Sequence[RunServer] = (),
    rooms: Sequence[Room] = (),
    host: HostWatch | None = None,
) -> list[Rounds]:
    """Builds the task that updates the metrics, so that a reader never waits for the services; none where they are off.

    Args:
        resources: shared by the services of this process.
        services: their reports are observed.
        lag_watch: the groups' lag; None where another process watches it.
        admission: the server's calls.
        servers: servers that this process runs.
        rooms: their gauges are observed.
        host: what the machine uses; None: it isn't observed.
    """
    metrics = resources.metrics
    if metrics is None:
        return []
    seconds = resources.settings.monitoring.metrics_interval_seconds
    process, fixed = ProcessReader(), thresholds(resources.settings)
    collection = Collection(services, [ask for room in rooms for ask in room.gauges], MOST_SECONDS)

    async def collect() -> None:
        age: float | None = None
        points = [*fixed, *of_admission(admission), *of_machine(host.use if host else {}, process.read())]
        points += resources.kite.points() if resources.kite is not None else ()
        # Without Redis the age isn't known; the other metrics are.
        with suppress(RedisError, OSError):
            clock = (await within(MOST_SECONDS, resources.prices.read(()))).clock
            if clock is not None:
                age = (wall_clock() - instant(clock.wall_time_ns)).total_seconds()
                points.append(_in_session(resources, clock))
        await collection.collect()
        days = days_left(resources.calendar)
        certificate = certificate_days(resources.security.server.tls)
        _observe(metrics, collection, lag_watch, age, servers, admission, days, certificate, points)

    return [Rounds("figures", collect, seconds, _log, at_once=True)]


def _in_session(resources: ProcessResources, clock: MarketClock) -> Point:
    """Whether frames are due now: by the market's clock where a feed owns its time, else by the wall's."""
    now = instant(clock.market_time_ns) if clock.simulated else wall_clock()
    segments = traded_segments(resources.calendar, resources.directory)
    return Point(IN_SESSION, trades(resources.calendar, segments, now))
