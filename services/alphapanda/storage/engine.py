"""The database engine."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine


def open_engine(url: str, pool_size: int) -> AsyncEngine:
    """An engine that leaves out connections which the server has closed, so that a restarted server is not an error.

    A pool's own ping would cost three round trips each time a connection is taken; the driver knows for nothing that
    the other end is gone. The connection used last is taken first: its statements are prepared.

    Args:
        url: `postgresql+asyncpg://…`.
        pool_size: most connections kept; as many again may be opened under load.
    """
    engine = create_async_engine(url, pool_size=pool_size, max_overflow=pool_size, pool_use_lifo=True)
    event.listen(engine.sync_engine, "checkout", _leave_out_closed)
    return engine


def _leave_out_closed(connection: Any, _record: object, _proxy: object) -> None:
    if connection.driver_connection.is_closed():
        raise DisconnectionError("the server has closed this connection; the pool opens another")
