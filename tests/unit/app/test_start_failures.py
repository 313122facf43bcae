"""What stops a start is one line with a remedy, wherever in a chain of errors its cause stands."""

from __future__ import annotations

import errno
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError

from alphapanda.app.start_failures import start_failure
from alphapanda.embedded.errors import EmbeddedStartFailed
from alphapanda.eventlog.port import LogUnavailable

FOLDER = Path("/data")


def database_error(cause: Exception) -> DBAPIError:
    """An error as SQLAlchemy raises it from one of the driver's."""
    wrapped = Exception("of the dialect")
    wrapped.__cause__ = cause
    return DBAPIError("SELECT 1", {}, wrapped)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "no space is left on the disk of /data: free some",
        ),
        (LogUnavailable("the log can't be used: database or disk is full"), "no space is left"),
        (database_error(asyncpg.DiskFullError("could not extend file")), "no space is left"),
        (
            EmbeddedStartFailed("PostgreSQL", "it ended", FOLDER, ["FATAL: x: No space left on device"]),
            "no space is left",
        ),
        (
            EmbeddedStartFailed("PostgreSQL", "initdb ended", FOLDER, ["HINT:  Check free disk space."]),
            "no space is left",
        ),
        (LogUnavailable("attempt to write a readonly database"), "not writable (Read-only file system)"),
        (OSError(errno.EROFS, "Read-only file system"), "choose another with --data-dir"),
        (
            database_error(asyncpg.DataCorruptedError("invalid page in block 0 of relation 1")),
            "invalid page in block 0 of relation 1): bring back a backup with `alphapanda restore",
        ),
        (
            ExceptionGroup(
                "parts", [ValueError("x"), database_error(asyncpg.IndexCorruptedError("index i"))]
            ),
            "the database in /data is damaged",
        ),
    ],
)
def test_a_cause_is_found_and_told(error: Exception, says: str) -> None:
    """A full disk, a read-only folder and a damaged page are told with what to do, in one line."""
    failure = start_failure(error, FOLDER)
    assert says in str(failure)
    assert "\n" not in str(failure)


@pytest.mark.parametrize(
    "error",
    [ValueError("a bug"), ConnectionRefusedError("nobody"), EmbeddedStartFailed("Redis", "it ended", FOLDER)],
)
def test_other_errors_speak_for_themselves(error: Exception) -> None:
    """What isn't known here is left as it is."""
    assert start_failure(error, FOLDER) is None
