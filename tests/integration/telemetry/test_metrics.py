"""Figures of a process: what is observed, and what Prometheus and a collector are told."""

from __future__ import annotations

import socket
import time
import urllib.request
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from alphapanda.domain.consumer_status import ConsumerStatus
from alphapanda.telemetry.figures import Point
from alphapanda.telemetry.gauges import BREAKER_OPEN
from alphapanda.telemetry.metrics import (
    CallMetrics,
    GroupMetrics,
    Metrics,
    ServiceMetrics,
    collector_reader,
)
from alphapanda.telemetry.prometheus import PrometheusEndpoint

CONSUMER = (
    "risk",
    ConsumerStatus("risk.signals", "paper", processed=7, failed=2, retried=1, dead_lettered=3, lag=5),
)
GROUP = GroupMetrics("risk.signals", "paper.signals.raw", "paper", 1001, alarm=True)
SERVICE = ServiceMetrics("risk", serving=True, outbox_unpublished=4, counters={"signals": 9})


@pytest.fixture
def reader() -> InMemoryMetricReader:
    """Reads within the process."""
    return InMemoryMetricReader()


@pytest.fixture
def metrics(reader) -> Iterator[Metrics]:
    """Figures that are read within the process."""
    metrics = Metrics([reader], "testing", "1.2.3")
    yield metrics
    metrics.stop()


def points(reader: InMemoryMetricReader) -> dict[str, list]:
    read = reader.get_metrics_data()
    return {
        metric.name.removeprefix("alphapanda."): list(metric.data.data_points)
        for resource in (read.resource_metrics if read else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_what_services_report_is_observed(metrics, reader) -> None:
    """Each figure stands under its name, by service, consumer and broker; the newest look counts."""
    metrics.observe([], [], [], None)
    metrics.observe([SERVICE], [CONSUMER], [GROUP], 1.5, calendar_days=31)
    read = points(reader)
    by = {"service": "risk", "consumer": "risk.signals", "broker": "paper"}
    of = {"group": "risk.signals", "topic": "paper.signals.raw", "broker": "paper"}
    assert {name: (point.value, dict(point.attributes)) for name, (point,) in read.items()} == {
        "consumer.processed": (7, by),
        "consumer.failed": (2, by),
        "consumer.retried": (1, by),
        "consumer.dead_lettered": (3, by),
        "consumer.lag": (5, by),
        "group.lag": (1001, of),
        "group.lag_alarm": (1, of),
        "service.serving": (1, {"service": "risk"}),
        "outbox.unpublished": (4, {"service": "risk"}),
        "service.count": (9, {"service": "risk", "name": "signals"}),
        "market_data.age": (1.5, {}),
        "calendar.days_left": (31, {}),
    }


def test_calls_are_observed_by_kind_and_refusals_by_reason_and_method(metrics, reader) -> None:
    """How many calls are at work, and how many were refused and why."""
    method = "/panda.trading.v1.TradingService/ListOrders"
    calls = CallMetrics({"query": 3, "command": 0}, {("TOO_BUSY", method): 5})
    metrics.observe([], [], [], None, calls=calls)
    read = points(reader)
    running = {point.attributes["kind"]: point.value for point in read["calls.running"]}
    assert running == {"query": 3, "command": 0}
    (refused,) = read["calls.refused"]
    assert (refused.value, dict(refused.attributes)) == (5, {"reason": "TOO_BUSY", "method": method})


def test_orders_are_timed_by_broker(metrics, reader) -> None:
    """The time of each order falls into a histogram of its broker."""
    for seconds in (0.002, 0.2):
        metrics.order_sent("paper", seconds)
    metrics.order_sent("zerodha", 20.0)
    paper, zerodha = sorted(points(reader)["order.latency"], key=lambda point: point.attributes["broker"])
    assert (paper.count, paper.sum) == (2, pytest.approx(0.202))
    assert (zerodha.count, zerodha.bucket_counts[-1]) == (1, 1)


def test_prometheus_is_answered() -> None:
    """Prometheus reads them at /metrics, and nobody answers after the end."""
    endpoint = PrometheusEndpoint("127.0.0.1", 0)
    metrics = Metrics([endpoint.reader], "testing", "1.2.3")
    metrics.observe([SERVICE], [CONSUMER], [GROUP], None)
    url = f"http://127.0.0.1:{endpoint.port}/metrics"
    with urllib.request.urlopen(url) as answer:
        text = answer.read().decode()
    (processed,) = [
        line for line in text.splitlines() if line.startswith("alphapanda_consumer_processed_total")
    ]
    assert processed.endswith(" 7.0")
    assert 'broker="paper"' in processed
    assert "alphapanda_market_data_age" not in text
    endpoint.stop()
    metrics.stop()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url)


def test_a_collector_is_told(collector) -> None:
    """A collector gets every figure and who it is of, in its time and once more at the end."""
    servicer, endpoint = collector
    metrics = Metrics([collector_reader(endpoint, 0.05, 5.0)], "testing", "1.2.3")
    metrics.observe([SERVICE], [CONSUMER], [GROUP], 1.5)
    servicer.taken.get(timeout=30)
    metrics.observe([SERVICE], [CONSUMER], [GROUP], 2.5)
    metrics.observe_points([Point(BREAKER_OPEN, value=True, labels=("risk.signals", "paper", "Redis"))])
    metrics.stop()
    told = [servicer.taken.get() for _ in range(servicer.taken.qsize())][-1].resource_metrics[0]
    of = {one.key: one.value.string_value for one in told.resource.attributes}
    assert (of["service.name"], of["service.version"]) == ("alphapanda", "1.2.3")
    figures = {metric.name: metric for scope in told.scope_metrics for metric in scope.metrics}
    assert figures["alphapanda.consumer.processed"].sum.data_points[0].as_int == 7
    assert figures["alphapanda.market_data.age"].gauge.data_points[0].as_double == 2.5
    assert figures["alphapanda.breaker.open"].gauge.data_points[0].as_double == 1.0


def test_a_collector_that_is_away_holds_nobody_up() -> None:
    """Figures that can't be delivered don't keep the process from ending."""
    metrics = Metrics([collector_reader("http://127.0.0.1:1", 0.05, 0.2)], "testing", "1.2.3")
    metrics.observe([SERVICE], [CONSUMER], [GROUP], 1.5)
    metrics.stop()


def test_a_collector_that_hangs_does_not_hold_up_the_stop() -> None:
    """It takes the connection and says nothing: the last export is given up long before its own time-out."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        reader = collector_reader(f"http://127.0.0.1:{silent.getsockname()[1]}", 60.0, 30.0)
        metrics = Metrics([reader], "testing", "1.2.3")
        metrics.order_sent("paper", 0.1)
        before = time.monotonic()
        metrics.stop()
        assert time.monotonic() - before < 15.0
