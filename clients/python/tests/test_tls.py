"""Both clients against a server that speaks TLS and wants a token."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from alphapanda.commands.making_certs import make_certificates
from alphapanda_client import AsyncClient, Client, PlatformError
from alphapanda_client.connection import Connection
from panda.trading.v1 import trading_pb2 as trading
from panda.trading.v1.trading_pb2_grpc import TradingServiceServicer, add_TradingServiceServicer_to_server

ASKED = trading.GetOrderRequest(order_id="5884117c-7817-5858-8d94-c88aa63b9b97")


class Trading(TradingServiceServicer):
    """Answers who has the token."""

    def GetOrder(self, request: Any, context: Any) -> trading.GetOrderResponse:
        if ("authorization", "Bearer let-me-in") not in context.invocation_metadata():
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "this call needs an access token")
        return trading.GetOrderResponse(order=trading.Order(symbol="NSE:INFY"))

    def WatchOrders(self, request: Any, context: Any) -> Iterator[trading.WatchOrdersResponse]:
        yield trading.WatchOrdersResponse(revision=1)
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Path:
    """An authority, made now, and a certificate of this machine."""
    folder = tmp_path_factory.mktemp("certs")
    make_certificates(folder, 1, ())
    return folder


@pytest.fixture(scope="module")
def target(certificates: Path) -> Iterator[str]:
    pair = ((certificates / "server.key").read_bytes(), (certificates / "server.pem").read_bytes())
    server = grpc.server(ThreadPoolExecutor(2))
    add_TradingServiceServicer_to_server(Trading(), server)
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials((pair,)))
    server.start()
    yield f"localhost:{port}"
    server.stop(None)


@pytest.fixture
def desk(target: str, certificates: Path, tmp_path: Path) -> Connection:
    file = tmp_path / "token"
    file.write_text("let-me-in\n")
    return Connection(target, ca=certificates / "ca.pem", token_file=file)


async def test_who_has_the_token_is_answered_over_tls(desk: Connection) -> None:
    """Both clients trust the authority's file and send the token's."""
    with Client(desk) as client:
        client.ready()
        assert client.trading.GetOrder(ASKED).order.symbol == "NSE:INFY"
    async with AsyncClient(desk) as client:
        await client.ready()
        assert (await client.trading.GetOrder(ASKED)).order.symbol == "NSE:INFY"


async def test_who_has_none_is_refused(target: str, certificates: Path) -> None:
    """Without a token it is the server's refusal, told as PlatformError."""
    bare = Connection(target, ca=certificates / "ca.pem")
    with Client(bare) as client, pytest.raises(PlatformError, match="UNAUTHENTICATED: this call needs"):
        client.trading.GetOrder(ASKED)
    async with AsyncClient(bare) as client:
        with pytest.raises(PlatformError, match="UNAUTHENTICATED: this call needs"):
            await client.trading.GetOrder(ASKED)


def test_a_server_of_another_authority_gets_no_token(target: str, desk: Connection, tmp_path: Path) -> None:
    """The handshake fails before anything is sent; to connect beforehand is no error, the call tells of it."""
    make_certificates(tmp_path / "other", 1, ())
    other = Connection(target, ca=tmp_path / "other" / "ca.pem", token="let-me-in")
    with Client(other) as client:
        client.ready()
        with pytest.raises(PlatformError, match="UNAVAILABLE"):
            client.trading.GetOrder(ASKED)


async def test_a_stream_that_breaks_raises_the_platforms_error(desk: Connection) -> None:
    """Streams that are read without a watch tell errors as calls do."""
    with Client(desk) as client:
        stream = client.trading.WatchOrders(trading.WatchOrdersRequest())
        assert next(stream).revision == 1
        with pytest.raises(PlatformError, match="PERMISSION_DENIED: no"):
            next(stream)
    async with AsyncClient(desk) as client:
        with pytest.raises(PlatformError, match="PERMISSION_DENIED: no"):
            async for _ in client.trading.WatchOrders(trading.WatchOrdersRequest()):
                pass
