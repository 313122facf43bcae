"""Sets gRPC health from the services' state: a stopped partition or relay makes its service NOT_SERVING."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import structlog

from alphapanda.resilience.tasks import kept_running

_log = structlog.get_logger(__name__)


class Servable(Protocol):
    """A service that knows whether it can serve."""

    @property
    def started(self) -> bool:
        """Whether it should be serving now."""

    @property
    def not_serving_reason(self) -> str:
        """Why it can't serve now; empty where it can. Does no I/O."""


class HealthWatch:
    """Sets each service's health in the gRPC server, periodically.

    Args:
        services: the services, by full gRPC name.
        set_serving: `MeshServer.set_serving`.
        interval_seconds: seconds between two updates.
    """

    def __init__(
        self,
        services: Mapping[str, Servable],
        set_serving: Callable[[str, bool], Awaitable[None]],
        interval_seconds: float = 0.5,
    ) -> None:
        self._services = services
        self._set_serving = set_serving
        self._interval = interval_seconds
        self._reasons: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Sets the health now, then at each interval."""
        await self._update()
        self._task = kept_running(self._watch, "ops.health", _log)

    async def stop(self) -> None:
        """Stops, after a last update: a process that stops is NOT_SERVING while it finishes its work."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
            await self._update()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await self._update()

    async def _update(self) -> None:
        for service, running in self._services.items():
            reason = running.not_serving_reason
            await self._set_serving(service, running.started and not reason)
            if running.started:
                self._log_change(service, reason)

    def _log_change(self, service: str, reason: str) -> None:
        before = self._reasons.get(service, "")
        self._reasons[service] = reason
        if reason and not before:
            _log.warning("service.stopped_serving", service=service, error=reason)
        elif before and not reason:
            _log.info("service.resumed_serving", service=service)
