"""A real server on a free port with a servicer whose answers a test chooses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

import grpc
import pytest
import structlog
from structlog.testing import LogCapture
from typing_extensions import override

from alphapanda.mesh.bounds import CallBounds
from alphapanda.mesh.channel import open_channel
from alphapanda.mesh.recording import Trail
from alphapanda.mesh.server import MeshServer
from alphapanda.telemetry.tracing import OFF, Tracer
from panda.instruments.v1 import instruments_pb2, instruments_pb2_grpc
from panda.risk.v1 import risk_pb2, risk_pb2_grpc

INSTRUMENTS = "panda.instruments.v1.InstrumentService"
RISK = "panda.risk.v1.RiskService"

Query = Callable[[instruments_pb2.ListInstrumentsRequest], Awaitable[instruments_pb2.ListInstrumentsResponse]]
Command = Callable[[risk_pb2.SetKillSwitchRequest], Awaitable[risk_pb2.SetKillSwitchResponse]]

Update = Callable[[risk_pb2.UpdateLimitsRequest], Awaitable[risk_pb2.UpdateLimitsResponse]]


async def _empty_page(_request) -> instruments_pb2.ListInstrumentsResponse:
    return instruments_pb2.ListInstrumentsResponse()


async def _done(_request) -> risk_pb2.SetKillSwitchResponse:
    return risk_pb2.SetKillSwitchResponse()


async def _updated(_request) -> risk_pb2.UpdateLimitsResponse:
    return risk_pb2.UpdateLimitsResponse()


class Instruments(instruments_pb2_grpc.InstrumentServiceServicer):
    """Answers with what the test puts here; a query."""

    def __init__(self) -> None:
        self.list: Query = _empty_page

    @override
    async def GetInstrument(self, request, context):
        return instruments_pb2.GetInstrumentResponse()

    @override
    async def ListInstruments(self, request, context):
        return await self.list(request)


class Risk(risk_pb2_grpc.RiskServiceServicer):
    """Answers with what the test puts here; a command."""

    def __init__(self) -> None:
        self.set_kill_switch: Command = _done
        self.update_limits: Update = _updated

    @override
    async def AuthorizeOrder(self, request, context):
        raise NotImplementedError

    @override
    async def GetVerdict(self, request, context):
        raise NotImplementedError

    @override
    async def GetLimits(self, request, context):
        raise NotImplementedError

    @override
    async def GetKillSwitch(self, request, context):
        raise NotImplementedError

    @override
    async def UpdateLimits(self, request, context):
        return await self.update_limits(request)

    @override
    async def SetKillSwitch(self, request, context):
        return await self.set_kill_switch(request)


@dataclass
class Mesh:
    """The server, what it serves, what it logged, and how to call it."""

    server: MeshServer
    instruments: Instruments
    risk: Risk
    log: LogCapture
    port: int = 0
    channels: list[grpc.aio.Channel] = field(default_factory=list)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def bare(self) -> grpc.aio.Channel:
        """A channel that adds nothing of ours."""
        self.channels.append(grpc.aio.insecure_channel(self.target))
        return self.channels[-1]

    def ours(self) -> grpc.aio.Channel:
        """A channel as the services open it."""
        self.channels.append(open_channel(self.target, [INSTRUMENTS, RISK]))
        return self.channels[-1]

    @property
    def list_instruments(self):
        return instruments_pb2_grpc.InstrumentServiceStub(self.bare()).ListInstruments

    @property
    def set_kill_switch(self):
        return risk_pb2_grpc.RiskServiceStub(self.bare()).SetKillSwitch


@pytest.fixture
def bounds() -> CallBounds:
    """The bounds of the server; a module may have its own."""
    return CallBounds()


@pytest.fixture
def trail() -> Trail | None:
    """Where commands are recorded: nowhere; a module may have its own."""
    return None


@pytest.fixture
def tracer() -> Callable[[str], Tracer]:
    """The services' tracers: off; a module may have its own."""
    return lambda _: OFF


@pytest.fixture
async def mesh(
    bounds: CallBounds, trail: Trail | None, tracer: Callable[[str], Tracer]
) -> AsyncIterator[Mesh]:
    """A server at work; stopped at the end."""
    captured = LogCapture()
    log = structlog.wrap_logger(
        None, processors=[captured], wrapper_class=structlog.make_filtering_bound_logger(0)
    )
    instruments, risk = Instruments(), Risk()
    server = MeshServer(
        "127.0.0.1",
        0,
        [
            partial(instruments_pb2_grpc.add_InstrumentServiceServicer_to_server, instruments),
            partial(risk_pb2_grpc.add_RiskServiceServicer_to_server, risk),
        ],
        log,
        slow_call_seconds=0.2,
        bounds=bounds,
        trail=trail,
        tracer=tracer,
    )
    mesh = Mesh(server, instruments, risk, captured)
    mesh.port = await server.start()
    yield mesh
    for channel in mesh.channels:
        await channel.close()
    await server.stop(1.0)


@pytest.fixture
def kill_switch_request() -> risk_pb2.SetKillSwitchRequest:
    """A valid command."""
    return risk_pb2.SetKillSwitchRequest(request_id="r-1", broker="paper", state=1, reason="a test")
