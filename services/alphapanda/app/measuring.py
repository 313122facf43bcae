"""The process's figures: made where settings.monitoring.metrics says so, and kept up to date from what services report."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Any

from alphapanda import __version__
from alphapanda.app.ground import Ground, wall_clock
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import instant
from alphapanda.eventlog.patience import attempted
from alphapanda.ops.core import ServiceReport, ServiceState
from alphapanda.ops.source import StatusSource
from alphapanda.settings import Settings

if TYPE_CHECKING:
    from alphapanda.telemetry.metrics import Metrics


def open_metrics(settings: Settings, stack: AsyncExitStack) -> Metrics | None:
    """The process's figures, where somebody takes them; None where nobody does or they are off. The stack ends them.

    Raises:
        InvalidInput: Prometheus' port can't be bound.
    """
    monitoring, telemetry = settings.monitoring, settings.telemetry
    if not monitoring.metrics or not (monitoring.prometheus_port or telemetry.otlp_endpoint):
        return None
    from alphapanda.telemetry.metrics import (  # noqa: PLC0415 - a start without them doesn't wait for their import
        Metrics,
        PrometheusEndpoint,
        collector_reader,
    )

    readers = []
    if monitoring.prometheus_port:
        try:
            endpoint = PrometheusEndpoint(settings.api.host, monitoring.prometheus_port)
        except OSError as error:
            allowed = f"a port that can be bound ({error.strerror})"
            raise InvalidInput("monitoring.prometheus_port", monitoring.prometheus_port, allowed) from None
        stack.callback(endpoint.stop)
        readers.append(endpoint.reader)
    if telemetry.otlp_endpoint:
        readers.append(
            collector_reader(
                telemetry.otlp_endpoint, monitoring.metrics_interval_seconds, telemetry.otlp_timeout_seconds
            )
        )
    metrics = Metrics(readers, settings.environment, __version__)
    stack.callback(metrics.stop)
    return metrics


class Measuring:
    """Looks at the services now and then, so that whoever reads the figures waits for nobody.

    Args:
        metrics: where the figures go.
        services: of this process.
        market_age: seconds since the newest frame; None where there is none.
        interval_seconds: between two looks.
    """

    def __init__(
        self,
        metrics: Metrics,
        services: Sequence[StatusSource],
        market_age: Callable[[], Coroutine[Any, Any, float | None]],
        interval_seconds: float,
    ) -> None:
        self._metrics = metrics
        self._services = services
        self._market_age = market_age
        self._interval = interval_seconds
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins."""
        self._task = asyncio.create_task(self._run(), name="measuring")

    async def stop(self) -> None:
        """Ends."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _run(self) -> None:
        while True:
            # What is away is told by the checks; its figures stay as they were.
            await attempted(self._look())
            await asyncio.sleep(self._interval)

    async def _look(self) -> None:
        from alphapanda.telemetry.metrics import ConsumerFigures, ServiceFigures  # noqa: PLC0415 - as above

        reports: list[ServiceReport] = [await service.status() for service in self._services]
        self._metrics.observe(
            [
                ServiceFigures(
                    one.service, one.state is ServiceState.SERVING, one.outbox_unpublished, one.counters
                )
                for one in reports
            ],
            [
                ConsumerFigures(
                    one.service,
                    consumer.consumer,
                    consumer.broker,
                    consumer.processed,
                    consumer.failed,
                    consumer.retried,
                    consumer.dead_lettered,
                    consumer.lag,
                )
                for one in reports
                for consumer in one.consumers
            ],
            await self._market_age(),
        )


def measuring(ground: Ground, services: Sequence[StatusSource]) -> list[Measuring]:
    """What keeps the figures up to date; nothing where they are switched off."""
    if ground.metrics is None:
        return []

    async def market_age() -> float | None:
        clock = (await ground.prices.read(())).clock
        now: datetime = wall_clock()
        return (now - instant(clock.wall_time_ns)).total_seconds() if clock else None

    seconds = ground.settings.monitoring.metrics_interval_seconds
    return [Measuring(ground.metrics, services, market_age, seconds)]
