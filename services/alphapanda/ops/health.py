"""Health follows what services say: a paused partition or a relay that can't publish is NOT_SERVING."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import structlog

_log = structlog.get_logger(__name__)


class Servable(Protocol):
    """A service that knows whether it is at work."""

    @property
    def started(self) -> bool:
        """Whether it should be at work now."""

    @property
    def held_up_by(self) -> str:
        """What keeps it from its work now; empty where nothing does. Asks nobody."""


class HealthWatch:
    """Tells the server each service's health, again and again.

    Args:
        services: full gRPC name to the service's running parts.
        set_serving: the server's, `MeshServer.set_serving`.
        interval_seconds: how often.
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
        self._held_up: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Tells the health now, then at each interval."""
        await self._tell()
        self._task = asyncio.create_task(self._watch(), name="ops.health")

    async def stop(self) -> None:
        """Ends, with a last telling: a process that stops is not serving while it finishes what is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
            await self._tell()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await self._tell()

    async def _tell(self) -> None:
        for service, running in self._services.items():
            why = running.held_up_by
            await self._set_serving(service, running.started and not why)
            if running.started:
                self._log_change(service, why)

    def _log_change(self, service: str, why: str) -> None:
        before = self._held_up.get(service, "")
        self._held_up[service] = why
        if why and not before:
            _log.warning("service.stopped_serving", service=service, error=why)
        elif before and not why:
            _log.info("service.resumed_serving", service=service)
