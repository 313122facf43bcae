"""Sends spans by OTLP over gRPC, from a thread of its own: nothing that trades ever waits for the collector.

At most QUEUED spans wait; while the collector is away, frozen or slow the oldest of them are dropped.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Final

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from alphapanda.telemetry import spans, tracing
from alphapanda.telemetry.tracing import Kind, Span

QUEUED: Final = 8192
"""Most spans that wait for the collector: about as many as 700 orders have, some 20 MB."""
BATCH: Final = 512
"""Most spans in one message."""
DELAY_SECONDS: Final = 0.2
"""Linger: how long a span waits to be sent together with others. It is short, because what waits when a process is killed is recorded by its successor at best."""
FLUSH_SECONDS: Final = 1.5
"""How long a stop waits for the last spans to be sent."""

_KINDS: Final = {kind: SpanKind[kind.value] for kind in Kind}
_RECORDED: Final = TraceFlags(TraceFlags.SAMPLED)
_OK: Final = Status(StatusCode.UNSET)


def collector(endpoint: str, timeout_seconds: float) -> SpanExporter:
    """An exporter to a collector.

    Args:
        endpoint: http://HOST:PORT (plaintext) or https://HOST:PORT.
        timeout_seconds: longest wait for the collector, repetitions included.
    """
    return OTLPSpanExporter(endpoint, insecure=endpoint.startswith("http://"), timeout=timeout_seconds)


class SpanExport:
    """Takes a process's spans and sends them in batches.

    Args:
        exporter: sends a batch.
        environment: development, testing or production.
        version: version of the program.
        delay_seconds: how long a span waits for company.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        environment: str,
        version: str,
        delay_seconds: float = DELAY_SECONDS,
    ) -> None:
        self._exporter = exporter
        self._processor = BatchSpanProcessor(
            exporter,
            max_queue_size=QUEUED,
            schedule_delay_millis=1000 * delay_seconds,
            max_export_batch_size=BATCH,
        )
        self._scope = InstrumentationScope("alphapanda", version)

        @lru_cache
        def resource(service: str) -> Resource:
            return Resource(
                {
                    spans.SERVICE_NAME: service,
                    "service.namespace": "alphapanda",
                    "service.version": version,
                    "deployment.environment.name": environment,
                }
            )

        self._resource: Callable[[str], Resource] = resource

    def take(self, span: Span) -> None:
        """Queues a span; never waits."""
        self._processor.on_end(
            ReadableSpan(
                name=span.name,
                context=_context(span.context, remote=False),
                parent=None if span.parent is None else _context(span.parent, remote=True),
                resource=self._resource(span.service),
                attributes=span.attributes,
                links=[Link(_context(one, remote=True)) for one in span.links],
                kind=_KINDS[span.kind],
                status=Status(StatusCode.ERROR, span.error) if span.error else _OK,
                start_time=span.start_ns,
                end_time=span.end_ns,
                instrumentation_scope=self._scope,
            )
        )

    async def stop(self) -> None:
        """Sends what is queued, for at most FLUSH_SECONDS; the rest is dropped."""
        flushed, loop = asyncio.Event(), asyncio.get_running_loop()

        def flush() -> None:
            self._processor.shutdown()  # type: ignore[no-untyped-call]
            with suppress(RuntimeError):  # the loop has ended: nobody waits any more
                loop.call_soon_threadsafe(flushed.set)

        threading.Thread(target=flush, name="spans' last batch", daemon=True).start()
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await flushed.wait()
        except TimeoutError:
            self._exporter.shutdown()  # ends the call under way


def _context(context: tracing.SpanContext, *, remote: bool) -> SpanContext:
    return SpanContext(int(context.trace_id, 16), int(context.span_id, 16), remote, _RECORDED)
