"""A collector that takes whatever it is sent and throws it away, without looking at it: the least one can cost this machine."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc

SERVICES = (
    "opentelemetry.proto.collector.trace.v1.TraceService",
    "opentelemetry.proto.collector.metrics.v1.MetricsService",
)


@contextmanager
def discarding_collector() -> Iterator[str]:
    """Where it answers."""
    server = grpc.server(ThreadPoolExecutor(2))
    taken = grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"")
    for service in SERVICES:
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": taken}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop(0).wait()
