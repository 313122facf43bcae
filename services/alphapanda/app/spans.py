"""Opens the tracing of a process: a tracer for each of its services, and one exporter for all of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack

from alphapanda import __version__
from alphapanda.app.bound import StopBound
from alphapanda.settings.model import Settings
from alphapanda.telemetry.tracing import OFF, Sink, Tracer

Tracers = Callable[[str], Tracer]
"""Returns the tracer of a service by its short name."""


def no_tracers(_: str) -> Tracer:
    """Tracing is off."""
    return OFF


def open_tracing(
    settings: Settings, messaging_system: str, stack: AsyncExitStack, bound: StopBound
) -> Tracers:
    """Opens the tracing; off where no collector is configured. The stack closes it, within `bound`.

    Args:
        settings: all settings.
        messaging_system: the log that events travel on, "kafka" or "sqlite".
        stack: sends the last spans when it is closed.
        bound: bounds the time for that.
    """
    telemetry = settings.telemetry
    if not telemetry.otlp_endpoint:
        return no_tracers
    from alphapanda.telemetry.span_export import (  # noqa: PLC0415 - importing it takes time, which a start without traces saves
        Collector,
        SpanExport,
    )

    about = {
        "service.namespace": "alphapanda",
        "service.version": __version__,
        "deployment.environment.name": settings.environment,
    }
    export = SpanExport(
        Collector(telemetry.otlp_endpoint, telemetry.otlp_timeout_seconds, about, __version__)
    )
    stack.push_async_callback(bound.end, "traces", export.stop)
    return tracers_of(settings, messaging_system, export.take)


def tracers_of(settings: Settings, messaging_system: str, sink: Sink) -> Tracers:
    """The tracers of a process whose spans go to `sink`."""
    made: dict[str, Tracer] = {}

    def tracer(service: str) -> Tracer:
        if service not in made:
            made[service] = Tracer(
                service,
                sink,
                messaging_system,
                market_data_ratio=settings.telemetry.market_data_ratio,
                query_ratio=settings.telemetry.query_ratio,
            )
        return made[service]

    return tracer
