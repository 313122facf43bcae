"""A process built from rooms: starts them in phases and stops them in reverse order, even after a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol

import grpc
import structlog

from alphapanda.app.bound import StopBound
from alphapanda.app.options import call_bounds
from alphapanda.app.preflight import StartCheck
from alphapanda.app.probes import Probe
from alphapanda.app.spans import Tracers, no_tracers
from alphapanda.consuming.consumer import ReliableConsumer
from alphapanda.consuming.follower import TopicFollower
from alphapanda.mesh.recording import Trail
from alphapanda.mesh.server import MeshServer, Registration
from alphapanda.mesh.server_security import LOOPBACK_ONLY, ServerSecurity
from alphapanda.ops.core import BrokerReport, ServiceState
from alphapanda.ops.source import Check, Degradable
from alphapanda.settings.model import Settings
from alphapanda.storage.relay import OutboxRelay
from alphapanda.telemetry.channels import AUDIT
from alphapanda.telemetry.correlation import current_service
from alphapanda.telemetry.figures import Point

PARTS_STOP_SECONDS = 8.0
"""Limit for stopping all parts of all phases together."""

CONNECTIONS_STOP_SECONDS = 3.0
"""Limit for closing the log and the connections together, after the parts."""

STOP_SECONDS = 20.0
"""A process has exited within this time after SIGTERM; cancelling late parts one by one takes the rest."""


Gauges = Callable[[], Coroutine[Any, Any, Sequence[Point]]]
"""Returns a service's figures as of now; asks its stores at most."""


class Startable(Protocol):
    """A part that is started and stopped."""

    async def start(self) -> object:
        """Starts the part."""

    async def stop(self) -> object:
        """Stops the part."""


class Phase(IntEnum):
    """The phase in which a part starts. The server begins to answer between LISTEN and WAKE."""

    LISTEN = 1
    WAKE = 2
    CONSUME = 3
    FEED = 4


@dataclass(slots=True)
class Room:
    """One service of a process.

    Attributes:
        service: short name, such as "risk".
        full_name: full name of its gRPC service.
        registration: adds its servicer to a server.
        consumers: its consumers in groups.
        followers: its followers of whole topics.
        relay: publishes its outbox; None where it has no outbox.
        parts: other parts to start, by phase; each may depend on those before it, so they stop in reverse order.
        channels: channels to other services; closed after everything else has stopped.
        brokers: returns the state of its brokers.
        counters: returns its own counters.
        checks: checks that have to pass for it to serve.
        degradable: parts that can report a problem with which it goes on serving.
        probes: periodic health checks, by name.
        gauges: return the figures that it is asked for when metrics are collected.
        start_checks: checks of its own, made before it starts and shown with those of the process.
        busy: whether it does something that neither its consumers nor its tables show; lockstep waits for it.
    """

    service: str
    full_name: str
    registration: Registration
    consumers: Sequence[ReliableConsumer] = ()
    followers: Sequence[TopicFollower] = ()
    relay: OutboxRelay | None = None
    parts: Sequence[tuple[Phase, Startable]] = ()
    channels: Sequence[grpc.aio.Channel] = ()
    brokers: Callable[[], Sequence[BrokerReport]] = tuple
    counters: Callable[[], Mapping[str, int]] = field(default=dict)
    checks: Sequence[Check] = ()
    degradable: Sequence[Degradable] = ()
    probes: Mapping[str, Probe] = field(default_factory=dict)
    gauges: Sequence[Gauges] = ()
    start_checks: Sequence[Callable[[], Awaitable[StartCheck]]] = ()
    busy: Callable[[], bool] = bool

    def of_phase(self, phase: Phase) -> Iterable[Sequence[Startable]]:
        """Returns its parts of a phase, in rows: a row's parts stop in reverse order, the rows stop concurrently."""
        if phase is Phase.LISTEN:
            yield from ([follower] for follower in self.followers)
            if self.relay is not None:
                yield [self.relay]
        yield [part for when, part in self.parts if when is phase]
        if phase is Phase.CONSUME:
            yield from ([consumer] for consumer in self.consumers)


@dataclass(slots=True)
class Lifecycle:
    """The state of the process, which bounds the state of its services."""

    state: ServiceState = ServiceState.STARTING


def mesh_server(
    settings: Settings,
    port: int,
    rooms: Sequence[Room],
    before_binding: Callable[[], None] = lambda: None,
    trail: Trail | None = None,
    security: ServerSecurity = LOOPBACK_ONLY,
    tracer: Tracers = no_tracers,
) -> MeshServer:
    """Builds the server for these rooms; `trail` records their commands."""
    return MeshServer(
        settings.api.host,
        port,
        [room.registration for room in rooms],
        structlog.get_logger("alphapanda.mesh"),
        settings.monitoring.slow_call_seconds,
        structlog.get_logger(AUDIT),
        before_binding,
        call_bounds(settings.api),
        trail,
        security,
        tracer,
        settings.api.health_port,
    )


class Process:
    """Runs rooms behind one server.

    Args:
        rooms: the rooms, in the order of the data flow; within a phase the end of the flow starts first.
        server: serves all rooms.
        health: health checks and health updates; started after all rooms.
        lifecycle: updated by this process.
        drain_seconds: how long calls in flight may take when the process stops.

    Attributes:
        starting: name of the part that starts now, or started last.
    """

    def __init__(
        self,
        rooms: Sequence[Room],
        server: MeshServer,
        health: Sequence[Startable],
        lifecycle: Lifecycle,
        drain_seconds: float = 5.0,
    ) -> None:
        self._rooms = rooms
        self._server = server
        self._health = health
        self._lifecycle = lifecycle
        self._drain_seconds = drain_seconds
        self._stack = AsyncExitStack()
        self._bound = StopBound(PARTS_STOP_SECONDS)
        self.starting = ""

    async def start(self, before_feed: Callable[[], Awaitable[None]] | None = None) -> None:
        """Starts every part; stops the started ones again where one fails.

        Args:
            before_feed: awaited when all services answer, before the feed starts.
        """
        for room in self._rooms:
            for channel in room.channels:
                self._stack.push_async_callback(channel.close, None)
        try:
            await self._start_phase(Phase.LISTEN)
            await self._server.start()
            self._stack.push_async_callback(
                self._bound.end, "server", lambda: self._server.stop(self._drain_seconds)
            )
            await self._start_phase(Phase.WAKE)
            await self._start_phase(Phase.CONSUME)
            self._lifecycle.state = ServiceState.SERVING
            await self._start_rows(("", [part]) for part in self._health)
            if before_feed is not None:
                await before_feed()
            await self._start_phase(Phase.FEED)
        except BaseException:
            await self.stop()
            raise

    @property
    def ending(self) -> Sequence[str]:
        """Names of the parts that are being stopped now."""
        return self._bound.ending

    async def stop(self) -> None:
        """Stops what was started, the last phase first, within PARTS_STOP_SECONDS.

        Raises:
            BaseExceptionGroup: some parts failed to stop; the others have stopped.
        """
        self._lifecycle.state = ServiceState.STOPPED
        await self._stack.aclose()

    async def _start_phase(self, phase: Phase) -> None:
        await self._start_rows(
            (room.service, row) for room in reversed(self._rooms) for row in room.of_phase(phase)
        )

    async def _start_rows(self, rows: Iterable[tuple[str, Sequence[Startable]]]) -> None:
        """Starts parts, row by row, each as its service: the tasks that it starts inherit that, and so do their log lines."""
        started: list[AsyncExitStack] = []
        self._stack.push_async_callback(_stop_rows, started)
        for service, row in rows:
            started.append(AsyncExitStack())
            before = current_service.set(service)
            try:
                for part in row:
                    self.starting = name = getattr(part, "name", type(part).__name__)
                    await part.start()
                    started[-1].push_async_callback(self._bound.end, name, part.stop)
            finally:
                current_service.reset(before)


async def _stop_rows(started: Sequence[AsyncExitStack]) -> None:
    ends = await asyncio.gather(*(row.aclose() for row in started), return_exceptions=True)
    if errors := [error for error in ends if error is not None]:
        raise BaseExceptionGroup("parts failed to stop", errors)
