"""Remembers a channel's last request, so that an error can say how to send it again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import Message
from typing_extensions import override


class LastCall(grpc.aio.UnaryUnaryClientInterceptor):
    """The last request of the channels that have this interceptor.

    Attributes:
        method: its RPC, "/package.Service/Method"; empty before the first.
        request: the request; None before the first.
    """

    def __init__(self) -> None:
        self.method = ""
        self.request: Message | None = None

    @override
    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        method: str | bytes = client_call_details.method  # the stubs say str, the library hands over bytes
        self.method = method.decode() if isinstance(method, bytes) else method
        self.request = request
        return await continuation(client_call_details, request)
