"""How long a watch may take until it says something, and how many may be open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
import structlog

from alphapanda.contract.method_policy import MethodPolicy
from alphapanda.mesh.bounds import CallBounds
from alphapanda.mesh.deadlines import watch_established
from alphapanda.mesh.effects import Effects
from alphapanda.mesh.gate import Gate
from alphapanda.mesh.guard import Guard
from alphapanda.mesh.status import call_failure
from panda.marketdata.v1 import marketdata_pb2 as pb
from panda.options.v1.options_pb2 import PERMISSION_READ

METHOD = "/panda.marketdata.v1.MarketDataService/WatchQuotes"
PATIENCE = 0.05
MOST = 2


@asynccontextmanager
async def watched(behaviour: Callable[[Any, Any], AsyncIterator[pb.WatchQuotesResponse]]):
    """An RPC with this behaviour behind a guard with little patience."""
    log = structlog.get_logger()
    handler = grpc.unary_stream_rpc_method_handler(behaviour, pb.WatchQuotesRequest.FromString)
    policy = MethodPolicy(METHOD, PERMISSION_READ, is_command=False, default_deadline=PATIENCE)
    gate = Gate(CallBounds(max_watches_per_connection=MOST), log)
    guard = Guard(policy, handler, Effects(log), log, log, slow_call_seconds=1, gate=gate)
    service, _, name = METHOD.removeprefix("/").partition("/")
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: guard.handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel.unary_stream(METHOD, response_deserializer=pb.WatchQuotesResponse.FromString)
    await server.stop(None)


async def late(_request, _context) -> AsyncIterator[pb.WatchQuotesResponse]:
    await asyncio.sleep(10 * PATIENCE)
    yield pb.WatchQuotesResponse(snapshot=True)


async def quiet(_request, _context) -> AsyncIterator[pb.WatchQuotesResponse]:
    watch_established()
    await asyncio.sleep(10 * PATIENCE)
    yield pb.WatchQuotesResponse(snapshot=True)


async def endless(_request, _context) -> AsyncIterator[pb.WatchQuotesResponse]:
    yield pb.WatchQuotesResponse(snapshot=True)
    await asyncio.Event().wait()


async def test_a_watch_that_says_nothing_is_ended() -> None:
    """Nobody waits for ever for a watch that hangs before it is at work."""
    async with watched(late) as watch:
        with pytest.raises(grpc.aio.AioRpcError, match="no first message within"):
            await watch(b"").read()


async def test_a_watch_that_stands_may_be_quiet() -> None:
    """One that is at work and has nothing to tell is left alone, however long that lasts."""
    async with watched(quiet) as watch:
        assert (await watch(b"").read()).snapshot


async def test_watches_without_end_are_refused() -> None:
    """As many as may be open stay open; the next is told so, and gets in once another has left."""
    async with watched(endless) as watch:
        first, second = watch(b""), watch(b"")
        assert (await first.read()).snapshot
        assert (await second.read()).snapshot
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await watch(b"").read()
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        failure = call_failure(refused.value)
        assert (failure.reason, failure.retry_after) == ("TOO_MANY_WATCHES", 1)
        first.cancel()
        async with asyncio.timeout(20):
            while not await opened(watch):  # noqa: ASYNC110 - the server says nothing when a call has ended
                await asyncio.sleep(0.01)
        assert not second.done()


async def opened(watch: Any) -> bool:
    """Whether one more could be opened."""
    try:
        return bool((await watch(b"").read()).snapshot)
    except grpc.aio.AioRpcError:
        return False
