"""Spans on their way to a collector: what arrives, and what a collector that is away, frozen or slow costs."""

from __future__ import annotations

import asyncio
import time

import pytest
from structlog.testing import capture_logs
from tests.span_tree import span_collector

from alphapanda.domain import ids
from alphapanda.telemetry.span_export import BATCH, FLUSH_SECONDS, QUEUED, Collector, SpanExport
from alphapanda.telemetry.tracing import Kind, SpanContext, Tracer

FRAME = SpanContext(ids.trace_id(ids.derived_id("a frame")), "00000000000000f1")
OWN = SpanContext(ids.trace_id(ids.derived_id("an order")), "00000000000000a1")
PARENT = SpanContext(OWN.trace_id, "00000000000000a0")
ABOUT = {"service.version": "1"}


def exported(endpoint: str, timeout_seconds: float = 5.0) -> SpanExport:
    return SpanExport(Collector(endpoint, timeout_seconds, ABOUT, "1"), delay_seconds=0.01)


def record(export: SpanExport, service: str = "risk", **more) -> None:
    attributes = {"text": "à", "whole": 3, "true": True, "broken": 0.5}
    Tracer(service, export.take).record("a span", Kind.CONSUMER, OWN, PARENT, 5, attributes, **more)


async def test_a_span_arrives_as_it_was_recorded() -> None:
    """Ids, kind, parent, times, attributes of each type, links and failure; each service is one of its own."""
    with span_collector() as (spans, endpoint):
        export = exported(endpoint)
        record(export, end_ns=7, links=(FRAME,), error="it broke")
        record(export, "trading", end_ns=7)
        await export.stop()
    first, second = spans.taken
    assert (first.trace_id, first.span_id, first.parent) == (*OWN, PARENT.span_id)
    assert (first.service, first.name, first.kind) == ("risk", "a span", "CONSUMER")
    assert (first.start_ns, first.end_ns) == (5, 7)
    assert first.attributes == {"text": "à", "whole": 3, "true": True, "broken": 0.5}
    assert first.links == (tuple(FRAME),)
    assert (first.failed, first.message) == (True, "it broke")
    assert (second.service, second.links, second.failed) == ("trading", (), False)


async def test_a_stop_sends_what_waits() -> None:
    """More than one message of spans that were recorded just before the end arrive."""
    with span_collector() as (spans, endpoint):
        export = exported(endpoint)
        for _ in range(3 * BATCH):
            record(export)
        await export.stop()
    assert (len(spans.taken), export.dropped) == (3 * BATCH, 0)


@pytest.mark.parametrize("collector", ["away", "frozen", "slow"])
async def test_a_bad_collector_costs_bounded_memory_and_no_time(collector) -> None:
    """Recording never waits, at most QUEUED spans are kept, the oldest are dropped and said, and a stop is over soon."""
    with span_collector() as (spans, endpoint), capture_logs() as logged:
        if collector == "away":
            spans.die()
        elif collector == "frozen":
            spans.frozen.set()
        else:
            spans.seconds = 0.05
        export = exported(endpoint, timeout_seconds=0.3)
        record(export)
        await asyncio.sleep(0.05)
        began, rest = time.thread_time(), 5 * QUEUED
        for _ in range(rest):
            record(export)
            assert len(export._queue) <= QUEUED
        per_span = (time.thread_time() - began) / rest
        assert per_span < 0.001, "recording computes, it doesn't wait"
        assert export.dropped > 0
        loop = asyncio.get_running_loop()
        stopping = loop.time()
        await export.stop()
        assert loop.time() - stopping < 10 * FLUSH_SECONDS
    assert any(line["event"] == "traces.spans_dropped" and line["spans"] > 0 for line in logged)


async def test_a_collector_that_comes_back_gets_the_next_spans() -> None:
    """After a time away the next spans arrive without a restart."""
    with span_collector() as (spans, endpoint):
        spans.frozen.set()
        export = exported(endpoint, timeout_seconds=0.2)
        record(export)
        await asyncio.sleep(0.4)
        spans.frozen.clear()
        spans.thawed.set()
        record(export, "portfolio")
        for _ in range(100):
            if any(one.service == "portfolio" for one in spans.taken):
                break
            await asyncio.sleep(0.05)
        await export.stop()
    assert any(one.service == "portfolio" for one in spans.taken)
