"""Classifies failures as transient or not (rule 5), and formats errors for logs and reports."""

from __future__ import annotations

import asyncpg
import redis.exceptions
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from alphapanda.telemetry.redaction import redacted

LONGEST_TEXT = 300
POSTGRESQL, REDIS, LOG, BROKER = "PostgreSQL", "Redis", "log", "broker"


class TransientFailure(Exception):
    """A dependency is unavailable for now; the same call may succeed later. Raise it from the cause.

    Args:
        text: one line.
        dependency: the unavailable dependency, such as "broker"; empty where it is unknown, or follows from the cause.
    """

    def __init__(self, text: str, dependency: str = "") -> None:
        self.dependency = dependency
        super().__init__(text)


_TRANSIENT = (
    TransientFailure,
    OSError,  # TimeoutError and ConnectionError are among them
    PoolTimeout,
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
)
_DEPENDENCIES: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    (
        (DBAPIError, PoolTimeout, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError),
        POSTGRESQL,
    ),
    ((redis.exceptions.RedisError,), REDIS),
)
# PostgreSQL's error classes: connection, rollback (serialisation, deadlock), out of resources, object in use, operator
# intervention (shutdown, start-up, cancel), system error. And errors of the server rather than the record: read-only
# after a failover, a transaction that was open for too long (of what was frozen), a role or password that is refused, a
# missing database.
_TRANSIENT_SQLSTATES = ("08", "25006", "25P03", "25P04", "28", "3D", "40", "53", "55", "57", "58")


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed later: a dependency is at fault, not the request."""
    if isinstance(error, ExceptionGroup):
        return all(is_transient(one) for one in error.exceptions)
    if isinstance(error, DBAPIError):
        driver_error = error.orig.__cause__ if error.orig is not None else None
        return error.connection_invalidated or (driver_error is not None and is_transient(driver_error))
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(_TRANSIENT_SQLSTATES)
    if isinstance(error, asyncpg.InternalClientError):  # a connection that was cut in the middle of a call
        return True
    if isinstance(error, asyncpg.InterfaceError):
        return "closed" in str(error)  # asyncpg has no class for it; its other InterfaceErrors are misuse
    return isinstance(error, _TRANSIENT)


def dependency_of(error: BaseException) -> str:
    """Returns the dependency that failed: "PostgreSQL", "Redis", "log" or "broker"; empty where it is unknown."""
    if isinstance(error, ExceptionGroup):
        return next(filter(None, map(dependency_of, error.exceptions)), "")
    if isinstance(error, TransientFailure):
        return error.dependency or ("" if error.__cause__ is None else dependency_of(error.__cause__))
    if not is_transient(error):
        return ""
    return next((name for kinds, name in _DEPENDENCIES if isinstance(error, kinds)), None) or (
        POSTGRESQL if _passed_through(error, "asyncpg") else BROKER
    )


def _passed_through(error: BaseException, package: str) -> bool:
    """Whether an error was raised within a package: drivers let errors of the operating system through."""
    at = error.__traceback__
    while at is not None:
        if at.tb_frame.f_globals.get("__name__", "").partition(".")[0] == package:
            return True
        at = at.tb_next
    return False


def in_one_line(error: BaseException) -> str:
    """Formats an error as one line without secrets; of a database error without statement and parameters."""
    shown = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    text = f"{type(error).__name__}: {shown}" if str(shown) else type(error).__name__
    line: str = redacted(" ".join(text.split()))
    return line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 1] + "…"
