"""What services report of an order's way: latencies with the trace as example, outcomes, duplicates, and no more than is bounded."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client.openmetrics.exposition import generate_latest

from alphapanda.contract.wire import timestamp
from alphapanda.domain.frame import instant
from alphapanda.domain.order import FailureReason, OrderStatus
from alphapanda.risk.core.reasons import REASONS
from alphapanda.risk.measuring import DecisionFigures
from alphapanda.strategy.measuring import SignalFigures
from alphapanda.telemetry.error_counts import OTHER, ErrorCounts, channel_of
from alphapanda.telemetry.figures import Outcome, Point, Stage, StartTimes
from alphapanda.telemetry.gauges import GAUGES, HEADROOM, PARKED_KEYS
from alphapanda.telemetry.metrics import STAGES, Metrics
from alphapanda.telemetry.prometheus import PrometheusEndpoint
from alphapanda.trading.measuring import OrderFigures
from panda.events.v1 import orders_pb2 as orders
from panda.events.v1.events_pb2 import Event

TRACE = "3145a3ce-02d5-5d95-90e1-9df39b63f1fe"


class Reported:
    """Figures that write down what they are told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *values: self.told.append((name, *values))


def key(broker: str = "paper") -> Any:
    return SimpleNamespace(broker=broker)


def order_event(payload: str, status: OrderStatus, reason: FailureReason | None = None) -> Event:
    event = Event(broker="paper", correlation_id=TRACE)
    whole = getattr(event, payload)
    whole.order.order_id, whole.order.status = "one", int(status)
    if reason is not None:
        whole.reason = orders.FailureReason.ValueType(reason)
    return event


@pytest.fixture
def reported() -> Reported:
    """What was reported."""
    return Reported()


def test_an_order_is_timed_from_its_approval_and_from_its_sending(reported) -> None:
    """Approval to order, sending to the first fill; an order counts once, when it ends."""
    now = [100.0]
    measured = OrderFigures(reported, lambda: now[0])
    order = SimpleNamespace(order_id="one", signal_id="s", key=key(), correlation_id=TRACE)
    measured.approved("s", 99.5)
    measured.received([order], {"one": object()})
    measured.sending("one", 0.25)
    now[0] = 101.0
    partly = order_event("order_filled", OrderStatus.PARTIALLY_FILLED)
    measured.committed([partly, order_event("order_filled", OrderStatus.FILLED)])
    assert reported.told == [
        ("passed", Stage.VERDICT_TO_ORDER, "paper", 0.5, TRACE),
        ("passed", Stage.ORDER_TO_FILL, "paper", 1.25, TRACE),
        ("ended", "paper", "filled", ""),
    ]


def test_a_signal_that_has_an_order_is_a_duplicate_and_has_no_latency(reported) -> None:
    """A redelivered approval is counted, and says nothing about latency."""
    measured = OrderFigures(reported, lambda: 100.0)
    order = SimpleNamespace(order_id="one", signal_id="s", key=key(), correlation_id=TRACE)
    measured.approved("s", 99.5)
    measured.received([order], {"one": None})
    assert reported.told == [("absorbed", "trading", "paper", 1)]


@pytest.mark.parametrize(
    ("event", "ended"),
    [
        (
            order_event("order_failed", OrderStatus.FAILED, FailureReason.EXPIRED),
            ("ended", "paper", "failed", "EXPIRED"),
        ),
        (order_event("order_cancelled", OrderStatus.CANCELLED), ("ended", "paper", "cancelled", "")),
    ],
)
def test_an_order_without_a_fill_has_an_end_and_no_latency(reported, event, ended) -> None:
    """How it ended is counted, with the reason of a failure; it took no time to a fill."""
    measured = OrderFigures(reported, lambda: 100.0)
    measured.sending("one", 0.0)
    measured.committed([event])
    measured.committed([order_event("order_filled", OrderStatus.FAILED)])  # a fill after the end
    assert reported.told == [ended]


def test_a_verdict_is_timed_from_its_signal_and_counted_by_its_reason(reported) -> None:
    """A signal that waits, or had a verdict, has no latency."""
    measured = DecisionFigures(reported, lambda: 100.0)
    refused = SimpleNamespace(signal_id="s", key=key(), correlation_id=TRACE, reason="PRICE")
    measured.came("s", 99.0)
    measured.decided(refused)
    measured.came("s", 99.0)
    measured.left("s")
    measured.decided(refused)
    measured.absorbed("paper", 0)
    measured.absorbed("paper", 2)
    assert reported.told == [
        ("decided", "paper", Outcome.REFUSED, "PRICE"),
        ("passed", Stage.SIGNAL_TO_VERDICT, "paper", 1.0, TRACE),
        ("decided", "paper", Outcome.REFUSED, "PRICE"),
        ("absorbed", "risk", "paper", 2),
    ]


def test_signals_are_timed_from_their_frame(reported) -> None:
    """Each signal of a frame has its latency; one of a frame that isn't known has none."""
    measured = SignalFigures(reported, lambda: 100.0)
    measured.led_to_signals(Event(event_id=TRACE, occurred_at=timestamp(instant(99 * 10**9))))
    signals = [SimpleNamespace(correlation_id=TRACE, key=key(broker)) for broker in ("paper", "zerodha")]
    measured.published(signals)
    measured.published(signals)
    assert reported.told == [
        ("passed", Stage.TICK_TO_SIGNAL, broker, 1.0, TRACE) for broker in ("paper", "zerodha")
    ]


def test_beginnings_are_forgotten_beyond_a_bound() -> None:
    """The oldest goes first, the first note of an id counts, and what was taken is gone."""
    starts = StartTimes(most=2)
    for number, what in enumerate("abac"):
        starts.note(what, float(number))
    assert [starts.take(what) for what in "abcb"] == [None, 1.0, 3.0, None]


def test_the_exposition_has_the_trace_of_each_latency() -> None:
    """Prometheus gets, with OpenMetrics, the correlation id's 32 digits beside the bucket that it fell into."""
    endpoint = PrometheusEndpoint("127.0.0.1", 0)
    metrics = Metrics([endpoint.reader], "testing", "1", endpoint.exemplars)
    metrics.passed(Stage.ORDER_TO_FILL, "paper", 0.02, TRACE)
    metrics.passed(Stage.ORDER_TO_FILL, "paper", -1.0, "")
    text = generate_latest(endpoint.registry).decode()
    metrics.stop()
    endpoint.stop()
    bucket = 'alphapanda_stage_order_to_fill_seconds_bucket{broker="paper",le="%s"} %s'
    (line,) = [line for line in text.splitlines() if "trace_id" in line]
    assert line.startswith(bucket % ("0.025", "2.0") + f' # {{trace_id="{TRACE.replace("-", "")}"}} 0.02 ')
    assert bucket % ("0.001", "1.0") in text  # two machines' clocks: below nothing is 0


def test_counters_begin_at_zero_and_gauges_show_what_they_were_told_last() -> None:
    """So that Prometheus sees the first refusal as an increase; a gauge without a value isn't there."""
    reader = InMemoryMetricReader()
    metrics = Metrics([reader], "testing", "1")
    metrics.expect(
        [("paper", Outcome.REFUSED, "PRICE")], [("paper", "failed", "EXPIRED")], [("risk", "paper")]
    )
    metrics.decided("paper", Outcome.REFUSED, "PRICE")
    metrics.ended("paper", "failed", "EXPIRED")
    metrics.absorbed("trading", "paper", 3)
    metrics.handled("trading", 0.1)
    metrics.observe_points([Point(PARKED_KEYS, 7, ("risk", "paper"))])
    metrics.observe_points([Point(HEADROOM, 5, ("calls_query", ""))])
    read = reader.get_metrics_data()
    assert read is not None
    found = {
        (metric.name, *point.attributes.values()): getattr(point, "value", None)
        for metric in read.resource_metrics[0].scope_metrics[0].metrics
        for point in metric.data.data_points
    }
    metrics.stop()
    assert found == {
        ("alphapanda.risk.verdicts", "paper", "refused", "PRICE"): 1,
        ("alphapanda.orders.ended", "paper", "failed", "EXPIRED"): 1,
        ("alphapanda.duplicates", "risk", "paper"): 0,
        ("alphapanda.duplicates", "trading", "paper"): 3,
        ("alphapanda.consumer.duration", "trading"): None,
        ("alphapanda.limiter.headroom", "calls_query", ""): 5,
    }


def test_errors_are_counted_by_channel() -> None:
    """Lines of level ERROR count for the channel of their logger, others don't; each channel begins at 0."""
    counts = ErrorCounts()
    for name, level in (
        ("alphapanda.risk.decision_service", logging.ERROR),
        ("alphapanda.riskier", logging.ERROR),
        ("alphapanda.mesh.audit", logging.ERROR),
    ):
        counts.handle(logging.LogRecord(name, level, "", 0, "", (), None))
    assert {name: number for name, number in counts.by_channel.items() if number} == {
        "trading": 1,
        OTHER: 1,
        "audit": 1,
    }
    assert (channel_of("sqlalchemy.pool"), counts.level) == ("database", logging.ERROR)


def test_every_stage_and_gauge_is_told_of_once() -> None:
    """Names are unique, and each stage says what it measures; risk's reasons are words in capitals."""
    assert STAGES.keys() == set(Stage)
    assert len({gauge.name for gauge in GAUGES}) == len(GAUGES)
    assert {"ORDER_QUANTITY", "SUPERSEDED"} <= set(REASONS)
