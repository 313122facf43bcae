"""Maps exceptions to google.rpc.Status; this is the only such table.

Every status carries ErrorInfo (reason, domain `alphapanda`); BadRequest names bad fields; RetryInfo marks a failure
that may pass by waiting. An exception that isn't in the table is a defect: the caller gets an error id, under which the
log has the traceback.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import uuid4

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2

from alphapanda.contract.validation import Violation
from alphapanda.domain.errors import InvalidInput, shown
from alphapanda.mesh.errors import ApiError, TooMany, TooOften, Unavailable
from alphapanda.mesh.metadata import DOMAIN
from alphapanda.mesh.status import call_failure
from alphapanda.resilience.failures import is_transient
from alphapanda.storage.requests import RequestReused
from alphapanda.telemetry.redaction import without_credentials

MOST_REFUSED = 10
"""Refused fields that a status names."""
# In bytes. A status travels in metadata, of which a client accepts 8 KiB: a longer one would never arrive.
_LONGEST_MESSAGE = 1000
_LONGEST_DETAIL = 250
RETRY_AFTER_SECONDS = 1


class ContractBroken(Exception):
    """A request breaks the contract's rules."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = violations
        super().__init__("; ".join(f"{v.field}: {v.message}" for v in violations))


class DeadlinePassed(ApiError):
    """The deadline passed before there was an answer."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED

    def __init__(self, message: str) -> None:
        super().__init__("DEADLINE_EXCEEDED", message)


@dataclass(frozen=True, slots=True)
class Failure:
    """The status that a caller gets, and the level of the log line.

    Args:
        code: gRPC status.
        reason: one word in capitals, for programs.
        message: one sentence for people.
        metadata: stable details of ErrorInfo.
        fields_refused: (field, what is wrong) of BadRequest.
        retry: True where the same call may succeed later.
        unexpected: True for a defect; its traceback belongs in the log.
        retry_after_seconds: wait of RetryInfo.
    """

    code: grpc.StatusCode
    reason: str
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    fields_refused: Sequence[tuple[str, str]] = ()
    retry: bool = False
    unexpected: bool = False
    retry_after_seconds: int = RETRY_AFTER_SECONDS

    @property
    def level(self) -> int:
        """The log level."""
        if self.unexpected:
            return logging.ERROR
        return logging.WARNING if self.retry else logging.INFO

    @property
    def fields(self) -> dict[str, object]:
        """Fields of the log line; of refused fields the names, not the values."""
        said: dict[str, object] = {"code": self.code.name, "reason": self.reason}
        if self.fields_refused:
            return said | {"refused": [name for name, _ in self.fields_refused]}
        return said | {"message": self.message, **self.metadata}

    def status(self) -> bytes:
        """google.rpc.Status, serialised."""
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        self._add(status, details.ErrorInfo(reason=self.reason, domain=DOMAIN, metadata=self.metadata))
        if self.fields_refused:
            refused = details.BadRequest()
            for name, wrong in self.fields_refused:
                refused.field_violations.add(field=name, description=wrong)
            self._add(status, refused)
        if self.retry:
            retry = details.RetryInfo()
            retry.retry_delay.seconds = self.retry_after_seconds
            self._add(status, retry)
        return status.SerializeToString()

    @staticmethod
    def _add(status: status_pb2.Status, detail: Message) -> None:
        status.details.add().Pack(detail)


def failure_of(error: BaseException) -> Failure:
    """Maps a handler's exception to a failure; of a defect the caller only gets an error id."""
    known = _known(error)
    if known is not None:
        return replace(
            known,
            message=_told(known.message, _LONGEST_MESSAGE),
            metadata={name: _told(value, _LONGEST_DETAIL) for name, value in known.metadata.items()},
            fields_refused=[
                (_told(name, _LONGEST_DETAIL), _told(wrong, _LONGEST_DETAIL))
                for name, wrong in known.fields_refused[:MOST_REFUSED]
            ],
        )
    error_id = uuid4().hex
    return Failure(
        grpc.StatusCode.INTERNAL,
        "INTERNAL",
        f"internal error; the log has it under error_id {error_id}",
        {"error_id": error_id},
        unexpected=True,
    )


def _known(error: BaseException) -> Failure | None:
    match error:
        case ApiError():
            retry = isinstance(error, Unavailable | TooMany)
            wait = error.retry_after_seconds if isinstance(error, TooOften) else RETRY_AFTER_SECONDS
            return Failure(
                error.code, error.reason, str(error), error.metadata, retry=retry, retry_after_seconds=wait
            )
        case ContractBroken():
            return _refused("VALIDATION", str(error), [(v.field, v.message) for v in error.violations])
        case InvalidInput():
            wrong = f"{shown(error.value)} is not allowed; {error.allowed}"
            return _refused("INVALID_INPUT", str(error), [(error.field, wrong)])
        case RequestReused():
            return Failure(
                grpc.StatusCode.ALREADY_EXISTS,
                "REQUEST_ID_REUSED",
                str(error),
                {"request_id": error.request_id},
            )
        case _ if is_away(error):
            kind = type(error).__name__
            message = "something this needs is away for now; try again"
            return Failure(
                grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_AWAY", message, {"kind": kind}, retry=True
            )
        case _:
            return None


def is_away(error: BaseException) -> bool:
    """Whether a retry may succeed: database, Redis, log, network or another service can't be reached."""
    if isinstance(error, grpc.aio.AioRpcError):
        passing = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
        return error.code() in passing or call_failure(error).retry_after is not None
    return is_transient(error)


def _told(text: str, most: int) -> str:
    """A text for the caller: without secrets, cut to this many bytes."""
    text = without_credentials(text)
    whole = text.encode(errors="replace")
    return text if len(whole) <= most else whole[:most].decode(errors="ignore") + "…"


def _refused(reason: str, message: str, refused: Sequence[tuple[str, str]]) -> Failure:
    return Failure(grpc.StatusCode.INVALID_ARGUMENT, reason, message, fields_refused=refused)
