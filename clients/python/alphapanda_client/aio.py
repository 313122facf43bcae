"""The asynchronous client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Self, TypeVar

import grpc

from alphapanda_client.connection import CONNECT_SECONDS, Connection
from alphapanda_client.errors import PlatformError, platform_error
from alphapanda_client.policy import default_deadline, named
from alphapanda_client.watching import Progress
from panda.auth.v1.auth_pb2_grpc import AuthServiceStub
from panda.auth.v1.broker_session_pb2_grpc import BrokerSessionServiceStub
from panda.instruments.v1.instruments_pb2_grpc import InstrumentServiceStub
from panda.marketdata.v1.marketdata_pb2 import WatchQuotesRequest, WatchQuotesResponse
from panda.marketdata.v1.marketdata_pb2_grpc import MarketDataServiceStub
from panda.ops.v1.ops_pb2_grpc import OpsServiceStub
from panda.portfolio.v1.portfolio_pb2 import WatchPortfolioRequest, WatchPortfolioResponse
from panda.portfolio.v1.portfolio_pb2_grpc import PortfolioServiceStub
from panda.risk.v1.risk_pb2_grpc import RiskServiceStub
from panda.strategy.v1.strategy_pb2_grpc import StrategyServiceStub
from panda.trading.v1.trading_pb2 import WatchOrdersRequest, WatchOrdersResponse
from panda.trading.v1.trading_pb2_grpc import TradingServiceStub

Message = TypeVar("Message")


class AsyncClient:
    """The platform's services over one connection, which is made at the first call; close it in the end.

    A call that fails raises PlatformError. `timeout=` in seconds takes the place of the contract's deadline. Make it
    within the event loop that uses it.

    Args:
        connection: the platform, or its target on this machine.
        channel: a channel to use in place of a new one (tests); it is closed with the client.
        sleep: waits before a broken watch is opened again.
    """

    def __init__(
        self,
        connection: Connection | str,
        channel: grpc.aio.Channel | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.connection = Connection(connection) if isinstance(connection, str) else connection
        self._channel = channel or _open(self.connection)
        self._sleep = sleep
        calls: Any = _Calls(self._channel, self.connection)
        self.auth = AuthServiceStub(calls)
        self.broker_sessions = BrokerSessionServiceStub(calls)
        self.instruments = InstrumentServiceStub(calls)
        self.market_data = MarketDataServiceStub(calls)
        self.ops = OpsServiceStub(calls)
        self.portfolio = PortfolioServiceStub(calls)
        self.risk = RiskServiceStub(calls)
        self.strategies = StrategyServiceStub(calls)
        self.trading = TradingServiceStub(calls)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection; watches end."""
        await self._channel.close()

    async def ready(self, timeout: float = CONNECT_SECONDS) -> None:
        """Connects, so that no call's deadline is spent on it; the first call tells why an attempt failed.

        Args:
            timeout: seconds to wait for a first attempt to end.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                state = self._channel.get_state(try_to_connect=True)
                while state in {grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.CONNECTING}:
                    await self._channel.wait_for_state_change(state)
                    state = self._channel.get_state()

    async def call(
        self, method: str, request: Any, answer: Callable[[bytes], Message], timeout: float | None = None
    ) -> Message:
        """Calls an RPC by its name, "/package.Service/Method".

        Raises:
            PlatformError: it was refused or failed.
        """
        calls = _Calls(self._channel, self.connection)
        rpc = calls.unary_unary(method, type(request).SerializeToString, answer)
        made: Message = await rpc(request, timeout)
        return made

    def watch_orders(
        self, request: WatchOrdersRequest, timeout: float | None = None
    ) -> AsyncIterator[WatchOrdersResponse]:
        """Orders as they change, each change once; it goes on from its revision after a break.

        Raises:
            PlatformError: a further attempt doesn't mend it, or `timeout` seconds are over.
        """
        return self._watch(self.trading.WatchOrders, request, timeout)

    def watch_portfolio(
        self, request: WatchPortfolioRequest, timeout: float | None = None
    ) -> AsyncIterator[WatchPortfolioResponse]:
        """The books as they change; it goes on from its revision after a break.

        Raises:
            PlatformError: a further attempt doesn't mend it, or `timeout` seconds are over.
        """
        return self._watch(self.portfolio.WatchPortfolio, request, timeout)

    def watch_quotes(
        self, request: WatchQuotesRequest, timeout: float | None = None
    ) -> AsyncIterator[WatchQuotesResponse]:
        """Prices as they change; after a break it begins again with a snapshot.

        Raises:
            PlatformError: a further attempt doesn't mend it, or `timeout` seconds are over.
        """
        return self._watch(self.market_data.WatchQuotes, request, timeout)

    async def _watch(self, rpc: Any, request: Any, timeout: float | None) -> AsyncIterator[Any]:
        progress = Progress(request, timeout)
        while True:
            stream = rpc(progress.request, progress.left)
            broken = None
            try:
                async for message in stream:
                    progress.saw(message)
                    yield message
            except PlatformError as error:
                broken = error
            finally:
                stream.cancel()
            await self._sleep(progress.broke(broken))


def _open(connection: Connection) -> grpc.aio.Channel:
    if connection.secure:
        return grpc.aio.secure_channel(connection.target, connection.credentials(), connection.options)
    return grpc.aio.insecure_channel(connection.target, connection.options)


class _Stream:
    """Answers as they come; errors of gRPC are told as PlatformError."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            async for answer in self._call:
                yield answer
        except grpc.aio.AioRpcError as error:
            raise platform_error(error) from None

    def cancel(self) -> None:
        """Ends the stream."""
        self._call.cancel()


class _Calls:
    """Passed to the generated stubs in place of a channel: gives each call deadline, request id and token."""

    def __init__(self, channel: grpc.aio.Channel, connection: Connection) -> None:
        self._channel = channel
        self._connection = connection

    def unary_unary(self, method: str, request_serializer: Any, response_deserializer: Any, **_: Any) -> Any:
        """An RPC with one answer; it begins when it is awaited."""

        async def call(request: Any, timeout: float | None = None, metadata: Any = ()) -> Any:
            rpc: Any = self._channel.unary_unary(method, request_serializer, response_deserializer)
            seconds = default_deadline(method) if timeout is None else timeout
            told = (*metadata, *self._connection.metadata())
            try:
                return await rpc(named(request), timeout=seconds, metadata=told)
            except grpc.aio.AioRpcError as error:
                raise platform_error(error) from None

        return call

    def unary_stream(self, method: str, request_serializer: Any, response_deserializer: Any, **_: Any) -> Any:
        """A watch, without a deadline where its caller names none."""

        def call(request: Any, timeout: float | None = None, metadata: Any = ()) -> Any:
            rpc: Any = self._channel.unary_stream(method, request_serializer, response_deserializer)
            return _Stream(rpc(request, timeout=timeout, metadata=(*metadata, *self._connection.metadata())))

        return call
