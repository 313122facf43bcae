"""The database engine."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine


def open_engine(url: str, pool_size: int) -> AsyncEngine:
    """An engine whose connections are checked before use, so that a restarted server is not an error.

    Args:
        url: `postgresql+asyncpg://…`.
        pool_size: most connections kept; as many again may be opened under load.
    """
    return create_async_engine(url, pool_size=pool_size, max_overflow=pool_size, pool_pre_ping=True)
