"""The asynchronous client against a server in the same loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from alphapanda_client import AsyncClient, PlatformError
from panda.trading.v1 import trading_pb2 as trading
from panda.trading.v1.trading_pb2_grpc import TradingServiceServicer, add_TradingServiceServicer_to_server


class Trading(TradingServiceServicer):
    """Breaks each watch after a message; refuses to square off."""

    def __init__(self) -> None:
        self.watched: list[int] = []
        self.placed: list[str] = []
        self.token: list[Any] = []

    async def PlaceOrder(self, request, context):
        self.placed.append(request.request_id)
        self.token = [value for key, value in context.invocation_metadata() if key == "authorization"]
        assert 9 < context.time_remaining() <= 10
        return trading.PlaceOrderResponse()

    async def SquareOff(self, request, context):
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")

    async def WatchOrders(self, request, context):
        self.watched.append(request.after_revision)
        yield trading.WatchOrdersResponse(revision=request.after_revision + 1)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "stopping")


@pytest.fixture
async def served() -> AsyncIterator[tuple[Trading, str]]:
    server, servicer = grpc.aio.server(), Trading()
    add_TradingServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield servicer, f"127.0.0.1:{port}"
    await server.stop(None)


async def test_calls_have_deadline_id_and_token_and_watches_go_on(served) -> None:
    """The same promises as the synchronous client's."""
    servicer, target = served
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async with AsyncClient(target, sleep=sleep) as client:
        await client.trading.PlaceOrder(trading.PlaceOrderRequest())
        with pytest.raises(PlatformError, match="PERMISSION_DENIED: no"):
            await client.trading.SquareOff(trading.SquareOffRequest())
        revisions = []
        async for message in client.watch_orders(trading.WatchOrdersRequest()):
            revisions.append(message.revision)
            if len(revisions) == 3:
                break
    assert len(servicer.placed[0]) == 36
    assert (revisions, servicer.watched, waits) == ([1, 2, 3], [0, 1, 2], [0.1, 0.1])
