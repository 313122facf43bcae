"""The spans of calls: SERVER where one is served, CLIENT where one is made.

Commands are always recorded, and failures; of successful queries a share. A call continues its caller's trace where that is of the same
correlation id; a trace of another one is linked.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import grpc

from alphapanda.contract.method_policy import MethodPolicy
from alphapanda.domain import ids
from alphapanda.telemetry import spans
from alphapanda.telemetry.correlation import current_correlation_id
from alphapanda.telemetry.tracing import (
    Attribute,
    CurrentSpan,
    Kind,
    SpanContext,
    Tracer,
    current_span,
    new_span_id,
    parse_traceparent,
)

FAILURES_A_SECOND: Final = 50
"""Most failed calls of an RPC that get a span in a second: a flood of bad calls doesn't crowd out the orders' spans."""
_OK: Final = grpc.StatusCode.OK


@dataclass(slots=True)
class ServedCall:
    """A call being served.

    Attributes:
        span: its span; what is done in the call may add to it.
        traceparent: what the caller sent; empty: nothing.
        began_ns: when it came, wall time.
        recorded: whether it is recorded although it succeeds.
    """

    span: CurrentSpan
    traceparent: str
    began_ns: int
    recorded: bool


class CallSpans:
    """The spans of one RPC's calls.

    Args:
        tracer: the tracer of the RPC's service.
        policy: the RPC's options in the contract.
    """

    def __init__(self, tracer: Tracer, policy: MethodPolicy) -> None:
        self._tracer = tracer
        self._is_command = policy.is_command
        self._name = policy.method.removeprefix("/")
        self._second, self._failures = 0, 0

    def begin(self, traceparent: str) -> ServedCall | None:
        """Begins a call, under the current correlation id; None where tracing is off."""
        if not self._tracer.on:
            return None
        correlation_id = current_correlation_id.get()
        recorded = self._is_command or self._tracer.samples_query(correlation_id)
        call = ServedCall(
            CurrentSpan(ids.trace_id(correlation_id), new_span_id()), traceparent, time.time_ns(), recorded
        )
        # Its own calls are under it; those of a query that isn't recorded are under nothing.
        current_span.set(call.span if recorded else None)
        return call

    def end(self, call: ServedCall | None, code: grpc.StatusCode, message: str = "") -> None:
        """Records a call that has ended; a second time does nothing."""
        if call is None or call.span.ended:
            return
        call.span.ended = True
        failed = code is not _OK
        if not call.recorded and not (failed and self._has_room(call.began_ns)):
            return
        found = parse_traceparent(call.traceparent) if call.traceparent else None
        caller = found[0] if found is not None and found[1] else None
        same = caller is not None and caller.trace_id == call.span.trace_id
        self._tracer.record(
            self._name,
            Kind.SERVER,
            call.span.context,
            caller if same else None,
            call.began_ns,
            {
                **rpc_attributes(self._name, code),
                spans.CORRELATION_ID: ids.correlation_id(call.span.trace_id),
                **call.span.attributes,
            },
            links=() if caller is None or same else (caller,),
            error=(message or code.name) if failed else "",
        )

    def _has_room(self, now_ns: int) -> bool:
        second = now_ns // 1_000_000_000
        if second != self._second:
            self._second, self._failures = second, 0
        self._failures += 1
        return self._failures <= FAILURES_A_SECOND


def record_client_call(
    tracer: Tracer,
    method: str,
    own: SpanContext,
    parent: SpanContext,
    began_ns: int,
    code: grpc.StatusCode,
) -> None:
    """Records a call that was made in a recorded span and has ended."""
    name = method.removeprefix("/")
    error = "" if code is _OK else code.name
    tracer.record(name, Kind.CLIENT, own, parent, began_ns, rpc_attributes(name, code), error=error)


def rpc_attributes(name: str, code: grpc.StatusCode) -> dict[str, Attribute]:
    """What a span says of a call: `name` is "panda.risk.v1.RiskService/AuthorizeOrder"."""
    service, _, method = name.partition("/")
    attributes: dict[str, Attribute] = {
        spans.RPC_SYSTEM: "grpc",
        spans.RPC_SERVICE: service,
        spans.RPC_METHOD: method,
        spans.RPC_STATUS_CODE: int(code.value[0]),
    }
    if code is not _OK:
        attributes[spans.ERROR_TYPE] = code.name
    return attributes
