"""The spans of calls, and how their context travels between a caller, its channel and a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID, uuid4

import grpc
import pytest

from alphapanda.domain import ids
from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.channel import open_channel
from alphapanda.telemetry import spans
from alphapanda.telemetry.correlation import current_correlation_id
from alphapanda.telemetry.tracing import (
    CurrentSpan,
    Kind,
    Span,
    SpanContext,
    Tracer,
    current_span,
)
from panda.common.v1 import common_pb2 as common
from panda.instruments.v1 import instruments_pb2
from panda.risk.v1 import risk_pb2, risk_pb2_grpc

LIST = "panda.instruments.v1.InstrumentService/ListInstruments"
SWITCH = "panda.risk.v1.RiskService/SetKillSwitch"
CALLER = SpanContext(ids.trace_id(ids.derived_id("a caller")), "00000000000000c1")
NEVER, ALWAYS = 0.0, 1.0


@pytest.fixture
def recorded() -> list[Span]:
    """The spans that were recorded."""
    return []


@pytest.fixture
def query_ratio() -> float:
    """Share of queries that are recorded."""
    return NEVER


@pytest.fixture
def tracer(recorded, query_ratio) -> Callable[[str], Tracer]:
    """Tracers that record here."""
    return lambda service: Tracer(service, recorded.append, "sqlite", query_ratio=query_ratio)


def switch(request_id: str = "one") -> risk_pb2.SetKillSwitchRequest:
    return risk_pb2.SetKillSwitchRequest(
        request_id=request_id, broker="paper", state=common.TRADING_STATE_ACTIVE, reason="a test"
    )


async def test_a_command_continues_its_caller_s_trace(mesh, recorded) -> None:
    """Without a correlation id of its own a call takes the trace of its caller's span, and is under that span."""
    seen = []

    async def look(_request):
        seen.append((current_correlation_id.get(), current_span.get().context))
        return risk_pb2.SetKillSwitchResponse()

    mesh.risk.set_kill_switch = look
    call = mesh.set_kill_switch(switch(), metadata=(("traceparent", CALLER.traceparent),))
    await call
    (span,) = recorded
    assert (span.service, span.name, span.kind) == ("risk", SWITCH, Kind.SERVER)
    assert (span.context.trace_id, span.parent, span.links) == (CALLER.trace_id, CALLER, ())
    assert seen == [(ids.correlation_id(CALLER.trace_id), span.context)]
    assert dict(await call.trailing_metadata())["x-correlation-id"] == ids.correlation_id(CALLER.trace_id)
    assert span.attributes == {
        spans.RPC_SYSTEM: "grpc",
        spans.RPC_SERVICE: "panda.risk.v1.RiskService",
        spans.RPC_METHOD: "SetKillSwitch",
        spans.RPC_STATUS_CODE: 0,
        spans.CORRELATION_ID: ids.correlation_id(CALLER.trace_id),
    }


@pytest.mark.parametrize(
    ("traceparent", "parent", "links"),
    [
        (CALLER.traceparent, None, (CALLER,)),  # of another trace than the correlation id's
        ("", None, ()),
        ("00-" + 32 * "0" + "-00000000000000c1-01", None, ()),
        ("not one", None, ()),
    ],
)
async def test_a_correlation_id_is_the_trace_whatever_the_caller_traces(
    mesh, recorded, traceparent, parent, links
) -> None:
    """The trace id is the correlation id's; a span of another trace is linked, and what is none is ignored."""
    sent = str(uuid4())
    await mesh.set_kill_switch(
        switch(), metadata=(("x-correlation-id", sent), ("traceparent", traceparent or "-"))
    )
    (span,) = recorded
    assert (span.context.trace_id, span.parent, span.links) == (ids.trace_id(sent), parent, links)


async def test_a_caller_that_records_nothing_is_no_parent(mesh, recorded) -> None:
    """A span that is not recorded would be a parent that nobody finds; its trace goes on."""
    unsampled = f"00-{CALLER.trace_id}-{CALLER.span_id}-00"
    await mesh.set_kill_switch(switch(), metadata=(("traceparent", unsampled),))
    (span,) = recorded
    assert (span.context.trace_id, span.parent) == (CALLER.trace_id, None)


async def test_zeros_are_no_correlation_id(mesh, recorded) -> None:
    """The one UUID that is no trace id is replaced like anything that is none."""
    await mesh.set_kill_switch(switch(), metadata=(("x-correlation-id", str(UUID(int=0))),))
    (span,) = recorded
    assert int(span.context.trace_id, 16)


async def test_a_query_that_succeeds_is_not_recorded(mesh, recorded) -> None:
    """Of successful queries a share is recorded: none here, and nothing is under them."""
    seen = []

    async def look(_request):
        seen.append(current_span.get())
        return instruments_pb2.ListInstrumentsResponse()

    mesh.instruments.list = look
    await mesh.list_instruments(instruments_pb2.ListInstrumentsRequest())
    assert (recorded, seen) == ([], [None])


@pytest.mark.parametrize("query_ratio", [ALWAYS])
async def test_a_sampled_query_is_recorded(mesh, recorded) -> None:
    """At a ratio of one every query has its span."""
    await mesh.list_instruments(instruments_pb2.ListInstrumentsRequest())
    assert [span.name for span in recorded] == [LIST]


async def test_a_failure_is_always_recorded(mesh, recorded) -> None:
    """A query that fails has a span with its status and message, under the correlation id that its error names."""

    async def refuse(_request):
        raise InvalidInput("page_size", 7, "something else")

    mesh.instruments.list = refuse
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.list_instruments(instruments_pb2.ListInstrumentsRequest())
    (span,) = recorded
    assert span.attributes[spans.ERROR_TYPE] == "INVALID_ARGUMENT"
    assert span.attributes[spans.RPC_STATUS_CODE] == 3
    assert span.error == caught.value.details()
    told = dict(caught.value.trailing_metadata())["x-correlation-id"]
    assert ids.correlation_id(span.context.trace_id) == told


async def test_a_flood_of_failures_records_few(mesh, recorded) -> None:
    """Bad calls don't crowd out what matters: of a second's failures of one RPC fifty are recorded."""
    bad = instruments_pb2.ListInstrumentsRequest(page_size=5000)
    await asyncio.gather(*(mesh.list_instruments(bad) for _ in range(200)), return_exceptions=True)
    assert 50 <= len(recorded) <= 150


async def test_a_command_whose_caller_has_gone_has_its_span(mesh, recorded) -> None:
    """A caller that disconnects leaves a span behind, because what the command does is under it."""
    begun, go = asyncio.Event(), asyncio.Event()

    async def wait(_request):
        begun.set()
        await go.wait()
        return risk_pb2.SetKillSwitchResponse()

    mesh.risk.set_kill_switch = wait
    call = mesh.set_kill_switch(switch())
    async with asyncio.timeout(10):
        await begun.wait()
    call.cancel()
    for _ in range(500):
        if recorded:
            break
        await asyncio.sleep(0.01)
    go.set()
    assert recorded[0].attributes[spans.ERROR_TYPE] == "CANCELLED"


async def test_a_call_in_a_recorded_span_is_a_client_span(mesh, recorded) -> None:
    """A service's own call has a CLIENT span under the one it works in, and what it calls is under that."""
    outer = CurrentSpan(CALLER.trace_id, "00000000000000d1")
    channel = open_channel(
        mesh.target, ["panda.risk.v1.RiskService"], tracer=Tracer("trading", recorded.append)
    )
    current_correlation_id.set(ids.correlation_id(outer.trace_id))
    current_span.set(outer)
    async with channel:
        await risk_pb2_grpc.RiskServiceStub(channel).SetKillSwitch(switch())
    server, client = recorded
    assert (client.service, client.name, client.kind) == ("trading", SWITCH, Kind.CLIENT)
    assert (client.parent, client.context.trace_id) == (outer.context, CALLER.trace_id)
    assert (server.service, server.parent) == ("risk", client.context)
    assert client.start_ns <= server.start_ns <= server.end_ns <= client.end_ns


async def test_a_call_outside_of_recorded_spans_has_none(mesh, recorded) -> None:
    """What isn't recorded at the caller begins a trace at the server."""
    channel = open_channel(
        mesh.target, ["panda.risk.v1.RiskService"], tracer=Tracer("trading", recorded.append)
    )
    async with channel:
        await risk_pb2_grpc.RiskServiceStub(channel).SetKillSwitch(switch())
    assert [(span.kind, span.parent) for span in recorded] == [(Kind.SERVER, None)]
