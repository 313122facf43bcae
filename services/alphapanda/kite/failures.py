"""Reads what a failed call came to from the answer itself: kiteconnect's exceptions lose the name of the error, or hold a token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

import requests
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from alphapanda.kite.outcomes import RawFailure, Stage
from alphapanda.telemetry.redaction import redacted

MOST_WORDS: Final = 400
"""Characters of Kite's words."""


def failure_of(error: Exception, answer: requests.Response | None) -> RawFailure:
    """Returns what a call failed with.

    Args:
        error: what was raised; its text isn't used, because it may hold the URL with a token, or an answer with one.
        answer: Kite's answer, whole; None where there is none.
    """
    if answer is None:
        return _without_answer(error)
    body = _json(answer)
    if answer.status_code < HTTPStatus.BAD_REQUEST and (body is None or body.get("status") != "error"):
        kind = answer.headers.get("content-type") or "no content type"
        return RawFailure(
            Stage.SENT, answer.status_code, message=f"an answer that can't be read ({_line(kind)})"
        )
    if body is None:
        return RawFailure(
            Stage.ANSWERED,
            answer.status_code,
            message=f"the answer is no JSON: {answer.reason or 'no reason'}",
        )
    words = body.get("message")
    return RawFailure(
        Stage.ANSWERED,
        answer.status_code,
        _line(body.get("error_type") or ""),
        _line(words) if isinstance(words, str) and words else "no words",
    )


def _without_answer(error: Exception) -> RawFailure:
    causes = [*_causes(error)]
    for kind, words in (
        (NameResolutionError, "the name of its host isn't known"),
        (ConnectTimeoutError, "nobody answers there in time"),
        (NewConnectionError, "nobody listens there"),
    ):
        if any(isinstance(cause, kind) for cause in causes):
            return RawFailure(Stage.NOT_SENT, message=f"no connection: {words}")
    if any(type(cause).__name__ == "SSLCertVerificationError" for cause in causes):
        return RawFailure(Stage.NOT_SENT, message="no connection: its certificate isn't trusted")
    words = (
        "no whole answer in time"
        if isinstance(error, requests.Timeout)
        else "the connection broke before the answer"
    )
    return RawFailure(Stage.SENT, message=f"{words} ({type(error).__name__})")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it: urllib3 hides the cause in `reason`, requests in the arguments."""
    waiting: list[BaseException] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        candidates = [*one.args, getattr(one, "reason", None), one.__cause__]
        waiting += [found for found in candidates if isinstance(found, BaseException)]


def _json(answer: requests.Response) -> Mapping[str, Any] | None:
    try:
        body = answer.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _line(text: object) -> str:
    """Kite's words in one line, without secrets."""
    return str(redacted(" ".join(str(text).split())))[:MOST_WORDS]
