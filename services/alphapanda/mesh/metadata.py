"""Names in a call's metadata, shared by client and server."""

from __future__ import annotations

from typing import Final

CORRELATION_KEY: Final = "x-correlation-id"

STATUS_KEY: Final = "grpc-status-details-bin"
"""The google.rpc.Status of a failed call, as gRPC defines it."""

PUSHBACK_KEY: Final = "grpc-retry-pushback-ms"
"""Milliseconds after which gRPC's own retries send a call again: the wait of RetryInfo, for clients that read no details."""

DOMAIN: Final = "alphapanda"
"""The domain of every ErrorInfo of ours."""
