"""Ends a call with a failure's status."""

from __future__ import annotations

from typing import Any, Never, TypeAlias

import grpc

from alphapanda.mesh.failures import RETRY_AFTER_SECONDS, Failure
from alphapanda.mesh.metadata import CORRELATION_KEY, PUSHBACK_KEY, STATUS_KEY
from alphapanda.telemetry.correlation import current_correlation_id

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


async def abort_with(failure: Failure, context: Context) -> Never:
    """Sends the status with the call's correlation id and raises gRPC's AbortError."""
    metadata: list[tuple[str, str | bytes]] = [
        (CORRELATION_KEY, current_correlation_id.get()),
        (STATUS_KEY, failure.status()),
    ]
    if failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED and failure.retry:
        # gRPC's own retries wait a moment; a longer wait is the caller's, else its deadline would hide the reason.
        soon = failure.retry_after_seconds <= RETRY_AFTER_SECONDS
        metadata.append((PUSHBACK_KEY, str(1000 * RETRY_AFTER_SECONDS) if soon else "-1"))
    await context.abort(failure.code, failure.message, tuple(metadata))
    raise AssertionError("abort returned")
