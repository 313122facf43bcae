"""A collector of spans, as OTLP brings them, and the trees that they make."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from typing_extensions import override


@dataclass(frozen=True)
class Seen:
    """A span as a collector gets it; ids in hex, `parent` empty for a root."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Any]
    links: tuple[tuple[str, str], ...]
    failed: bool
    message: str

    @property
    def about(self) -> str:
        """Service and name."""
        return f"{self.service}: {self.name}"


@dataclass
class Spans(TraceServiceServicer):
    """Takes spans. While `frozen` is set it doesn't answer; it takes `seconds` for each message; `die` ends it."""

    taken: list[Seen] = field(default_factory=list)
    frozen: threading.Event = field(default_factory=threading.Event)
    thawed: threading.Event = field(default_factory=threading.Event)
    server: grpc.Server | None = None
    seconds: float = 0.0

    def die(self) -> None:
        """Ends the collector in the middle of whatever it does."""
        self.thawed.set()
        if self.server is not None:
            self.server.stop(0).wait()

    @override
    def Export(
        self, request: ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> ExportTraceServiceResponse:
        if self.frozen.is_set():
            self.thawed.wait()
        time.sleep(self.seconds)
        self.taken += seen(request)
        return ExportTraceServiceResponse()

    def traces(self) -> dict[str, list[Seen]]:
        """The spans by trace id."""
        found: defaultdict[str, list[Seen]] = defaultdict(list)
        for span in list(self.taken):
            found[span.trace_id].append(span)
        return found

    def of(self, correlation_id: str) -> list[Seen]:
        """The spans of a correlation id's trace, by their begin."""
        spans = self.traces()[correlation_id.replace("-", "")]
        return sorted(spans, key=lambda one: one.start_ns)


def seen(request: ExportTraceServiceRequest) -> Iterator[Seen]:
    """The spans of a message."""
    for resource in request.resource_spans:
        about = {one.key: _value(one.value) for one in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Seen(
                    about["service.name"],
                    span.name,
                    WireSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    {one.key: _value(one.value) for one in span.attributes},
                    tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
                    span.status.code == Status.STATUS_CODE_ERROR,
                    span.status.message,
                )


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))


@contextmanager
def span_collector(port: int = 0) -> Iterator[tuple[Spans, str]]:
    """A collector of spans, and where it answers."""
    server, servicer = grpc.server(ThreadPoolExecutor(2)), Spans()
    add_TraceServiceServicer_to_server(servicer, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    servicer.server = server
    try:
        yield servicer, f"http://127.0.0.1:{bound}"
    finally:
        servicer.die()


def check_whole(spans: Sequence[Seen]) -> Seen:
    """A trace is one tree: every parent is there, one span has none. Returns that one."""
    ids = {span.span_id for span in spans}
    orphans = [span.about for span in spans if span.parent and span.parent not in ids]
    assert not orphans, f"parents are missing: {orphans}\n{picture(spans)}"
    roots = {span.span_id: span for span in spans if not span.parent}
    assert len(roots) == 1, f"{len(roots)} roots\n{picture(spans)}"
    return next(iter(roots.values()))


def child(spans: Iterable[Seen], parent: Seen, about: str) -> Seen:
    """The one child of a span of this service and name."""
    found = [span for span in spans if span.parent == parent.span_id and span.about == about]
    assert len(found) == 1, (about, [span.about for span in spans if span.parent == parent.span_id])
    return found[0]


def picture(spans: Sequence[Seen], show: Callable[[Seen], str] = lambda span: span.about) -> str:
    """The trace as an indented list, with what has no parent at the left."""
    ids = {span.span_id for span in spans}
    below: defaultdict[str, list[Seen]] = defaultdict(list)
    for span in sorted(spans, key=lambda one: one.start_ns):
        below[span.parent if span.parent in ids else ""].append(span)
    lines: list[str] = []

    def add(parent: str, depth: int) -> None:
        for span in below.pop(parent, ()):
            missing = " (its parent is missing)" if not depth and span.parent else ""
            lines.append(f"{'  ' * depth}{show(span)} {span.kind}{missing}")
            add(span.span_id, depth + 1)

    add("", 0)
    return "\n".join(lines)
