"""The synchronous client."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar, cast

import grpc
from google.protobuf.message import Message as ContractMessage

from alphapanda_client import services
from alphapanda_client.calling import Stream, StreamCall
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
Asked = TypeVar("Asked", bound=ContractMessage)
Seen = TypeVar("Seen", bound=ContractMessage)


class Client:
    """The platform's services over one connection, which is made at the first call; close it in the end.

    A call that fails raises PlatformError. `timeout=` in seconds takes the place of the contract's deadline.

    Args:
        connection: the platform, or its target on this machine.
        channel: a channel to use in place of a new one (tests); it is closed with the client.
        sleep: waits before a broken watch is opened again.
    """

    def __init__(
        self,
        connection: Connection | str,
        channel: grpc.Channel | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.connection = Connection(connection) if isinstance(connection, str) else connection
        self._channel = channel or _open(self.connection)
        self._sleep = sleep
        # The generated stubs are typed for grpc.aio, so what they say of an answer isn't true here.
        calls: Any = _Calls(self._channel, self.connection)
        self.auth = cast("services.AuthService", AuthServiceStub(calls))
        self.broker_sessions = cast("services.BrokerSessionService", BrokerSessionServiceStub(calls))
        self.instruments = cast("services.InstrumentService", InstrumentServiceStub(calls))
        self.market_data = cast("services.MarketDataService", MarketDataServiceStub(calls))
        self.ops = cast("services.OpsService", OpsServiceStub(calls))
        self.portfolio = cast("services.PortfolioService", PortfolioServiceStub(calls))
        self.risk = cast("services.RiskService", RiskServiceStub(calls))
        self.strategies = cast("services.StrategyService", StrategyServiceStub(calls))
        self.trading = cast("services.TradingService", TradingServiceStub(calls))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; watches end."""
        self._channel.close()

    def ready(self, timeout: float = CONNECT_SECONDS) -> None:
        """Connects, so that no call's deadline is spent on it; the first call tells why an attempt failed.

        Args:
            timeout: seconds to wait for a first attempt to end.
        """
        ended = threading.Event()

        def seen(state: grpc.ChannelConnectivity) -> None:
            if state not in {grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.CONNECTING}:
                ended.set()

        self._channel.subscribe(seen, try_to_connect=True)
        ended.wait(timeout)
        self._channel.unsubscribe(seen)

    def call(
        self, method: str, request: Any, answer: Callable[[bytes], Message], timeout: float | None = None
    ) -> Message:
        """Calls an RPC by its name, "/package.Service/Method".

        Raises:
            PlatformError: it was refused or failed.
        """
        calls = _Calls(self._channel, self.connection)
        rpc = calls.unary_unary(method, type(request).SerializeToString, answer)
        made: Message = rpc(request, timeout)
        return made

    def watch_orders(
        self, request: WatchOrdersRequest, timeout: float | None = None
    ) -> Iterator[WatchOrdersResponse]:
        """Orders as they change, each change once; it goes on from its revision after a break.

        Raises:
            PlatformError: a further attempt doesn't mend it, or `timeout` seconds are over.
        """
        return self._watch(self.trading.WatchOrders, request, timeout)

    def watch_portfolio(
        self, request: WatchPortfolioRequest, timeout: float | None = None
    ) -> Iterator[WatchPortfolioResponse]:
        """The books as they change; it goes on from its revision after a break.

        Raises:
            PlatformError: a further attempt doesn't mend it, or `timeout` seconds are over.
        """
        return self._watch(self.portfolio.WatchPortfolio, request, timeout)

    def watch_quotes(
        self, request: WatchQuotesRequest, timeout: float | None = None
    ) -> Iterator[WatchQuotesResponse]:
        """Prices as they change; after a break it begins again with a snapshot.

        Raises:
            PlatformError: a further attempt doesn't mend it, or `timeout` seconds are over.
        """
        return self._watch(self.market_data.WatchQuotes, request, timeout)

    def _watch(self, rpc: StreamCall[Asked, Seen], request: Asked, timeout: float | None) -> Iterator[Seen]:
        progress = Progress(request, timeout)
        while True:
            stream = rpc(progress.request, progress.left)
            broken = None
            try:
                for message in stream:
                    progress.saw(message)
                    yield message
            except PlatformError as error:
                broken = error
            finally:
                stream.cancel()
            self._sleep(progress.broke(broken))


def _open(connection: Connection) -> grpc.Channel:
    if connection.secure:
        return grpc.secure_channel(connection.target, connection.credentials(), connection.options)
    return grpc.insecure_channel(connection.target, connection.options)


class _Calls:
    """Passed to the generated stubs in place of a channel: gives each call deadline, request id and token."""

    def __init__(self, channel: grpc.Channel, connection: Connection) -> None:
        self._channel = channel
        self._connection = connection

    def unary_unary(self, method: str, request_serializer: Any, response_deserializer: Any, **_: Any) -> Any:
        """An RPC with one answer."""
        rpc = self._channel.unary_unary(method, request_serializer, response_deserializer)

        def call(request: Any, timeout: float | None = None, metadata: Any = ()) -> Any:
            seconds = default_deadline(method) if timeout is None else timeout
            try:
                return rpc(named(request), seconds, (*metadata, *self._connection.metadata()))
            except grpc.RpcError as error:
                raise platform_error(error) from None

        return call

    def unary_stream(self, method: str, request_serializer: Any, response_deserializer: Any, **_: Any) -> Any:
        """A watch, without a deadline where its caller names none."""
        rpc = self._channel.unary_stream(method, request_serializer, response_deserializer)

        def call(request: Any, timeout: float | None = None, metadata: Any = ()) -> Any:
            return Stream(rpc(request, timeout, (*metadata, *self._connection.metadata())))

        return call
