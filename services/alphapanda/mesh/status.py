"""Reads the status of a failed call, on the caller's side."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2

from alphapanda.mesh.metadata import DOMAIN, STATUS_KEY


@dataclass(frozen=True, slots=True)
class CallFailure:
    """A failed call.

    Args:
        code: gRPC status.
        reason: such as "INSTRUMENT_NOT_FOUND"; empty where the failure isn't a service's answer.
        message: one sentence.
        refused: (field, reason of the refusal).
        retry_after: seconds after which the same call may succeed; None where it won't.
    """

    code: grpc.StatusCode
    reason: str
    message: str
    refused: tuple[tuple[str, str], ...] = ()
    retry_after: float | None = None


def call_failure(error: grpc.aio.AioRpcError) -> CallFailure:
    """Reads the failure with its details."""
    reason = ""
    refused: tuple[tuple[str, str], ...] = ()
    retry_after: float | None = None
    for detail in _status(error).details:
        info, bad, retry = details.ErrorInfo(), details.BadRequest(), details.RetryInfo()
        if detail.Unpack(info) and info.domain == DOMAIN:
            reason = info.reason
        elif detail.Unpack(bad):
            refused = tuple((v.field, v.description) for v in bad.field_violations)
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    return CallFailure(error.code(), reason, error.details() or "", refused, retry_after)


def describe_rpc_error(error: grpc.aio.AioRpcError) -> str:
    """Describes a failed call in one line: what failed, why, and whether a retry may help."""
    failure = call_failure(error)
    if failure.reason:
        again = "" if failure.retry_after is None else f"; try again in {failure.retry_after:g} s"
        return f"{failure.message} ({failure.code.name}, {failure.reason}){again}"
    if failure.code is grpc.StatusCode.UNAVAILABLE:
        return f"the server can't be reached: {failure.message}"
    if failure.code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "no answer within the deadline; a command may have had its effect, its request_id fetches the answer"
    return f"{failure.message or 'no message'} ({failure.code.name})"


def _status(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_KEY and isinstance(value, bytes):
            return status_pb2.Status.FromString(value)
    return status_pb2.Status()
