"""Sends spans by OTLP over gRPC, from a thread of its own: nothing that trades ever waits for the collector.

At most QUEUED spans wait; while the collector is away, frozen or slow the oldest of them are dropped, and counted. The messages are
built here and not by the library, which takes four times as long for them.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import grpc
import structlog
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Status
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message
from typing_extensions import override

from alphapanda.telemetry import spans
from alphapanda.telemetry.redaction import redacted
from alphapanda.telemetry.tracing import Kind, Span

QUEUED: Final = 8192
"""Most spans that wait for the collector: those of some 600 orders, 20 MB."""
BATCH: Final = 512
"""Most spans in one message."""
DELAY_SECONDS: Final = 0.2
"""Linger: how long a span waits to be sent together with others. Short, because what waits when a process is killed is lost."""
FLUSH_SECONDS: Final = 1.5
"""How long a stop waits for the last spans to be sent."""

_KINDS: Final = {kind: Message.SpanKind.Value(f"SPAN_KIND_{kind.value}") for kind in Kind}
_REMOTE_PARENT: Final = 0x301
"""Flags of OTLP: sampled, and the parent is of another process, or may be."""
_REMINDER_SECONDS: Final = 60.0
_FAILURES: Final = (grpc.RpcError, OSError, RuntimeError, TypeError, ValueError)
"""What the library lets through: its connection was closed; a value that can't be encoded."""
_log = structlog.get_logger(__name__)


class Exporter(Protocol):
    """Sends a batch of spans, from the exporting thread; `shutdown` ends a call that is under way."""

    def export(self, batch: Sequence[Any], /) -> object:
        """Sends the batch, within a time-out of its own."""

    def shutdown(self) -> None:
        """Closes the connection."""


class Collector(OTLPSpanExporter):
    """An exporter to a collector.

    Args:
        endpoint: http://HOST:PORT (plaintext) or https://HOST:PORT.
        timeout_seconds: longest wait for the collector, repetitions included.
        about: attributes of the process, beside the service's name.
        version: version of the program.
    """

    def __init__(self, endpoint: str, timeout_seconds: float, about: Mapping[str, str], version: str) -> None:
        super().__init__(endpoint, insecure=endpoint.startswith("http://"), timeout=timeout_seconds)
        self._about = about
        self._version = version

    @override
    def _translate_data(self, data: Sequence[Any]) -> ExportTraceServiceRequest:
        return message(data, self._about, self._version)


def message(batch: Sequence[Span], about: Mapping[str, str], version: str) -> ExportTraceServiceRequest:
    """The message of a batch, by service."""
    request = ExportTraceServiceRequest()
    scopes: dict[str, ScopeSpans] = {}
    for span in batch:
        scope = scopes.get(span.service)
        if scope is None:
            service = request.resource_spans.add()
            for key, value in {spans.SERVICE_NAME: span.service, **about}.items():
                service.resource.attributes.add(key=key).value.string_value = value
            scope = scopes[span.service] = service.scope_spans.add()
            scope.scope.name, scope.scope.version = "alphapanda", version
        _add(scope, span)
    return request


def _add(scope: ScopeSpans, span: Span) -> None:
    added = scope.spans.add(
        trace_id=bytes.fromhex(span.context.trace_id),
        span_id=bytes.fromhex(span.context.span_id),
        parent_span_id=b"" if span.parent is None else bytes.fromhex(span.parent.span_id),
        name=span.name,
        kind=_KINDS[span.kind],
        start_time_unix_nano=span.start_ns,
        end_time_unix_nano=span.end_ns,
        flags=_REMOTE_PARENT,
    )
    for key, value in span.attributes.items():
        said = added.attributes.add(key=key).value
        if isinstance(value, str):
            said.string_value = redacted(value)
        elif isinstance(value, bool):
            said.bool_value = value
        elif isinstance(value, int):
            said.int_value = value
        else:
            said.double_value = value
    for link in span.links:
        added.links.add(trace_id=bytes.fromhex(link.trace_id), span_id=bytes.fromhex(link.span_id))
    if span.error:
        added.status.code, added.status.message = Status.STATUS_CODE_ERROR, redacted(span.error)


class SpanExport:
    """Takes a process's spans and sends them in batches.

    Args:
        exporter: sends a batch.
        delay_seconds: linger: how long a span waits to be sent together with others.

    Attributes:
        dropped: spans that were dropped because too many waited.
    """

    def __init__(self, exporter: Exporter, delay_seconds: float = DELAY_SECONDS) -> None:
        self._exporter = exporter
        self._delay = delay_seconds
        self._queue: deque[Span] = deque(maxlen=QUEUED)
        self._filled = threading.Event()
        self._full = threading.Event()
        self._stopping = False
        self._ended = threading.Event()
        self.dropped = 0
        self._told = 0
        self._told_at = -_REMINDER_SECONDS
        threading.Thread(target=self._run, name="spans", daemon=True).start()

    def take(self, span: Span) -> None:
        """Queues a span; never waits."""
        waiting = len(self._queue)
        if waiting == QUEUED:
            self.dropped += 1
        self._queue.append(span)
        if waiting == 0:
            self._filled.set()
        elif waiting == BATCH:
            self._full.set()

    async def stop(self) -> None:
        """Sends what is queued, for at most FLUSH_SECONDS; the rest is dropped."""
        self._stopping = True
        self._filled.set()
        self._full.set()
        await asyncio.to_thread(self._ended.wait, FLUSH_SECONDS)
        self._exporter.shutdown()  # ends a call that is still under way

    def _run(self) -> None:
        while not self._stopping:
            self._filled.wait()
            self._filled.clear()
            self._full.wait(self._delay)
            self._full.clear()
            while self._queue:
                self._send([self._queue.popleft() for _ in range(min(len(self._queue), BATCH))])
        self._ended.set()

    def _send(self, batch: Sequence[Span]) -> None:
        try:
            self._exporter.export(batch)
        except _FAILURES as error:
            _log.warning("traces.export_failed", spans=len(batch), error=" ".join(str(error).split()))
        now = time.monotonic()
        if self.dropped > self._told and now - self._told_at >= _REMINDER_SECONDS:
            _log.warning("traces.spans_dropped", spans=self.dropped - self._told)
            self._told, self._told_at = self.dropped, now
