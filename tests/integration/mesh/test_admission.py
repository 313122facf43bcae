"""Calls over the bounds are refused at once, and what is urgent has a lane of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from alphapanda.mesh.admission import CallKind
from alphapanda.mesh.bounds import CallBounds
from alphapanda.mesh.gate import LEASE_SECONDS
from alphapanda.mesh.status import call_failure
from panda.instruments.v1 import instruments_pb2, instruments_pb2_grpc
from panda.risk.v1 import risk_pb2, risk_pb2_grpc

MOST = 4


@pytest.fixture
def bounds() -> CallBounds:
    """Few of each kind."""
    return CallBounds(
        max_queries_per_connection=MOST, max_commands_per_connection=MOST, max_watches_per_connection=MOST
    )


@asynccontextmanager
async def connection(mesh) -> AsyncIterator[grpc.aio.Channel]:
    """A channel with a connection that it shares with no other."""
    alone = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(mesh.target, options=alone) as channel:
        yield channel


async def refused(call) -> str:
    """The reason of a refusal that names when to try again."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    failure = call_failure(caught.value)
    assert (failure.code, failure.retry_after) == (grpc.StatusCode.RESOURCE_EXHAUSTED, 1)
    return failure.reason


async def test_queries_over_the_bound_are_refused_at_once(mesh, kill_switch_request) -> None:
    """A connection with as many as it may have is told so; another's query, a command and a health check pass."""
    let = asyncio.Event()

    async def slow(_request) -> instruments_pb2.ListInstrumentsResponse:
        await let.wait()
        return instruments_pb2.ListInstrumentsResponse()

    mesh.instruments.list = slow
    async with connection(mesh) as loud, connection(mesh) as quiet:
        many = instruments_pb2_grpc.InstrumentServiceStub(loud).ListInstruments
        calls = [asyncio.ensure_future(many(instruments_pb2.ListInstrumentsRequest())) for _ in range(50)]
        ended, waiting = await asyncio.wait(calls, timeout=2 * LEASE_SECONDS)
        while len(waiting) > MOST:
            ended, waiting = await asyncio.wait(calls, timeout=LEASE_SECONDS)
        assert {await refused(call) for call in ended} == {"TOO_MANY_QUERIES"}
        method = "/panda.instruments.v1.InstrumentService/ListInstruments"
        assert mesh.server.admission.refused["TOO_MANY_QUERIES", method] == 50 - MOST
        await instruments_pb2_grpc.InstrumentServiceStub(quiet).GetInstrument(
            instruments_pb2.GetInstrumentRequest(instrument_id="NSE:INFY")
        )
        await risk_pb2_grpc.RiskServiceStub(loud).SetKillSwitch(kill_switch_request)
        assert await health_pb2_grpc.HealthStub(loud).Check(health_pb2.HealthCheckRequest(service=""))
        let.set()
        await asyncio.gather(*waiting)
    (line,) = [line for line in mesh.log.entries if line["event"] == "calls.refused"]
    assert (line["log_level"], line["reason"], line["method"]) == ("warning", "TOO_MANY_QUERIES", method)


async def test_a_refused_call_of_ours_is_sent_again_after_the_wait_asked_for(mesh) -> None:
    """A channel as services and commands open it heeds RetryInfo: the call succeeds once a place is free."""
    let = asyncio.Event()
    calls = 0

    async def slow(_request) -> instruments_pb2.ListInstrumentsResponse:
        nonlocal calls
        calls += 1
        await let.wait()
        return instruments_pb2.ListInstrumentsResponse()

    mesh.instruments.list = slow
    many = instruments_pb2_grpc.InstrumentServiceStub(mesh.ours()).ListInstruments
    answers = [asyncio.ensure_future(many(instruments_pb2.ListInstrumentsRequest())) for _ in range(MOST + 1)]
    async with asyncio.timeout(20):
        while not mesh.server.admission.refused:  # noqa: ASYNC110 - a refusal tells nobody here
            await asyncio.sleep(0.01)
    let.set()
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.gather(*answers)
    assert loop.time() - began > 0.5
    assert calls == MOST + 1


async def test_a_command_counts_until_its_effect_has_ended(mesh) -> None:
    """Callers that leave take their commands' places with them only when the effects have ended."""
    let = asyncio.Event()

    async def slow(_request) -> risk_pb2.UpdateLimitsResponse:
        await let.wait()
        return risk_pb2.UpdateLimitsResponse()

    mesh.risk.update_limits = slow
    request = risk_pb2.UpdateLimitsRequest(request_id="r", broker="paper", account="a", reason="a test")
    async with connection(mesh) as channel:
        update = risk_pb2_grpc.RiskServiceStub(channel).UpdateLimits
        for _ in range(MOST):
            with pytest.raises(grpc.aio.AioRpcError, match=r"(?i)deadline"):
                await update(request, timeout=0.1)
        assert await refused(update(request)) == "TOO_MANY_COMMANDS"
        let.set()
        async with asyncio.timeout(10):
            while mesh.server.admission.running[CallKind.COMMAND]:  # noqa: ASYNC110 - effects tell nobody
                await asyncio.sleep(0.01)
        await update(request)


async def test_watches_of_health_and_reflection_are_bounded(mesh) -> None:
    """They are streams like any other: a connection has no more of them than it may have watches."""
    async with connection(mesh) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch
        watches = [watch(health_pb2.HealthCheckRequest(service="")) for _ in range(MOST)]
        for one in watches:
            await one.read()
        assert await refused(watch(health_pb2.HealthCheckRequest(service="")).read()) == "TOO_MANY_WATCHES"
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
        asked = reflection(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        assert await refused(asked.read()) == "TOO_MANY_WATCHES"
        watches[0].cancel()
        async with asyncio.timeout(10):
            while mesh.server.admission.running[CallKind.WATCH] == MOST:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        asked = reflection(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        assert (await asked.read()).list_services_response.service
