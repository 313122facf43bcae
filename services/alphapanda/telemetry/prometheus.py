"""Serves the metrics to Prometheus, and whether the process lives and is ready, over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from http import HTTPStatus

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics.export import MetricReader
from prometheus_client.exposition import choose_encoder

from alphapanda.telemetry.exemplars import ExemplarRegistry, Exemplars
from alphapanda.telemetry.http import HttpEndpoint, Page
from alphapanda.telemetry.metrics import LATENCY_BOUNDS


class PrometheusEndpoint:
    """Serves /metrics, /healthz (the process lives) and /readyz (all its services serve) at http://HOST:PORT.

    Args:
        host: address to bind.
        port: port to bind; 0 takes a free one.
        origins: origins whose pages in a browser may read (CORS).

    Attributes:
        reader: to be passed to `Metrics`.
        exemplars: to be passed to `Metrics`, too.
        registry: what is served.
        port: the bound port.
        not_serving: returns the services that don't serve; to be set once there are some.

    Raises:
        OSError: the port can't be bound.
    """

    def __init__(self, host: str, port: int, origins: Collection[str] = ()) -> None:
        self.exemplars = Exemplars("broker", LATENCY_BOUNDS)
        self.registry = ExemplarRegistry(self.exemplars)
        self.not_serving: Callable[[], Sequence[str]] = lambda: ("nothing is started yet",)
        self._collecting = threading.Lock()
        pages = {"/metrics": self._metrics, "/healthz": _alive, "/readyz": self._ready}
        self._http = HttpEndpoint(host, port, pages, origins)
        self.port = self._http.port
        self.reader: MetricReader = PrometheusMetricReader(registry=self.registry, scope_info_enabled=False)

    def stop(self) -> None:
        """Closes the port."""
        self._http.stop()

    def _metrics(self, accept: str) -> Page:
        encode, content_type = choose_encoder(accept)
        with self._collecting:  # readers that come together take turns
            return Page(encode(self.registry), content_type)

    def _ready(self, _accept: str) -> Page:
        waiting = self.not_serving()
        if not waiting:
            return Page(b"ready\n")
        told = f"not serving: {', '.join(waiting)}\n"
        return Page(told.encode(), status=HTTPStatus.SERVICE_UNAVAILABLE)


def _alive(_accept: str) -> Page:
    return Page(b"alive\n")
