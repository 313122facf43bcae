"""What the contract's options say of each RPC: deadlines, what may be repeated; and request ids."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any
from uuid import uuid4

from google.protobuf.message import Message

from panda.auth.v1 import auth_pb2, broker_session_pb2
from panda.instruments.v1 import instruments_pb2
from panda.marketdata.v1 import marketdata_pb2
from panda.ops.v1 import ops_pb2
from panda.options.v1 import options_pb2 as options
from panda.portfolio.v1 import portfolio_pb2
from panda.risk.v1 import risk_pb2
from panda.strategy.v1 import strategy_pb2
from panda.trading.v1 import trading_pb2

FILES = (
    auth_pb2,
    broker_session_pb2,
    instruments_pb2,
    marketdata_pb2,
    ops_pb2,
    portfolio_pb2,
    risk_pb2,
    strategy_pb2,
    trading_pb2,
)
RETRY_POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
}


def new_request_id() -> str:
    """The id of a new command. Send a command again with its first id and it has one effect."""
    return str(uuid4())


@cache
def policies() -> Mapping[str, options.MethodPolicy]:
    """The options of each RPC by "/package.Service/Method"."""
    return {
        f"/{service.full_name}/{method.name}": method.GetOptions().Extensions[options.method]
        for file in FILES
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }


def default_deadline(method: str) -> float | None:
    """Seconds that a call may take where its caller names none; None for an RPC that isn't the contract's."""
    policy = policies().get(method)
    return policy.default_deadline_ms / 1000 if policy else None


@cache
def service_config() -> str:
    """The service config of gRPC (JSON): a name's addresses take turns, and what the contract permits is repeated."""
    names = [
        {"service": method.split("/")[1], "method": method.split("/")[2]}
        for method, policy in policies().items()
        if policy.retry != options.RETRY_UNSPECIFIED
    ]
    return json.dumps(
        {
            "loadBalancingConfig": [{"round_robin": {}}],
            "methodConfig": [{"name": names, "retryPolicy": RETRY_POLICY}],
        }
    )


def named(request: Any) -> Any:
    """The request itself, or a copy with a new request_id where it has that field and none is set."""
    if not isinstance(request, Message) or "request_id" not in request.DESCRIPTOR.fields_by_name:
        return request
    if getattr(request, "request_id"):  # noqa: B009  # which message it is, only the field says
        return request
    copy = type(request)()
    copy.CopyFrom(request)
    setattr(copy, "request_id", new_request_id())  # noqa: B010
    return copy
