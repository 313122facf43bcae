"""Errors that a servicer raises; the server's guard turns them into google.rpc.Status with ErrorInfo (domain `alphapanda`).

ApiError                    carries reason (one word in capitals) and message
├── NotFound                NOT_FOUND
├── AlreadyExists           ALREADY_EXISTS
├── FailedPrecondition      FAILED_PRECONDITION: the state must change first
├── TooMany                 RESOURCE_EXHAUSTED: a limit on what may be open at once is reached (RetryInfo)
│   └── TooOften            it was tried too often; RetryInfo says how long to wait
├── Unauthenticated         UNAUTHENTICATED: no valid token, or a wrong password
├── PermissionDenied        PERMISSION_DENIED: the caller is known and may not do this
├── OutOfRange              OUT_OF_RANGE: the revision is gone or not there yet; watch from a snapshot
└── Unavailable             UNAVAILABLE: try again later (RetryInfo)
domain.errors.InvalidInput  INVALID_ARGUMENT with BadRequest naming the field
storage.requests.RequestReused  ALREADY_EXISTS (reason REQUEST_ID_REUSED)
"""

from __future__ import annotations

from typing import ClassVar

import grpc


class ApiError(Exception):
    """A request that is refused or fails, with a status of its own.

    Args:
        reason: one word in capitals, stable, for programs.
        message: one sentence that names the value and what is allowed, for people.
        metadata: further stable details.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.UNKNOWN

    def __init__(self, reason: str, message: str, **metadata: str) -> None:
        self.reason = reason
        self.metadata = metadata
        super().__init__(message)


class NotFound(ApiError):
    """What the request names does not exist."""

    code = grpc.StatusCode.NOT_FOUND


class AlreadyExists(ApiError):
    """What the request creates exists already."""

    code = grpc.StatusCode.ALREADY_EXISTS


class FailedPrecondition(ApiError):
    """The current state does not allow this request."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class OutOfRange(ApiError):
    """A watch cannot continue from the revision asked for."""

    code = grpc.StatusCode.OUT_OF_RANGE


class Unauthenticated(ApiError):
    """Who calls isn't known: no valid token, or a wrong password."""

    code = grpc.StatusCode.UNAUTHENTICATED


class PermissionDenied(ApiError):
    """The caller is known and lacks the permission."""

    code = grpc.StatusCode.PERMISSION_DENIED


class TooMany(ApiError):
    """The limit on what may be open at once is reached."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class TooOften(TooMany):
    """It was tried too often; the same call may succeed after a wait.

    Args:
        reason: one word in capitals, stable, for programs.
        message: one sentence for people.
        retry_after_seconds: the wait, whole seconds.
    """

    def __init__(self, reason: str, message: str, retry_after_seconds: int) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(reason, message)


class Unavailable(ApiError):
    """The service cannot answer now; the same call may succeed later."""

    code = grpc.StatusCode.UNAVAILABLE
