"""Refusals and failures as the platform tells them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import grpc
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2

STATUS_KEY = "grpc-status-details-bin"


class PlatformError(Exception):
    """A call that was refused or failed.

    Args:
        code: gRPC's status.
        message: one sentence.
        reason: such as "VALIDATION"; empty where no service answered.
        about: what it was about, by name.
        fields: fields of the request that break a rule, each with what is allowed.
        retry_after: seconds to wait before the next attempt; 0 where none were named.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        reason: str = "",
        about: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        retry_after: float = 0.0,
    ) -> None:
        self.code = code
        self.message = message
        self.reason = reason
        self.about = dict(about or {})
        self.fields = dict(fields or {})
        self.retry_after = retry_after
        super().__init__(f"{code.name} ({reason}): {message}" if reason else f"{code.name}: {message}")


def platform_error(error: Any) -> PlatformError:
    """Reads gRPC's error, of a synchronous or an asynchronous call."""
    told = PlatformError(error.code(), error.details() or "")
    for detail in _details(error.trailing_metadata() or ()):
        info, bad, retry = details.ErrorInfo(), details.BadRequest(), details.RetryInfo()
        if detail.Unpack(info):
            told.reason, told.about = info.reason, dict(info.metadata)
        elif detail.Unpack(bad):
            told.fields = {one.field: one.description for one in bad.field_violations}
        elif detail.Unpack(retry):
            told.retry_after = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    return PlatformError(told.code, told.message, told.reason, told.about, told.fields, told.retry_after)


def _details(metadata: Iterable[tuple[str, str | bytes]]) -> Iterable[Any]:
    for key, value in metadata:
        if key == STATUS_KEY and isinstance(value, bytes):
            return status_pb2.Status.FromString(value).details
    return ()
