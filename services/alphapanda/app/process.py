"""A process made of rooms: started in phases, stopped in the opposite order, whatever failed in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

import grpc
import structlog

from alphapanda.app.bound import StopBound
from alphapanda.app.questions import Question
from alphapanda.consuming.consumer import ReliableConsumer
from alphapanda.consuming.follower import TopicFollower
from alphapanda.mesh.server import MeshServer, Registration
from alphapanda.ops.core import BrokerReport, ServiceState
from alphapanda.ops.source import Check
from alphapanda.settings.model import Settings
from alphapanda.storage.relay import OutboxRelay
from alphapanda.telemetry.channels import AUDIT

PARTS_STOP_SECONDS = 8.0
"""For all parts of all phases together."""

CONNECTIONS_STOP_SECONDS = 3.0
"""For the log and the connections together, after the parts."""

STOP_SECONDS = 20.0
"""Within it a process has left after SIGTERM: what is late is cut off one after the other, which takes the rest."""


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
        parts: what else has a life, by phase; each may stand on those before it, so they end last first.
        channels: to other services; closed when everything else has ended.
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
    channels: Sequence[grpc.aio.Channel] = ()
    brokers: Callable[[], Sequence[BrokerReport]] = tuple
    counters: Callable[[], Mapping[str, int]] = field(default=dict)
    checks: Sequence[Check] = ()
    questions: Mapping[str, Question] = field(default_factory=dict)

    def of_phase(self, phase: Phase) -> Iterable[Sequence[Startable]]:
        """Its parts that start then, in rows: what is in the same row ends last first, the rows end side by side."""
        if phase is Phase.LISTEN:
            yield from ([follower] for follower in self.followers)
            if self.relay is not None:
                yield [self.relay]
        yield [part for when, part in self.parts if when is phase]
        if phase is Phase.CONSUME:
            yield from ([consumer] for consumer in self.consumers)


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
        self._bound = StopBound(PARTS_STOP_SECONDS)

    async def start(self, before_feed: Callable[[], Awaitable[None]] | None = None) -> None:
        """Starts every part; what was started is stopped again where one fails.

        Args:
            before_feed: awaited when everything answers and nothing is fed yet.
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
            await self._start_rows([part] for part in self._health)
            if before_feed is not None:
                await before_feed()
            await self._start_phase(Phase.FEED)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stops what was started, the last phase first, within PARTS_STOP_SECONDS.

        Raises:
            BaseExceptionGroup: parts that failed to end; the others have ended.
        """
        self._lifecycle.state = ServiceState.STOPPED
        await self._stack.aclose()

    async def _start_phase(self, phase: Phase) -> None:
        await self._start_rows(row for room in reversed(self._rooms) for row in room.of_phase(phase))

    async def _start_rows(self, rows: Iterable[Sequence[Startable]]) -> None:
        started: list[AsyncExitStack] = []
        self._stack.push_async_callback(_stop_rows, started)
        for row in rows:
            started.append(AsyncExitStack())
            for part in row:
                await part.start()
                name = getattr(part, "name", type(part).__name__)
                started[-1].push_async_callback(self._bound.end, name, part.stop)


async def _stop_rows(started: Sequence[AsyncExitStack]) -> None:
    ends = await asyncio.gather(*(row.aclose() for row in started), return_exceptions=True)
    if errors := [error for error in ends if error is not None]:
        raise BaseExceptionGroup("parts failed to end", errors)
