"""The synchronous client on grpcio-testing's channel: what is sent, what is told, what happens after a break."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import grpc_testing
import pytest
from google.protobuf.any_pb2 import Any as Packed
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2

from alphapanda.contract.catalogue import service_descriptors
from alphapanda_client import Client, PlatformError, to_decimal, to_rupees
from alphapanda_client.connection import Connection
from alphapanda_client.policy import FILES, default_deadline, policies, service_config
from alphapanda_client.watching import Progress
from panda.common.v1.common_pb2 import SIDE_BUY, Money
from panda.portfolio.v1 import portfolio_pb2 as portfolio
from panda.trading.v1 import trading_pb2 as trading

SERVICES = [service for file in FILES for service in file.DESCRIPTOR.services_by_name.values()]
TRADING = trading.DESCRIPTOR.services_by_name["TradingService"].methods_by_name
ORDER = trading.PlaceOrderRequest(symbol="NSE:INFY", side=SIDE_BUY, quantity=10)


@pytest.fixture
def channel() -> grpc_testing.Channel:
    clock = grpc_testing.strict_real_time()
    return grpc_testing.channel(SERVICES, clock)


@pytest.fixture
def threads():
    with ThreadPoolExecutor(1) as one:
        yield one


def refusal(*told: Any) -> tuple[tuple[str, bytes], ...]:
    packed = []
    for one in told:
        packed.append(Packed())
        packed[-1].Pack(one)
    return (("grpc-status-details-bin", status_pb2.Status(code=3, details=packed).SerializeToString()),)


def test_a_command_is_given_a_request_id_and_a_token(channel, threads, tmp_path: Path) -> None:
    """A request without an id is sent with one, and isn't changed itself; the token's file is read at each call."""
    file = tmp_path / "token"
    client = Client(Connection("127.0.0.1:1", token_file=file), channel)
    sent = []
    for token in ("first", "second"):
        file.write_text(f"{token}\n")
        answer = threads.submit(client.trading.PlaceOrder, ORDER)
        metadata, request, call = channel.take_unary_unary(TRADING["PlaceOrder"])
        assert ("authorization", f"Bearer {token}") in metadata
        sent.append(request.request_id)
        call.terminate(trading.PlaceOrderResponse(), (), grpc.StatusCode.OK, "")
        assert answer.result(10) == trading.PlaceOrderResponse()
    assert len({*sent, ""}) == 3
    assert ORDER.request_id == ""


def test_an_id_of_the_callers_stays(channel, threads) -> None:
    """A request_id that the caller gives is sent as it is, so that a command can be sent again."""
    own = trading.PlaceOrderRequest(request_id="mine", symbol="NSE:INFY")
    answer = threads.submit(Client("127.0.0.1:1", channel).trading.PlaceOrder, own)
    _, request, call = channel.take_unary_unary(TRADING["PlaceOrder"])
    assert request == own
    call.terminate(trading.PlaceOrderResponse(), (), grpc.StatusCode.OK, "")
    answer.result(10)


def test_an_error_has_its_reason_fields_and_wait(channel, threads) -> None:
    """What the platform tells in the status's details is in the exception."""
    answer = threads.submit(Client("127.0.0.1:1", channel).trading.PlaceOrder, ORDER)
    _, _, call = channel.take_unary_unary(TRADING["PlaceOrder"])
    wait = details.RetryInfo()
    wait.retry_delay.seconds = 2
    broken = details.BadRequest.FieldViolation(field="quantity", description="must be greater than 0")
    told = refusal(
        details.ErrorInfo(reason="VALIDATION", metadata={"broker": "paper"}),
        details.BadRequest(field_violations=[broken]),
        wait,
    )
    call.terminate(None, told, grpc.StatusCode.INVALID_ARGUMENT, "quantity: 0 is not allowed")
    with pytest.raises(PlatformError, match="VALIDATION") as caught:
        answer.result(10)
    error = caught.value
    assert (error.reason, error.about, error.retry_after) == ("VALIDATION", {"broker": "paper"}, 2)
    assert error.fields == {"quantity": "must be greater than 0"}


def test_a_watch_goes_on_from_its_revision(channel, threads) -> None:
    """After a break the next stream asks for what comes behind the last revision seen, once the wait is over."""
    waits: list[float] = []
    client = Client("127.0.0.1:1", channel, sleep=waits.append)
    watch = client.watch_orders(trading.WatchOrdersRequest(broker="paper"))
    got = threads.submit(next, watch)
    _, first, stream = channel.take_unary_stream(TRADING["WatchOrders"])
    stream.send_response(trading.WatchOrdersResponse(revision=7))
    assert got.result(10).revision == 7
    stream.terminate((), grpc.StatusCode.UNAVAILABLE, "away")
    got = threads.submit(next, watch)
    _, second, stream = channel.take_unary_stream(TRADING["WatchOrders"])
    stream.send_response(trading.WatchOrdersResponse(revision=8))
    assert got.result(10).revision == 8
    assert (first.after_revision, second.after_revision, waits) == (0, 7, [0.1])


def test_a_watch_ends_with_what_time_does_not_mend() -> None:
    """A gone revision begins anew, an absent server is waited for longer each time, a refusal ends the watch."""
    progress = Progress(portfolio.WatchPortfolioRequest())
    progress.saw(portfolio.WatchPortfolioResponse(revision=5))
    assert progress.request.after_revision == 5
    assert progress.broke(PlatformError(grpc.StatusCode.UNAVAILABLE, "", retry_after=3)) == 3
    assert [progress.broke(None) for _ in range(6)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5]
    progress.broke(PlatformError(grpc.StatusCode.OUT_OF_RANGE, ""))
    assert progress.request.after_revision == 0
    with pytest.raises(PlatformError, match="PERMISSION_DENIED"):
        progress.broke(PlatformError(grpc.StatusCode.PERMISSION_DENIED, "no"))


def test_a_watch_with_a_limit_ends_at_it() -> None:
    """What is left of the time limits each stream and each wait; then the watch ends, even if a server only stopped."""
    clock = [100.0]
    progress = Progress(portfolio.WatchPortfolioRequest(), 1.0, lambda: clock[0])
    clock[0] += 0.95
    assert (progress.left, progress.broke(None)) == (pytest.approx(0.05), pytest.approx(0.05))
    clock[0] += 0.1
    assert progress.left == 0
    with pytest.raises(PlatformError, match="DEADLINE_EXCEEDED"):
        progress.broke(None)


def test_deadlines_and_repeats_are_the_contracts() -> None:
    """Every RPC of the contract has its default deadline, and all that may be repeated are in the service config."""
    assert {one.full_name for one in SERVICES} == {one.full_name for one in service_descriptors()}
    assert len(policies()) == sum(len(service.methods) for service in SERVICES)
    assert default_deadline("/panda.trading.v1.TradingService/PlaceOrder") == 10
    assert default_deadline("/grpc.health.v1.Health/Check") is None
    assert '"method": "PlaceOrder"' in service_config()


def test_a_token_never_leaves_the_machine_in_plain_text() -> None:
    """Another machine without TLS is refused before anything is sent; so are two tokens."""
    for target in ("10.0.0.7:50051", "desk.example:50051", "dns:///desk.example:443"):
        with pytest.raises(ValueError, match="another machine"):
            Connection(target)
        assert Connection(target, tls=True).secure
    for target in ("127.0.0.1:1", "localhost:1", "[::1]:1"):
        assert not Connection(target).secure
    with pytest.raises(ValueError, match="not both"):
        Connection("localhost:1", token="a", token_file="b")


def test_decimals_are_exact_and_absent_is_unknown() -> None:
    """No float is between the contract's text and the Decimal; an absent amount is an error."""
    cash = Money(currency_code="INR")
    with pytest.raises(ValueError, match="isn't known"):
        to_rupees(cash)
    cash.amount.value = "1015369.10"
    assert to_rupees(cash) == Decimal("1015369.10")
    with pytest.raises(ValueError, match="isn't known"):
        to_decimal(type(cash.amount)())
    cash.currency_code = "USD"
    with pytest.raises(ValueError, match="USD"):
        to_rupees(cash)
