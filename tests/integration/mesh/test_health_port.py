"""The port of health checks: Kubernetes' probes ask it by a service's name, without TLS and without a token."""

from __future__ import annotations

from functools import partial

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.health_port import LIVENESS
from alphapanda.mesh.server import MeshServer, ReservedPort
from panda.risk.v1 import risk_pb2, risk_pb2_grpc

RISK = "panda.risk.v1.RiskService"


def server(health_port: int) -> MeshServer:
    """A server with risk and a port of health checks."""
    register = partial(risk_pb2_grpc.add_RiskServiceServicer_to_server, risk_pb2_grpc.RiskServiceServicer())
    return MeshServer("127.0.0.1", 0, [register], structlog.get_logger(), health_port=health_port)


async def health(channel: grpc.aio.Channel, service: str) -> str:
    """What the port says of a service."""
    asked = health_pb2.HealthCheckRequest(service=service)
    answer = await health_pb2_grpc.HealthStub(channel).Check(asked)
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


async def refused(call) -> grpc.StatusCode:
    """The status of a call that isn't answered."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code()


async def test_it_says_whether_a_service_serves_and_that_the_process_lives() -> None:
    """A service that doesn't serve, because its database is away, is no reason to kill its process."""
    reserved = ReservedPort("127.0.0.1")
    reserved.release()
    under_test = server(reserved.number)
    await under_test.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{reserved.number}") as channel:
        assert [await health(channel, name) for name in (RISK, LIVENESS)] == ["NOT_SERVING", "SERVING"]
        await under_test.set_serving(RISK, serving=True)
        assert await health(channel, RISK) == "SERVING"
        assert await refused(health(channel, "panda.risk.v1.Misspelt")) is grpc.StatusCode.NOT_FOUND
    await under_test.stop(0.1)


async def test_it_answers_nothing_but_checks() -> None:
    """No RPC of ours, which would pass by TLS and token; no watch, which would hold a probe's place."""
    reserved = ReservedPort("127.0.0.1")
    reserved.release()
    under_test = server(reserved.number)
    await under_test.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{reserved.number}") as channel:
        limits = risk_pb2_grpc.RiskServiceStub(channel).GetLimits(risk_pb2.GetLimitsRequest())
        assert await refused(limits) is grpc.StatusCode.UNIMPLEMENTED
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert await refused(watch.read()) is grpc.StatusCode.UNIMPLEMENTED
    await under_test.stop(0.1)


async def test_a_port_in_use_is_named_by_its_setting() -> None:
    """Nothing is left listening."""
    reserved = ReservedPort("127.0.0.1")
    with pytest.raises(InvalidInput, match=r"api\.health_port") as refusal:
        await server(reserved.number).start()
    assert str(reserved.number) in str(refusal.value)
    reserved.release()
