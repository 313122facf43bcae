"""Whether the database was written to, and whether this process did anything in it at all."""

from __future__ import annotations

from sqlalchemy import text

from alphapanda.storage.engine import open_engine
from alphapanda.storage.write_watch import WriteWatch


async def test_what_this_process_does_counts_and_a_write_moves_the_mark(database: str) -> None:
    """A read counts, a commit counts after it was made, on each engine; marks don't; only a write moves the mark."""
    engine, other = open_engine(database, 3), open_engine(database, 1)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE written (n int)"))
        watch = WriteWatch(engine, [other])
        before = await watch.mark()
        assert before is not None
        assert (await watch.mark(), watch.activity) == (before, 0)
        async with other.connect() as connection:
            await connection.execute(text("SELECT 1"))
        assert (await watch.mark(), watch.activity) == (before, 3)
        async with other.begin() as connection:
            await connection.execute(text("INSERT INTO written VALUES (1)"))
            assert (await watch.mark(), watch.activity) == (before, 5)
        after, counted = await watch.mark(), watch.activity
        assert after is not None
        assert after > before
        assert counted == 7
        async with engine.connect() as connection:
            assert (await connection.execute(text("SELECT n FROM written"))).scalar_one() == 1
        assert (await watch.mark(), watch.activity) == (after, counted + 3)
    finally:
        await engine.dispose()
        await other.dispose()
