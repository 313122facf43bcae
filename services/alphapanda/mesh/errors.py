"""What a servicer raises; the server's interceptor turns it into google.rpc.Status with ErrorInfo (domain `alphapanda`).

ApiError                    carries reason (one word in capitals) and message
├── NotFound                NOT_FOUND
├── AlreadyExists           ALREADY_EXISTS
├── FailedPrecondition      FAILED_PRECONDITION: the state must change first
├── TooMany                 RESOURCE_EXHAUSTED: as many as there may be are open already
├── OutOfRange              OUT_OF_RANGE: a revision that is gone, or not there yet; watch from a snapshot
└── Unavailable             UNAVAILABLE: try again later (RetryInfo)
domain.errors.InvalidInput  INVALID_ARGUMENT with BadRequest naming the field
storage.requests.RequestReused  ALREADY_EXISTS (reason REQUEST_ID_REUSED)
"""

from __future__ import annotations

from typing import ClassVar

import grpc


class ApiError(Exception):
    """An answer that is not the one asked for.

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
    """There is no such thing."""

    code = grpc.StatusCode.NOT_FOUND


class AlreadyExists(ApiError):
    """The name is taken."""

    code = grpc.StatusCode.ALREADY_EXISTS


class FailedPrecondition(ApiError):
    """Not in this state."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class OutOfRange(ApiError):
    """Nothing can be told from there on."""

    code = grpc.StatusCode.OUT_OF_RANGE


class TooMany(ApiError):
    """As many as there may be are open already."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class Unavailable(ApiError):
    """Not now; the same call may succeed later."""

    code = grpc.StatusCode.UNAVAILABLE
