"""The server itself: its port, health, reflection, correlation, and the channels to it."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
from collections import Counter
from functools import partial
from uuid import uuid4

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.channel import open_channel
from alphapanda.mesh.deadlines import spend_by
from alphapanda.mesh.errors import Unavailable
from alphapanda.mesh.server import MeshServer, PortInUse, ReservedPort
from alphapanda.telemetry.correlation import current_correlation_id
from panda.instruments.v1 import instruments_pb2, instruments_pb2_grpc
from panda.risk.v1 import risk_pb2_grpc

INSTRUMENTS = "panda.instruments.v1.InstrumentService"
RISK = "panda.risk.v1.RiskService"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def test_a_name_s_addresses_take_turns(mesh) -> None:
    """Where a target stands for several processes, each gets its share of the calls."""
    served = Counter()

    def counting(name: str):
        async def answer(_):
            served[name] += 1
            return instruments_pb2.ListInstrumentsResponse()

        return answer

    instruments = type(mesh.instruments)()
    register = partial(instruments_pb2_grpc.add_InstrumentServiceServicer_to_server, instruments)
    second = MeshServer("127.0.0.1", 0, [register], structlog.get_logger())
    mesh.instruments.list, instruments.list = counting("first"), counting("second")
    addresses = f"ipv4:{mesh.target},127.0.0.1:{await second.start()}"
    async with open_channel(addresses, [INSTRUMENTS]) as channel:
        stub = instruments_pb2_grpc.InstrumentServiceStub(channel)
        await stub.ListInstruments(instruments_pb2.ListInstrumentsRequest())
        async with asyncio.timeout(20):
            while len(served) < 2:  # a connection is a moment later than the other
                await stub.ListInstruments(instruments_pb2.ListInstrumentsRequest())
        served.clear()
        for _ in range(20):
            await stub.ListInstruments(instruments_pb2.ListInstrumentsRequest())
    await second.stop(1.0)
    assert served == {"first": 10, "second": 10}


async def test_a_port_in_use_is_told(mesh) -> None:
    """A second server on the port fails with its host and port, and doesn't share it."""
    second = MeshServer("127.0.0.1", mesh.port, [], structlog.get_logger())
    with pytest.raises(PortInUse, match=rf"127\.0\.0\.1:{mesh.port} is in use"):
        await second.start()


async def test_a_reserved_port_is_nobody_else_s_until_the_server_binds_it() -> None:
    """It can't be bound while it is reserved, and the server gets it."""
    reserved = ReservedPort("127.0.0.1")
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", reserved.number))
    server = MeshServer(
        "127.0.0.1", reserved.number, [], structlog.get_logger(), before_binding=reserved.release
    )
    assert await server.start() == reserved.number
    await server.stop(1.0)


async def test_a_stopped_server_frees_its_port(mesh) -> None:
    """The port can be bound again right after the stop."""
    await mesh.list_instruments(instruments_pb2.ListInstrumentsRequest())
    await mesh.server.stop(1.0)
    second = MeshServer("127.0.0.1", mesh.port, [], structlog.get_logger())
    assert await second.start() == mesh.port
    await second.stop(1.0)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])
def test_only_loopback_is_served_without_authentication(host) -> None:
    """A host that others could reach is refused, naming the setting."""
    with pytest.raises(InvalidInput, match=r"^api\.host: "):
        MeshServer(host, 0, [], structlog.get_logger())


async def _health(mesh, service: str) -> str:
    stub = health_pb2_grpc.HealthStub(mesh.bare())
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


async def test_health_is_told_per_service_and_over_all(mesh) -> None:
    """A service serves when it says so; the whole serves while all do."""
    assert await _health(mesh, RISK) == "NOT_SERVING"
    await mesh.server.set_serving(RISK, serving=True)
    assert [await _health(mesh, name) for name in (RISK, INSTRUMENTS, "")] == [
        "SERVING",
        "NOT_SERVING",
        "NOT_SERVING",
    ]
    await mesh.server.set_serving(INSTRUMENTS, serving=True)
    assert await _health(mesh, "") == "SERVING"
    await mesh.server.set_serving(RISK, serving=False)
    assert await _health(mesh, "") == "NOT_SERVING"


async def test_health_of_an_unknown_service_is_refused(mesh) -> None:
    """A misspelt service can't be set, and the known ones are named."""
    with pytest.raises(InvalidInput, match=RISK):
        await mesh.server.set_serving("risk", serving=True)


async def _grpcurl(grpcurl, mesh, *words: str) -> str:
    finished = await asyncio.to_thread(
        subprocess.run,
        [grpcurl, "-plaintext", *words[:-1], mesh.target, *words[-1].split()],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return finished.stdout + finished.stderr


async def test_reflection_lists_the_services(mesh, grpcurl) -> None:
    """The real grpcurl sees our services, health and reflection."""
    listed = (await _grpcurl(grpcurl, mesh, "list")).split()
    assert {INSTRUMENTS, RISK, "grpc.health.v1.Health"} <= set(listed)


@pytest.mark.parametrize(
    "symbol",
    [
        f"{RISK}.SetKillSwitch",
        "panda.risk.v1.SetKillSwitchRequest",
        "panda.options.v1.MethodPolicy",
        "google.type.Decimal",
        "google.protobuf.Timestamp",
        "buf.validate.FieldRules",
    ],
)
async def test_reflection_resolves_every_kind_of_type(mesh, grpcurl, symbol) -> None:
    """Types of ours, of options, of google.type and of the validation rules can be described."""
    described = await _grpcurl(grpcurl, mesh, f"describe {symbol}")
    assert symbol in described
    assert "rror" not in described.split("\n")[0]


async def test_grpcurl_shows_what_is_wrong(mesh, grpcurl) -> None:
    """A person at grpcurl reads field, value and what is allowed in the message."""
    shown = await _grpcurl(grpcurl, mesh, "-d", '{"page_size": 5000}', f"{INSTRUMENTS}/ListInstruments")
    assert "page_size: 5000 is not allowed; must be less than or equal to 1000" in shown


async def test_a_correlation_id_comes_back(mesh) -> None:
    """The caller's UUID is what the call is done under, and returns in the trailing metadata."""
    seen = []

    async def look(_request):
        seen.append(current_correlation_id.get())
        return instruments_pb2.ListInstrumentsResponse()

    mesh.instruments.list = look
    sent = str(uuid4())
    call = mesh.list_instruments(
        instruments_pb2.ListInstrumentsRequest(), metadata=(("x-correlation-id", sent),)
    )
    await call
    assert seen == [sent]
    assert dict(await call.trailing_metadata())["x-correlation-id"] == sent


@pytest.mark.parametrize("metadata", [(), (("x-correlation-id", "anything"),)])
async def test_a_correlation_id_is_made(mesh, metadata) -> None:
    """Without a UUID of the caller's, a failed call too gets one to name it by."""
    call = mesh.list_instruments(instruments_pb2.ListInstrumentsRequest(page_size=5000), metadata=metadata)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert UUID.fullmatch(dict(caught.value.trailing_metadata())["x-correlation-id"])


async def test_a_channel_passes_the_correlation_id_on(mesh) -> None:
    """A call to another service is done under the same correlation id."""
    seen = []

    async def look(_request):
        seen.append(current_correlation_id.get())
        return instruments_pb2.ListInstrumentsResponse()

    mesh.instruments.list = look
    current_correlation_id.set(sent := str(uuid4()))
    stub = instruments_pb2_grpc.InstrumentServiceStub(mesh.ours())
    await stub.ListInstruments(instruments_pb2.ListInstrumentsRequest())
    assert seen == [sent]


@pytest.mark.parametrize(("left", "timeout", "expected"), [(None, None, 5), (1.0, None, 1), (9.0, 2, 2)])
async def test_a_channels_deadline_shrinks(mesh, left, timeout, expected) -> None:
    """A call gets the least of its timeout, else the contract's default, and what the call being served has left."""
    seen = []

    async def look(_request):
        from alphapanda.mesh.deadlines import seconds_to_spend

        seen.append(seconds_to_spend())
        return instruments_pb2.ListInstrumentsResponse()

    mesh.instruments.list = look
    spend_by.set(None if left is None else asyncio.get_running_loop().time() + left)
    stub = instruments_pb2_grpc.InstrumentServiceStub(mesh.ours())
    await stub.ListInstruments(instruments_pb2.ListInstrumentsRequest(), timeout=timeout)
    assert seen == [pytest.approx(expected, abs=0.3)]


async def test_a_call_without_time_left_is_not_made(mesh) -> None:
    """Where the deadline being served has passed, a further call fails at once."""
    spend_by.set(asyncio.get_running_loop().time() - 1)
    stub = instruments_pb2_grpc.InstrumentServiceStub(mesh.ours())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ListInstruments(instruments_pb2.ListInstrumentsRequest())
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_channel_retries_what_may_be_sent_again(mesh, kill_switch_request) -> None:
    """UNAVAILABLE is tried again for queries and remembered commands; other failures are not."""
    from panda.risk.v1 import risk_pb2

    attempts = []

    async def comes_back(_request):
        attempts.append("command")
        if len(attempts) < 3:
            raise Unavailable("AWAY", "not yet")
        return risk_pb2.SetKillSwitchResponse(acknowledged_by_trading=True)

    async def broken(_request):
        attempts.append("query")
        raise KeyError("a defect")

    mesh.risk.set_kill_switch, mesh.instruments.list = comes_back, broken
    channel = mesh.ours()
    answer = await risk_pb2_grpc.RiskServiceStub(channel).SetKillSwitch(kill_switch_request)
    assert answer.acknowledged_by_trading
    stub = instruments_pb2_grpc.InstrumentServiceStub(channel)
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.ListInstruments(instruments_pb2.ListInstrumentsRequest())
    assert attempts == ["command"] * 3 + ["query"]


def test_a_channel_for_an_unknown_service_is_refused() -> None:
    """A misspelt service name is found when the channel is opened, not when it is used."""
    with pytest.raises(KeyError):
        open_channel("127.0.0.1:1", ["panda.risk.v1.Risk"])
