"""A process made of rooms: started in phases, stopped in the opposite order, whatever failed in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

import structlog

from alphapanda.app.questions import Question
from alphapanda.eventlog.consumer import ReliableConsumer
from alphapanda.eventlog.control import TopicFollower
from alphapanda.eventlog.relay import OutboxRelay
from alphapanda.mesh.server import MeshServer, Registration
from alphapanda.ops.core import BrokerReport, ServiceState
from alphapanda.ops.source import Check
from alphapanda.settings import Settings
from alphapanda.telemetry.channels import AUDIT


class Startable(Protocol):
    """A part with a life."""

    async def start(self) -> object:
        """Begins."""

    async def stop(self) -> object:
        """Ends."""


class Phase(IntEnum):
    """When a part starts. The server begins to answer between LISTEN and WAKE."""

    LISTEN = 1
    WAKE = 2
    CONSUME = 3
    FEED = 4


@dataclass(slots=True)
class Room:
    """One service of a process.

    Attributes:
        service: its name, such as "risk".
        full_name: of its gRPC service.
        registration: puts its servicer on a server.
        consumers: its group readers.
        followers: its readers of whole topics.
        relay: of its outbox; None where it has none.
        parts: what else has a life, by phase.
        brokers: how it sees the brokers.
        counters: figures of its own.
        checks: what else keeps it from serving while it fails.
        questions: what is asked of it now and then, by name.
    """

    service: str
    full_name: str
    registration: Registration
    consumers: Sequence[ReliableConsumer] = ()
    followers: Sequence[TopicFollower] = ()
    relay: OutboxRelay | None = None
    parts: Sequence[tuple[Phase, Startable]] = ()
    brokers: Callable[[], Sequence[BrokerReport]] = tuple
    counters: Callable[[], Mapping[str, int]] = field(default=dict)
    checks: Sequence[Check] = ()
    questions: Mapping[str, Question] = field(default_factory=dict)

    def of_phase(self, phase: Phase) -> Iterable[Startable]:
        """Its parts that start then."""
        if phase is Phase.LISTEN:
            yield from self.followers
            if self.relay is not None:
                yield self.relay
        yield from (part for when, part in self.parts if when is phase)
        if phase is Phase.CONSUME:
            yield from self.consumers


@dataclass(slots=True)
class Lifecycle:
    """How far the process is; its services are no further."""

    state: ServiceState = ServiceState.STARTING


def mesh_server(
    settings: Settings, port: int, rooms: Sequence[Room], before_binding: Callable[[], None] = lambda: None
) -> MeshServer:
    """The server that answers for these rooms."""
    return MeshServer(
        settings.api.host,
        port,
        [room.registration for room in rooms],
        structlog.get_logger("alphapanda.mesh"),
        settings.monitoring.slow_call_seconds,
        structlog.get_logger(AUDIT),
        before_binding,
    )


class Process:
    """Rooms behind one server.

    Args:
        rooms: in the order of the flow; within a phase the end of the flow starts first.
        server: answers for all of them.
        health: what finds out how the services are and tells the server; started when all of them are at work.
        lifecycle: kept by this process.
        drain_seconds: how long calls under way may take at the stop.
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

    async def start(self, before_feed: Callable[[], Awaitable[None]] | None = None) -> None:
        """Starts every part; what was started is stopped again where one fails.

        Args:
            before_feed: awaited when everything answers and nothing is fed yet.
        """
        try:
            await self._start_phase(Phase.LISTEN)
            await self._server.start()
            self._stack.push_async_callback(self._server.stop, self._drain_seconds)
            await self._start_phase(Phase.WAKE)
            await self._start_phase(Phase.CONSUME)
            self._lifecycle.state = ServiceState.SERVING
            for part in self._health:
                await part.start()
                self._stack.push_async_callback(part.stop)
            if before_feed is not None:
                await before_feed()
            await self._start_phase(Phase.FEED)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stops what was started, last first."""
        self._lifecycle.state = ServiceState.STOPPED
        await self._stack.aclose()

    async def _start_phase(self, phase: Phase) -> None:
        for room in reversed(self._rooms):
            for part in room.of_phase(phase):
                await part.start()
                self._stack.push_async_callback(part.stop)
