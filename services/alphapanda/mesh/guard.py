"""Wraps every handler: caller, admission, permission, correlation id, deadline, validation, errors, log. Built once per RPC.

A query runs in the call's own task and ends with it. A command runs in a task of the server: it completes even if the
caller disconnects or the deadline passes, and a retry with the same request_id gets its answer (rule 12). A watch (server
streaming) is a query that lasts until its caller disconnects. The contract's default deadline limits the time until its
first message, or until it is established (`deadlines.watch_established`), because it may have nothing to send for long.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from time import monotonic, perf_counter
from typing import Any, Never
from uuid import uuid4

import grpc
from google.protobuf.message import DecodeError, Message
from structlog.typing import FilteringBoundLogger

from alphapanda.contract.method_policy import MethodPolicy
from alphapanda.contract.validation import bounds_broken, violations
from alphapanda.domain import ids
from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.abort import Context, abort_with
from alphapanda.mesh.access import NO_AUTHENTICATION, Access, Metadata
from alphapanda.mesh.admission import Ticket, kind_of
from alphapanda.mesh.call_spans import CallSpans, ServedCall
from alphapanda.mesh.caller import current_caller
from alphapanda.mesh.deadlines import answer_by, first_message_limit, spend_by
from alphapanda.mesh.effects import Effects
from alphapanda.mesh.errors import TooMany, Unauthenticated, Unavailable
from alphapanda.mesh.failures import ContractBroken, DeadlinePassed, failure_of
from alphapanda.mesh.gate import Gate, holder_of
from alphapanda.mesh.identity import NOBODY, Identity, current_identity
from alphapanda.mesh.metadata import CORRELATION_KEY
from alphapanda.mesh.recording import CommandRecorder, Trail
from alphapanda.resilience.lanes import Lane, current_lane
from alphapanda.telemetry.correlation import current_broker, current_correlation_id, current_service
from alphapanda.telemetry.tracing import OFF, TRACEPARENT, Tracer, parse_traceparent

WATCH_CHECK_SECONDS = 1.0
"""A watch goes on only while its caller's token is valid: it is asked again before a message, at most this often."""

Behaviour = Callable[[Any, Context], Coroutine[Any, Any, Message]]
Watching = Callable[[Any, Context], AsyncIterator[Message | bytes]]
"""A watch may yield a message as bytes, where it was encoded for other watchers already."""


class Guard:
    """One RPC's handler, wrapped.

    Args:
        policy: the RPC's options in the contract.
        handler: the generated handler of the servicer's method.
        effects: the server's running commands.
        log: gets errors and slow calls of queries and watches, nothing else.
        audit: gets commands with caller, request_id and outcome, without their contents.
        slow_call_seconds: an answer that takes longer is logged.
        gate: admits calls.
        access: decides who may call.
        trail: where commands are recorded; None: nowhere.
        tracer: records the calls.
    """

    def __init__(
        self,
        policy: MethodPolicy,
        handler: grpc.RpcMethodHandler[Any, Any],
        effects: Effects,
        log: FilteringBoundLogger,
        audit: FilteringBoundLogger,
        slow_call_seconds: float,
        gate: Gate,
        access: Access = NO_AUTHENTICATION,
        trail: Trail | None = None,
        tracer: Tracer = OFF,
    ) -> None:
        if handler.request_streaming or handler.request_deserializer is None:
            raise InvalidInput("method", policy.method, "an RPC with one request")
        if handler.response_streaming and policy.is_command:
            raise InvalidInput("method", policy.method, "RETRY_SAFE: a watch changes nothing")
        self._method = policy.method
        self._service = policy.method.split(".")[1]  # "/panda.risk.v1.RiskService/SetKillSwitch"
        self._is_command = policy.is_command
        self._default_deadline = policy.default_deadline
        self._behaviour: Behaviour = handler.unary_unary  # type: ignore[assignment]
        self._watching: Watching = handler.unary_stream  # type: ignore[assignment]
        self._parse: Callable[[bytes], Message] = handler.request_deserializer
        self._effects = effects
        self._log = log
        self._audit = audit
        self._slow = slow_call_seconds
        self._gate = gate
        self._recorder = CommandRecorder(policy, trail)
        self._spans = CallSpans(tracer, policy)
        self._access = access
        self._permission = policy.permission
        self._kind = kind_of(policy, streaming=handler.response_streaming)
        calls = Lane.COMMAND if policy.is_command else Lane.QUERY
        self._lane = Lane.URGENT if policy.is_urgent else calls
        # The request is parsed here, so that malformed bytes get a status of ours.
        if handler.response_streaming:
            self.handler: grpc.RpcMethodHandler[Any, Any] = grpc.unary_stream_rpc_method_handler(
                self._serve_watch, request_deserializer=None, response_serializer=_encoded
            )
        else:
            self.handler = grpc.unary_unary_rpc_method_handler(
                self._serve, request_deserializer=None, response_serializer=handler.response_serializer
            )

    async def _serve(self, raw: bytes, context: Context) -> Message:
        started = perf_counter()
        identity, ticket, span = await self._enter(context)
        holder = holder_of(identity, context.peer())
        request: Message | None = None
        answer: Message | None = None
        try:
            request = self._parsed(raw)
            self._admit(identity, request)
            if self._is_command:
                answer = await self._command(request, context, ticket, holder)
            else:
                answer = await self._query(request, context, holder)
        except Exception as error:
            if not isinstance(error, grpc.aio.AbortError):
                await self._fail(error, context, started, span, request)
            raise
        finally:
            ticket.release()
            self._spans.end(span, grpc.StatusCode.CANCELLED if answer is None else grpc.StatusCode.OK)
        if self._is_command:
            self._audit.info(
                "command.completed",
                method=self._method,
                duration_ms=_milliseconds(started),
                **_who(request, context.peer()),
                outcome="OK",
            )
        elif perf_counter() - started > self._slow:
            self._log.warning("call.was_slow", method=self._method, duration_ms=_milliseconds(started))
        return answer

    async def _serve_watch(self, raw: bytes, context: Context) -> AsyncIterator[Message | bytes]:
        started = perf_counter()
        identity, ticket, span = await self._enter(context)
        holder = holder_of(identity, context.peer())
        try:
            request = self._parsed(raw)
            self._admit(identity, request)
            messages = self._watching(request, context)
            yield await self._first(messages, holder)
            checked = monotonic()
            async for message in messages:
                if monotonic() - checked > WATCH_CHECK_SECONDS:
                    checked = monotonic()
                    self._access.require(self._access.identify(self._permission, context), self._permission)
                yield message
        except StopAsyncIteration:  # of a watch that ends before its first message
            return
        except Exception as error:
            if not isinstance(error, grpc.aio.AbortError):
                await self._fail(error, context, started, span)
            raise
        finally:
            ticket.release()
            self._spans.end(span, grpc.StatusCode.OK)

    async def _enter(self, context: Context) -> tuple[Identity, Ticket, ServedCall | None]:
        """Finds out who calls and admits the call, or ends it with a refusal."""
        current_service.set(self._service)
        metadata = context.invocation_metadata() or ()
        traceparent = _correlate(context, metadata)
        current_caller.set(NOBODY.caller)
        self._recorder.open()
        try:
            identity = self._access.identify(self._permission, context, metadata)
        except Unauthenticated as refusal:
            self._gate.count(refusal, self._method)
            self._recorder.refused(failure_of(refusal), context.peer())
            await self._gate.refuse(refusal, self._method, context)
        current_caller.set(identity.caller)
        current_identity.set(identity)
        try:
            ticket = self._gate.admit(self._kind, self._method, context.peer(), identity)
        except TooMany as refusal:
            self._recorder.refused(failure_of(refusal), context.peer())
            await self._gate.refuse(refusal, self._method, context)
        current_lane.set(self._lane)
        return identity, ticket, self._spans.begin(traceparent)

    async def _fail(
        self,
        error: Exception,
        context: Context,
        started: float,
        span: ServedCall | None,
        request: Message | None = None,
    ) -> Never:
        """Answers with the failure's status and logs it; refusals that change nothing are logged together."""
        if isinstance(error, TooMany):
            self._gate.count(error, self._method)
            if not self._is_command:
                await self._gate.refuse(error, self._method, context)
        failure = failure_of(error)
        self._recorder.refused(failure, context.peer())
        self._spans.end(span, failure.code, failure.message)
        log = self._audit if self._is_command else self._log
        who = _who(request, context.peer()) | {"outcome": failure.code.name} if self._is_command else {}
        log.log(
            failure.level,
            "command.failed" if self._is_command else "call.failed",
            method=self._method,
            duration_ms=_milliseconds(started),
            **(failure.fields | who),
            exc_info=error if failure.unexpected else None,
        )
        await abort_with(failure, context)

    def _parsed(self, raw: bytes) -> Message:
        try:
            return self._parse(raw)
        except DecodeError:
            raise InvalidInput("request", f"{len(raw)} bytes", "a request of this method") from None

    def _admit(self, identity: Identity, request: Message) -> None:
        """Requires the permission, then a request that the contract allows."""
        self._recorder.read(request)
        self._access.require(identity, self._permission)
        if broken := bounds_broken(request) or violations(request):
            raise ContractBroken(broken)
        current_broker.set(getattr(request, "broker", ""))

    async def _query(self, request: Message, context: Context, holder: str) -> Message:
        now = asyncio.get_running_loop().time()
        left: float | None = context.time_remaining()
        if left is not None:  # the caller's own deadline: gRPC ends the call at it
            answer_by.set(now + left)
            spend_by.set(now + left)
            return await self._in_turn(request, context, holder)
        moment = now + self._default_deadline
        answer_by.set(moment)
        spend_by.set(moment)
        limit = asyncio.timeout_at(moment)
        try:
            async with limit:
                return await self._in_turn(request, context, holder)
        except TimeoutError:
            if limit.expired():
                raise DeadlinePassed(f"no answer within {self._default_deadline:g} s") from None
            raise

    async def _in_turn(self, request: Message, context: Context, holder: str) -> Message:
        async with self._gate.turn(self._kind, holder):
            return await self._behaviour(request, context)

    async def _recorded(self, request: Message, context: Context, holder: str) -> Message:
        async with self._gate.turn(self._kind, holder):
            peer = context.peer()
            return await self._recorder.effect(request, peer, lambda: self._behaviour(request, context))

    async def _first(self, messages: AsyncIterator[Message | bytes], holder: str) -> Message | bytes:
        limit = asyncio.timeout(self._default_deadline)
        first_message_limit.set(limit)
        try:
            async with limit, self._gate.turn(self._kind, holder):
                return await anext(messages)
        except TimeoutError:
            if limit.expired():
                raise DeadlinePassed(f"no first message within {self._default_deadline:g} s") from None
            raise
        finally:
            first_message_limit.set(None)

    async def _command(self, request: Message, context: Context, ticket: Ticket, holder: str) -> Message:
        now = asyncio.get_running_loop().time()
        left: float | None = context.time_remaining()
        wait = self._default_deadline if left is None else left
        answer_by.set(now + wait)
        effect = self._effects.start(self._method, self._recorded(request, context, holder))
        ticket.hold()
        effect.add_done_callback(ticket.release)
        try:
            await asyncio.wait((effect,), timeout=wait)
        except asyncio.CancelledError:
            self._effects.detach(effect)  # even if it has ended at this moment: nobody else reads its outcome
            raise
        if not effect.done():
            self._effects.detach(effect)
            request_id = getattr(request, "request_id", "")
            raise DeadlinePassed(
                f"no answer within the deadline; ask again with the same request_id {request_id}".rstrip()
            )
        if effect.cancelled():
            raise Unavailable("STOPPING", "the server stopped before there was an answer; ask again")
        return effect.result()


def _encoded(message: Message | bytes) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()


def _correlate(context: Context, metadata: Metadata) -> str:
    """Sets the correlation id of this call; returns the traceparent that the caller sent, or nothing.

    A caller's correlation id counts where it is a UUID, else the trace that its traceparent names; else a new one is made.
    """
    correlation_id = traceparent = ""
    for key, value in metadata:
        if key == CORRELATION_KEY and isinstance(value, str) and ids.trace_id(value):
            correlation_id = value.lower()
        elif key == TRACEPARENT and isinstance(value, str):
            traceparent = value
    if not correlation_id and traceparent and (found := parse_traceparent(traceparent)) is not None:
        correlation_id = ids.correlation_id(found[0].trace_id)
    correlation_id = correlation_id or str(uuid4())
    current_correlation_id.set(correlation_id)
    context.set_trailing_metadata(((CORRELATION_KEY, correlation_id),))
    return traceparent


def _who(request: Message | None, peer: str) -> dict[str, str]:
    """Caller, where it called from, and request_id; the last empty where the request can't be read."""
    return {"caller": current_caller.get(), "peer": peer, "request_id": getattr(request, "request_id", "")}


def _milliseconds(started: float) -> float:
    return round((perf_counter() - started) * 1000, 1)
