"""Bounds the RPCs that aren't the contract's: health and reflection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final, TypeAlias, cast

import grpc

from alphapanda.mesh.abort import Context
from alphapanda.mesh.access import Access
from alphapanda.mesh.admission import CallKind, Ticket
from alphapanda.mesh.errors import PermissionDenied, TooMany, Unauthenticated
from alphapanda.mesh.gate import Gate

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
HEALTH_CHECK: Final = "/grpc.health.v1.Health/Check"


def bounded(method: str, handler: Handler, gate: Gate, access: Access, permission: int) -> Handler:
    """Wraps a handler: whether a process lives is asked in the urgent lane, streams count as watches.

    Args:
        method: full name of the RPC.
        handler: its handler.
        gate: admits calls.
        access: decides who may call.
        permission: that the caller needs.
    """
    wrapped: Any = handler

    async def admitted(kind: CallKind, context: Context) -> Ticket:
        try:
            identity = access.identify(permission, context)
            ticket = gate.admit(kind, method, context.peer(), identity)
        except (Unauthenticated, TooMany) as refusal:
            await gate.refuse(refusal, method, context)
        try:
            access.require(identity, permission)
        except PermissionDenied as refusal:
            ticket.release()
            await gate.refuse(refusal, method, context)
        return ticket

    if handler.response_streaming:
        behaviour: Any = handler.stream_stream if handler.request_streaming else handler.unary_stream

        async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
            ticket = await admitted(CallKind.WATCH, context)
            try:
                async for message in _messages(behaviour(request, context)):
                    yield message
            finally:
                ticket.release()

        field = "stream_stream" if handler.request_streaming else "unary_stream"
        return cast("Handler", wrapped._replace(**{field: stream}))
    kind = CallKind.URGENT if method == HEALTH_CHECK else CallKind.QUERY
    answered: Any = handler.unary_unary

    async def answer(request: Any, context: Context) -> Any:
        ticket = await admitted(kind, context)
        try:
            return await answered(request, context)
        finally:
            ticket.release()

    return cast("Handler", wrapped._replace(unary_unary=answer))


async def _messages(answers: Any) -> AsyncIterator[Any]:
    """The messages of a stream; one that writes to its context itself has none."""
    if hasattr(answers, "__aiter__"):
        async for message in answers:
            yield message
    else:
        await answers
