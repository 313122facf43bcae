"""The OpenTelemetry metrics of a process, exported by Prometheus and by OTLP.

Counters come from the services' status reports, gauges from what the rooms are asked for (gauges.py): the newest are kept and
observed when a reader collects. Only latencies, verdicts and the ends of orders are recorded as they happen (figures.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from typing_extensions import override

from alphapanda.domain.consumer_status import ConsumerStatus
from alphapanda.telemetry.error_counts import ErrorCounts
from alphapanda.telemetry.exemplars import Exemplars
from alphapanda.telemetry.figures import Figures, Gauge, Outcome, Point, Stage
from alphapanda.telemetry.gauges import GAUGES

STOP_SECONDS: Final = 1.0
"""How long a stop waits for the last export, so that a collector that hangs doesn't use up the time of the other parts."""
LATENCY_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds."""

STAGES: Final[Mapping[Stage, str]] = {
    Stage.TICK_TO_SIGNAL: "from a frame's publication to the log's acknowledgement of a signal that it led to",
    Stage.SIGNAL_TO_VERDICT: "from the making of a signal to the commit of risk's verdict",
    Stage.VERDICT_TO_ORDER: "from the making of an approval to the commit of its order",
    Stage.ORDER_TO_FILL: "from the decision to send an order to the commit of its first fill",
    Stage.FILL_TO_BOOKED: "from the making of a fill's event to the commit of its ledger entries",
}
"""What each stage's histogram says."""


@dataclass(frozen=True, slots=True)
class ServiceMetrics:
    """Metrics of a service: counters since the start of the process; `serving` and `outbox_unpublished` as of now."""

    service: str
    serving: bool
    outbox_unpublished: int
    counters: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class GroupMetrics:
    """Lag of a consumer group on a topic, in records, and whether it raises an alarm."""

    group: str
    topic: str
    broker: str
    lag: int
    alarm: bool


@dataclass(frozen=True, slots=True)
class ServerMetrics:
    """A server that this process runs: whether it serves, and how often it was started again."""

    server: str
    serving: bool
    restarts: int


@dataclass(frozen=True, slots=True)
class CallMetrics:
    """Calls to this process's gRPC server: at work now, by kind; refused since its start, by (reason, method)."""

    running: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[tuple[str, str], int] = field(default_factory=dict)


NO_CALLS: Final = CallMetrics()


class Metrics(Figures):
    """The metrics of one process.

    Args:
        readers: collect and export the metrics.
        environment: development, testing or production.
        version: version of the program.
        exemplars: gets an example of each stage's latencies; None where nobody reads them.
        errors: counts the log's errors; None: they aren't observed.
    """

    def __init__(
        self,
        readers: Sequence[MetricReader],
        environment: str,
        version: str,
        exemplars: Exemplars | None = None,
        errors: ErrorCounts | None = None,
    ) -> None:
        resource = Resource(
            {
                "service.name": "alphapanda",
                "service.version": version,
                "deployment.environment.name": environment,
            }
        )
        self._provider = MeterProvider(readers, resource, shutdown_on_exit=False)
        self._consumers: Sequence[tuple[str, ConsumerStatus]] = ()
        self._services: Sequence[ServiceMetrics] = ()
        self._groups: Sequence[GroupMetrics] = ()
        self._market_age: float | None = None
        self._calendar_days: int | None = None
        self._certificate_days: float | None = None
        self._servers: Sequence[ServerMetrics] = ()
        self._calls = NO_CALLS
        self._waiting_for: Callable[[], Sequence[str]] = lambda: ("nothing is started yet",)
        self._points: Mapping[Gauge, Sequence[Point]] = {}
        self._exemplars = exemplars
        self._errors = errors
        self._verdicts: Counter[tuple[str, str, str]] = Counter()
        self._orders: Counter[tuple[str, str, str]] = Counter()
        self._absorbed: Counter[tuple[str, str]] = Counter()
        meter = self._provider.get_meter("alphapanda")
        for name in ("processed", "failed", "retried", "dead_lettered"):
            meter.create_observable_counter(
                f"alphapanda.consumer.{name}", [self._of_consumers(name)], "{record}"
            )
        meter.create_observable_gauge("alphapanda.consumer.lag", [self._of_consumers("lag")], "{record}")
        meter.create_observable_gauge("alphapanda.group.lag", [self._of_groups("lag")], "{record}")
        meter.create_observable_gauge("alphapanda.group.lag_alarm", [self._of_groups("alarm")])
        meter.create_observable_gauge("alphapanda.service.serving", [self._serving])
        meter.create_observable_gauge("alphapanda.outbox.unpublished", [self._unpublished], "{record}")
        meter.create_observable_counter("alphapanda.service.count", [self._counts])
        meter.create_observable_gauge("alphapanda.market_data.age", [self._age], "s")
        meter.create_observable_gauge("alphapanda.calendar.days_left", [self._days_left], "d")
        meter.create_observable_gauge("alphapanda.tls.certificate_days_left", [self._certificate], "d")
        meter.create_observable_gauge("alphapanda.server.serving", [self._servers_serving])
        meter.create_observable_counter("alphapanda.server.restarts", [self._restarts], "{restart}")
        meter.create_observable_gauge("alphapanda.calls.running", [self._running], "{call}")
        meter.create_observable_counter("alphapanda.calls.refused", [self._refused], "{call}")
        self._latency = meter.create_histogram(
            "alphapanda.order.latency",
            "s",
            "from the decision to send an order to the commit of the broker's answer",
            explicit_bucket_boundaries_advisory=LATENCY_BOUNDS,
        )
        self._stages = {
            stage: meter.create_histogram(
                f"alphapanda.stage.{stage}", "s", about, explicit_bucket_boundaries_advisory=LATENCY_BOUNDS
            )
            for stage, about in STAGES.items()
        }
        self._handling = meter.create_histogram(
            "alphapanda.consumer.duration",
            "s",
            "how long a consumer's handler took for a batch of records",
            explicit_bucket_boundaries_advisory=LATENCY_BOUNDS,
        )
        meter.create_observable_counter("alphapanda.risk.verdicts", [self._of_verdicts], "{verdict}")
        meter.create_observable_counter("alphapanda.orders.ended", [self._of_orders], "{order}")
        meter.create_observable_counter("alphapanda.errors", [self._of_errors], "{line}")
        meter.create_observable_counter("alphapanda.duplicates", [self._of_duplicates], "{record}")
        for gauge in GAUGES:
            meter.create_observable_gauge(gauge.name, [self._of_points(gauge)], gauge.unit, gauge.description)

    def expect(
        self,
        verdicts: Iterable[tuple[str, Outcome, str]],
        orders: Iterable[tuple[str, str, str]],
        duplicates: Iterable[tuple[str, str]],
    ) -> None:
        """Begins counters at 0, so that Prometheus sees the first increase of each.

        Args:
            verdicts: broker, outcome, reason.
            orders: broker, status, reason.
            duplicates: service, broker.
        """
        self._verdicts.update(
            dict.fromkeys(((broker, outcome.value, reason) for broker, outcome, reason in verdicts), 0)
        )
        self._orders.update(dict.fromkeys(orders, 0))
        self._absorbed.update(dict.fromkeys(duplicates, 0))

    def watch_services(self, not_serving: Callable[[], Sequence[str]]) -> None:
        """Takes what returns the services that don't serve now."""
        self._waiting_for = not_serving

    def not_serving(self) -> Sequence[str]:
        """The services that don't serve now."""
        return self._waiting_for()

    def observe_points(self, points: Iterable[Point]) -> None:
        """Stores the newest values of the gauges that were asked for."""
        found: dict[Gauge, list[Point]] = {}
        for point in points:
            found.setdefault(point.gauge, []).append(point)
        self._points = found

    @override
    def passed(self, stage: Stage, broker: str, seconds: float, correlation_id: str) -> None:
        """Records how long a stage took; clocks of two machines may make it negative, which counts as 0."""
        seconds = max(seconds, 0.0)
        self._stages[stage].record(seconds, {"broker": broker})
        if self._exemplars is not None:
            self._exemplars.note(f"alphapanda_stage_{stage}_seconds", broker, seconds, correlation_id)

    @override
    def absorbed(self, service: str, broker: str, duplicates: int) -> None:
        """Counts inputs that came again and had no second effect."""
        self._absorbed[service, broker] += duplicates

    @override
    def decided(self, broker: str, outcome: Outcome, reason: str) -> None:
        """Counts a verdict."""
        self._verdicts[broker, outcome.value, reason] += 1

    @override
    def ended(self, broker: str, status: str, reason: str) -> None:
        """Counts an order that has ended."""
        self._orders[broker, status, reason] += 1

    @override
    def handled(self, consumer: str, seconds: float) -> None:
        """Records how long the handler of a consumer took for a batch."""
        self._handling.record(seconds, {"consumer": consumer})

    def observe(
        self,
        services: Sequence[ServiceMetrics],
        consumers: Sequence[tuple[str, ConsumerStatus]],
        groups: Sequence[GroupMetrics],
        market_age_seconds: float | None,
        servers: Sequence[ServerMetrics] = (),
        calls: CallMetrics = NO_CALLS,
        calendar_days: int | None = None,
        certificate_days: float | None = None,
    ) -> None:
        """Stores the newest reports. Consumers come with their service; the newest frame's age is None where unknown."""
        self._services, self._consumers, self._groups = services, consumers, groups
        self._market_age = market_age_seconds
        self._servers = servers
        self._calls = calls
        self._calendar_days = calendar_days
        self._certificate_days = certificate_days

    def order_sent(self, broker: str, seconds: float) -> None:
        """Records an order's latency, once the broker's answer is committed."""
        self._latency.record(seconds, {"broker": broker})

    def stop(self) -> None:
        """Shuts down the metrics; readers export once more, for at most STOP_SECONDS. It blocks: call it in a thread."""
        self._provider.shutdown(timeout_millis=STOP_SECONDS * 1000)

    def _of_consumers(self, name: str) -> Any:
        def observed(_: CallbackOptions) -> Iterable[Observation]:
            return [
                Observation(
                    getattr(one, name),
                    {"service": service, "consumer": one.consumer, "broker": one.broker},
                )
                for service, one in self._consumers
            ]

        return observed

    def _of_groups(self, name: str) -> Any:
        def observed(_: CallbackOptions) -> Iterable[Observation]:
            return [
                Observation(
                    int(getattr(one, name)), {"group": one.group, "topic": one.topic, "broker": one.broker}
                )
                for one in self._groups
            ]

        return observed

    def _serving(self, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(int(one.serving), {"service": one.service}) for one in self._services]

    def _unpublished(self, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(one.outbox_unpublished, {"service": one.service}) for one in self._services]

    def _counts(self, _: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(count, {"service": one.service, "name": name})
            for one in self._services
            for name, count in one.counters.items()
        ]

    def _servers_serving(self, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(int(one.serving), {"server": one.server}) for one in self._servers]

    def _restarts(self, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(one.restarts, {"server": one.server}) for one in self._servers]

    def _running(self, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(calls, {"kind": kind}) for kind, calls in self._calls.running.items()]

    def _refused(self, _: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(calls, {"reason": reason, "method": method})
            for (reason, method), calls in self._calls.refused.items()
        ]

    def _of_verdicts(self, _: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(number, {"broker": broker, "outcome": outcome, "reason": reason})
            for (broker, outcome, reason), number in self._verdicts.items()
        ]

    def _of_orders(self, _: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(number, {"broker": broker, "status": status, "reason": reason})
            for (broker, status, reason), number in self._orders.items()
        ]

    def _of_errors(self, _: CallbackOptions) -> Iterable[Observation]:
        counts = {} if self._errors is None else self._errors.by_channel
        return [Observation(number, {"channel": channel}) for channel, number in counts.items()]

    def _of_duplicates(self, _: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(number, {"service": service, "broker": broker})
            for (service, broker), number in self._absorbed.items()
        ]

    def _of_points(self, gauge: Gauge) -> Any:
        def observed(_: CallbackOptions) -> Iterable[Observation]:
            # A collector takes no truth values.
            return [
                Observation(float(point.value), point.attributes) for point in self._points.get(gauge, ())
            ]

        return observed

    def _age(self, _: CallbackOptions) -> Iterable[Observation]:
        return [] if self._market_age is None else [Observation(self._market_age)]

    def _days_left(self, _: CallbackOptions) -> Iterable[Observation]:
        return [] if self._calendar_days is None else [Observation(self._calendar_days)]

    def _certificate(self, _: CallbackOptions) -> Iterable[Observation]:
        return [] if self._certificate_days is None else [Observation(self._certificate_days)]


def collector_reader(endpoint: str, interval_seconds: float, timeout_seconds: float) -> MetricReader:
    """Creates a reader that exports by OTLP over gRPC at an interval and at shutdown, and retries an absent collector.

    Args:
        endpoint: http://HOST:PORT (plaintext) or https://HOST:PORT.
        interval_seconds: seconds between two exports.
        timeout_seconds: longest wait for the collector.
    """
    exporter = OTLPMetricExporter(endpoint, insecure=endpoint.startswith("http://"), timeout=timeout_seconds)
    return PeriodicExportingMetricReader(exporter, interval_seconds * 1000, timeout_seconds * 1000)
