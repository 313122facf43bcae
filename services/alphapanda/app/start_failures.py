"""Turns what stops a start into one line with a remedy: damaged database pages, a full disk, a read-only folder."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from alphapanda.embedded.errors import (
    DatabaseDamaged,
    DataDirectoryNotWritableError,
    DiskFull,
    EmbeddedError,
)
from alphapanda.eventlog.port import LogUnavailable
from alphapanda.resilience.failures import in_one_line

_DAMAGED_SQLSTATES: Final = ("XX001", "XX002")
_FULL_SQLSTATE: Final = "53100"
_FULL_TEXTS: Final = (
    "No space left on device",
    "database or disk is full",
    "Check free disk space",  # PostgreSQL's hint where a write was cut short
)
_READ_ONLY_TEXTS: Final = ("Read-only file system", "readonly database")


def start_failure(error: BaseException, folder: Path) -> EmbeddedError | None:
    """Returns the failure of a start that a person can do something about; None where the error says something else.

    Args:
        error: what ended the start.
        folder: the data directory.
    """
    causes = list(_causes(error))
    states = {getattr(cause, "sqlstate", None) for cause in causes}
    texts = [
        text
        for cause in causes
        if isinstance(cause, OSError | LogUnavailable | EmbeddedError)
        for text in (str(cause), getattr(cause, "strerror", None) or "")
    ]
    codes = {cause.errno for cause in causes if isinstance(cause, OSError)}
    if _FULL_SQLSTATE in states or errno.ENOSPC in codes or _any_in(texts, _FULL_TEXTS):
        return DiskFull(folder)
    if errno.EROFS in codes or _any_in(texts, _READ_ONLY_TEXTS):
        return DataDirectoryNotWritableError(folder, "Read-only file system")
    if states & set(_DAMAGED_SQLSTATES):
        return DatabaseDamaged(folder, in_one_line(_damaged(causes)))
    return None


def _damaged(causes: list[BaseException]) -> BaseException:
    return next(cause for cause in causes if getattr(cause, "sqlstate", None) in _DAMAGED_SQLSTATES)


def _any_in(texts: list[str], said: tuple[str, ...]) -> bool:
    return any(each in text for text in texts for each in said)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it was raised from, what it wraps, and the members of groups."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, getattr(one, "orig", None)]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
