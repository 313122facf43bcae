"""Requests that can't be used, through the front door: each one status that names field, value and what is allowed."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor

from alphapanda.mesh.status import call_failure
from panda.common.v1.common_pb2 import SIDE_BUY, Side
from panda.instruments.v1 import instruments_pb2
from panda.marketdata.v1 import marketdata_pb2
from panda.ops.v1 import ops_pb2
from panda.portfolio.v1 import portfolio_pb2
from panda.risk.v1 import risk_pb2
from panda.strategy.v1 import strategy_pb2
from panda.trading.v1 import trading_pb2

CONTRACTS = (
    instruments_pb2,
    marketdata_pb2,
    ops_pb2,
    portfolio_pb2,
    risk_pb2,
    strategy_pb2,
    trading_pb2,
)
PAGED = [
    method
    for contract in CONTRACTS
    for service in contract.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    if "page_token" in method.input_type.fields_by_name
]
STRATEGY = {
    "request_id": "c",
    "strategy_id": "one",
    "strategy_type": "ema_cross",
    "symbols": ["NSE:INFY"],
    "quantity": 1,
    "parameters": {"fast": "3", "slow": "6"},
}
ORDER = {"request_id": "o", "symbol": "NSE:INFY", "side": SIDE_BUY, "quantity": 1}


def refusal(channel: grpc.Channel, method: MethodDescriptor, **body) -> str:
    """What a call is refused with; it has to be INVALID_ARGUMENT."""
    request = message_factory.GetMessageClass(method.input_type)
    answer = message_factory.GetMessageClass(method.output_type)
    call = channel.unary_unary(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=request.SerializeToString,
        response_deserializer=answer.FromString,
    )
    with pytest.raises(grpc.RpcError) as refused:
        call(request(**body), timeout=10)
    failure = call_failure(refused.value)
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT, failure
    return failure.message


def rpc(contract, service: str, name: str) -> MethodDescriptor:
    return contract.DESCRIPTOR.services_by_name[service].methods_by_name[name]


@pytest.mark.parametrize("method", PAGED, ids=lambda method: method.name)
def test_a_page_token_of_nobody(platform, method):
    """Every list refuses a page token that it didn't make, by its name and value."""
    named = {
        name: "NSE:INFY" if name == "symbol" else "INFY"
        for name in ("query", "request_id", "strategy_id", "symbol")
        if name in method.input_type.fields_by_name
    }
    if method.name == "RedriveDeadLetters":
        named["filter"] = {"group": "trading"}  # pages are made of what it finds, not of ids
    if method.name == "ListHistoricalBars":
        named |= {"interval": "1m", "first_day": "2026-01-01", "last_day": "2026-01-02"}
    said = refusal(platform.channel, method, page_token="made up", **named)
    assert said.startswith("page_token: 'made up' is not allowed; next_page_token of an answer")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (
            {"strategy_type": "ema_crss"},
            "strategy_type: 'ema_crss' is not allowed; did you mean 'ema_cross'? allowed: ",
        ),
        (
            {"parameters": {"fsat": "3", "slow": "6"}},
            "parameters: 'fsat' is not allowed; did you mean 'fast'? allowed: fast, interval, slow",
        ),
        (
            {"parameters": {"fast": "1.2.3", "slow": "6"}},
            "parameters.fast: '1.2.3' is not allowed; allowed: a whole number at least 1",
        ),
        (
            {"parameters": {"fast": "NaN", "slow": "6"}},
            "parameters.fast: 'NaN' is not allowed; allowed: a whole number at least 1",
        ),
        (
            {"parameters": {"fast": "9", "slow": "6"}},
            "parameters.fast: '9' is not allowed; less than slow, which is 6",
        ),
        (
            {"symbols": ["NSE:INFI"]},
            "symbols[0]: 'NSE:INFI' is not allowed; did you mean 'NSE:INFY'? If there is such an instrument, ",
        ),
        ({"quantity": -1}, "quantity: -1 is not allowed; must be greater than 0"),
    ],
)
def test_a_strategy_that_cannot_be(platform, changed, says):
    """Unknown type, unknown parameter, a number that is none, a pair that disagrees, an unknown symbol: told, not made."""
    create = rpc(strategy_pb2, "StrategyService", "CreateStrategy")
    assert refusal(platform.channel, create, **STRATEGY | changed).startswith(says)
    assert not platform.strategies.ListStrategies(strategy_pb2.ListStrategiesRequest()).strategies


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (
            {"symbol": "NSE:INFI"},
            "symbol: 'NSE:INFI' is not allowed; did you mean 'NSE:INFY'? If there is such an instrument, ",
        ),
        ({"quantity": 0}, "quantity: 0 is not allowed; must be greater than 0"),
        ({"side": Side.SIDE_UNSPECIFIED}, "side: "),
        ({"request_id": ""}, "request_id: "),
        ({"broker": "papr"}, "broker: 'papr' is not allowed; did you mean 'paper'?"),
    ],
)
def test_an_order_that_cannot_be(platform, changed, says):
    """A wrong symbol, quantity, side, broker or no request_id is told, and there is no order."""
    place = rpc(trading_pb2, "TradingService", "PlaceOrder")
    assert refusal(platform.channel, place, **ORDER | changed).startswith(says)
    assert not platform.trading.ListOrders(trading_pb2.ListOrdersRequest()).orders


def test_a_service_nobody_knows(platform):
    """A service's name that is none is told with the nearest."""
    said = refusal(platform.channel, rpc(ops_pb2, "OpsService", "GetStatus"), service="risc")
    assert said.startswith("service: 'risc' is not allowed; did you mean 'risk'?")
