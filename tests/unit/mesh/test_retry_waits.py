"""A wait that is longer than a moment is told to the caller, and gRPC's own retries leave the call alone."""

from __future__ import annotations

from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2

from alphapanda.mesh.errors import TooMany, TooOften
from alphapanda.mesh.failures import failure_of


def retry_info(error: Exception) -> float:
    status = status_pb2.Status.FromString(failure_of(error).status())
    info = details.RetryInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    return info.retry_delay.seconds


def test_what_was_tried_too_often_says_how_long_to_wait() -> None:
    """RetryInfo has the wait itself, not the second that other refusals ask for."""
    assert retry_info(TooOften("LOGIN_SLOWED", "wait 64 s", 64)) == 64
    assert retry_info(TooMany("TOO_MANY_QUERIES", "many")) == 1
