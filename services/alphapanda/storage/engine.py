"""Opens SQLAlchemy's engine for PostgreSQL."""

from __future__ import annotations

from time import perf_counter
from typing import Any, Final

import asyncpg
import structlog
from sqlalchemy import Connection, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DisconnectionError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from alphapanda.telemetry.channels import SLOW_QUERIES

LONGEST_STATEMENT: Final = 200
_BEGAN: Final = "alphapanda.began"
_log = structlog.get_logger(SLOW_QUERIES)


CONNECT_SECONDS: Final = 10.0
"""Longest wait for a new connection."""

STATEMENT_SECONDS: Final = 600.0
"""Longest wait for the answer to a statement: longer than a migration's takes, and no wait for ever."""

POOL_SECONDS: Final = 30.0
"""Longest wait for a free connection of the pool."""


def open_engine(
    url: str,
    pool_size: int,
    slow_query_seconds: float = 0.5,
    idle_transaction_seconds: float = 10.0,
    *,
    overflow: bool = True,
) -> AsyncEngine:
    """Opens an engine whose pool skips connections that the server has closed, so that a restarted server is no error.

    SQLAlchemy's own ping would cost three round trips at each checkout; the driver knows without one that the connection
    is closed. The connection used last is taken first, because its statements are prepared.

    Args:
        url: `postgresql+asyncpg://…`.
        pool_size: connections that are kept; as many again are opened under load.
        slow_query_seconds: a statement that takes longer is logged, without its values.
        idle_transaction_seconds: PostgreSQL rolls back a transaction that is idle for so long: a frozen process must not
            keep its locks.
        overflow: False: no more are opened under load. Each prepares its statements anew, and is closed after its use.
    """
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size if overflow else 0,
        pool_use_lifo=True,
        pool_timeout=POOL_SECONDS,
        connect_args={
            "timeout": CONNECT_SECONDS,
            "command_timeout": STATEMENT_SECONDS,
            "server_settings": {
                "idle_in_transaction_session_timeout": str(int(1000 * idle_transaction_seconds))
            },
        },
    )

    def before(connection: Connection, *_: Any) -> None:
        connection.info[_BEGAN] = perf_counter()

    def after(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        took = perf_counter() - connection.info[_BEGAN]
        if took > slow_query_seconds:
            shown = " ".join(statement.split())[:LONGEST_STATEMENT]
            _log.warning("query.was_slow", statement=shown, duration_ms=round(took * 1000, 1))

    event.listen(engine.sync_engine, "checkout", _skip_closed)
    event.listen(engine.sync_engine, "handle_error", _cut_off)
    event.listen(engine.sync_engine, "before_cursor_execute", before)
    event.listen(engine.sync_engine, "after_cursor_execute", after)
    return engine


def _skip_closed(connection: Any, _record: object, _proxy: object) -> None:
    if connection.driver_connection.is_closed():
        raise DisconnectionError("the server has closed this connection; the pool opens another")


def _cut_off(context: ExceptionContext) -> OperationalError | None:
    """Turns the driver's own error about a connection that the server ended in the middle of a call into SQLAlchemy's."""
    error = context.original_exception
    if not isinstance(error, asyncpg.InternalClientError):
        return None
    return OperationalError(context.statement, None, error, connection_invalidated=True)


def without_transactions(engine: AsyncEngine) -> AsyncEngine:
    """Returns the engine in autocommit on the same pool: each statement is a transaction, without BEGIN and COMMIT."""
    return engine.execution_options(isolation_level="AUTOCOMMIT")
