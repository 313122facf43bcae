"""Channels to other services: deadlines that shrink, the correlation id passed on, retries where the contract allows.

With TLS a channel verifies the server, and shows its own certificate where there is one (`security.py`).

Retries are gRPC's own, from a service config made of the contract's options: only RPCs that say they may be sent
again, only on UNAVAILABLE and RESOURCE_EXHAUSTED, after the wait that the server asks for.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import grpc
from typing_extensions import override

from alphapanda.contract.method_policy import MethodPolicy, find_service, service_policies
from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.bearer import token_senders
from alphapanda.mesh.call_spans import record_client_call
from alphapanda.mesh.deadlines import seconds_to_spend
from alphapanda.mesh.loopback import is_loopback
from alphapanda.mesh.metadata import CORRELATION_KEY
from alphapanda.mesh.renewing import RenewedChannel
from alphapanda.mesh.security import PLAINTEXT, ChannelSecurity
from alphapanda.mesh.tls import channel_credentials
from alphapanda.telemetry.correlation import current_correlation_id
from alphapanda.telemetry.tracing import OFF, TRACEPARENT, SpanContext, Tracer, current_span, new_span_id

OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.enable_retries", 1),
)
RETRY_POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
}


def open_channel(
    target: str,
    services: Iterable[str],
    interceptors: Sequence[grpc.aio.UnaryUnaryClientInterceptor] = (),
    security: ChannelSecurity = PLAINTEXT,
    tracer: Tracer = OFF,
) -> grpc.aio.Channel:
    """A channel to `target` ("127.0.0.1:50051") for the stubs of `services` (full names, their modules imported).

    A call without a timeout gets the RPC's default deadline; no call passes the deadline of the call being served.
    It connects when first used. The caller closes it. `tracer` records the calls made in a recorded span.

    Raises:
        KeyError: no service of that name in the contract.
    """
    policies = [policy for name in services for policy in service_policies(find_service(name)).values()]
    options: Sequence[tuple[str, Any]] = (*OPTIONS, ("grpc.service_config", service_config(policies)))
    return secured_channel(target, options, [*interceptors, CallContext(policies, tracer)], security)


def secured_channel(
    target: str,
    options: Sequence[tuple[str, Any]],
    interceptors: Sequence[grpc.aio.ClientInterceptor],
    security: ChannelSecurity,
) -> grpc.aio.Channel:
    """A channel with these options and interceptors, encrypted and with a token where `security` says so.

    Raises:
        InvalidInput: a token would leave the machine unencrypted.
    """
    material = security.tls
    if security.token is not None:
        if material is None and not is_loopback(
            target.removeprefix("dns:///").rpartition(":")[0].strip("[]")
        ):
            allowed = "an address of this machine, or TLS (--ca, setting tls.ca): a token must not travel in plaintext"
            raise InvalidInput("target", target, allowed)
        interceptors = [*interceptors, *token_senders(security.token)]
    if material is None:
        return grpc.aio.insecure_channel(target, options=options, interceptors=interceptors)
    if security.server_name:
        options = (*options, ("grpc.ssl_target_name_override", security.server_name))

    def make() -> grpc.aio.Channel:
        credentials = channel_credentials(material.contents)
        return grpc.aio.secure_channel(target, credentials, options=options, interceptors=interceptors)

    return make() if material.files.certificate is None else RenewedChannel(material.look, make)


def service_config(policies: Iterable[MethodPolicy]) -> str:
    """The service config (JSON): a name's addresses take turns, and these RPCs, queries and commands, are retried."""
    names = []
    for policy in policies:
        _, service, method = policy.method.split("/")
        names.append({"service": service, "method": method})
    return json.dumps(
        {
            "loadBalancingConfig": [{"round_robin": {}}],
            "methodConfig": [{"name": names, "retryPolicy": RETRY_POLICY}],
        }
    )


class CallContext(grpc.aio.UnaryUnaryClientInterceptor):
    """Gives each call a deadline, the current correlation id, and the context of its span."""

    def __init__(self, policies: Iterable[MethodPolicy], tracer: Tracer = OFF) -> None:
        self._tracer = tracer
        self._default_deadlines = {policy.method: policy.default_deadline for policy in policies}

    @override
    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        call = client_call_details
        method: str | bytes = call.method  # the stubs say str, the library hands over bytes
        name = method.decode() if isinstance(method, bytes) else method
        timeout = self._default_deadlines.get(name) if call.timeout is None else call.timeout
        left = seconds_to_spend()
        if left == 0:
            nothing = grpc.aio.Metadata()
            late = "no time is left of the call being served"
            raise grpc.aio.AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, nothing, nothing, details=late)
        metadata = grpc.aio.Metadata(*(call.metadata or ()))
        if correlation_id := current_correlation_id.get():
            metadata.add(CORRELATION_KEY, correlation_id)
        details = grpc.aio.ClientCallDetails(
            method=call.method,
            timeout=timeout if left is None else left if timeout is None else min(timeout, left),
            metadata=metadata,
            credentials=call.credentials,
            wait_for_ready=call.wait_for_ready,
        )
        parent = current_span.get() if self._tracer.on else None
        if parent is None:
            return await continuation(details, request)
        own = SpanContext(parent.trace_id, new_span_id())
        metadata.add(TRACEPARENT, own.traceparent)
        began = self._tracer.now()
        made = await continuation(details, request)
        code = grpc.StatusCode.CANCELLED
        try:
            code = await made.code()
        except BaseException:
            made.cancel()  # this task was cancelled: nobody else waits for the call
            raise
        finally:
            record_client_call(self._tracer, name, own, parent.context, began, code)
        return made
