"""Ends a call with a failure's status."""

from __future__ import annotations

from typing import Any, Never, TypeAlias

import grpc

from alphapanda.mesh.failures import Failure
from alphapanda.mesh.metadata import CORRELATION_KEY, STATUS_KEY
from alphapanda.telemetry.correlation import current_correlation_id

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


async def abort_with(failure: Failure, context: Context) -> Never:
    """Sends the status with the call's correlation id and raises gRPC's AbortError."""
    correlation = (CORRELATION_KEY, current_correlation_id.get())
    await context.abort(failure.code, failure.message, (correlation, (STATUS_KEY, failure.status())))
    raise AssertionError("abort returned")
