"""The ground the tests stand on."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine


async def test_the_database_is_a_real_postgresql(database: str) -> None:
    """Each test gets an empty PostgreSQL database of its own, reachable by SQLAlchemy's asyncpg dialect."""
    engine = create_async_engine(database)
    try:
        async with engine.connect() as connection:
            name, tables = (
                await connection.execute(
                    text(
                        "SELECT current_database(), "
                        "(SELECT count(*) FROM pg_tables WHERE schemaname = 'public')"
                    )
                )
            ).one()
    finally:
        await engine.dispose()
    assert name in database
    assert tables == 0


async def test_redis_is_real_and_empty(redis_url: str) -> None:
    """Each test gets a Redis without keys."""
    from redis.asyncio import Redis

    async with Redis.from_url(redis_url) as client:
        assert await client.dbsize() == 0
        await client.set("left", "behind")


async def test_redis_is_empty_again(redis_url: str) -> None:
    """What one test left in Redis is gone for the next."""
    from redis.asyncio import Redis

    async with Redis.from_url(redis_url) as client:
        assert await client.dbsize() == 0
