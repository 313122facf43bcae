"""Which database errors pass by waiting, told by a real PostgreSQL."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from alphapanda.resilience.failures import in_one_line, is_transient
from alphapanda.storage.engine import open_engine


@pytest.fixture
async def engine(database: str):
    engine = open_engine(database, 5)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE things (id bigint PRIMARY KEY, name text NOT NULL)"))
        await connection.execute(text("INSERT INTO things VALUES (1, 'a'), (2, 'b')"))
    yield engine
    await engine.dispose()


async def error_of(call) -> Exception:
    with pytest.raises((SQLAlchemyError, OSError)) as caught:
        await call
    return caught.value


async def run(engine, statement: str, **values) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(statement), values)


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        ("SELECT nonsense", {}),
        ("INSERT INTO things VALUES (1, 'again')", {}),
        ("SELECT 1 / 0", {}),
        ("INSERT INTO things VALUES (:id, 'x')", {"id": "no number"}),
    ],
)
async def test_a_wrong_statement_or_value_is_a_bug(engine, statement, values) -> None:
    """Waiting mends neither a statement nor a value nor a broken constraint."""
    assert not is_transient(await error_of(run(engine, statement, **values)))


async def test_a_lost_connection_passes(engine) -> None:
    """The server ended the session: another connection will do."""
    error = await error_of(run(engine, "SELECT pg_terminate_backend(pg_backend_pid())"))
    assert is_transient(error), repr(error)


async def test_a_connection_closed_while_it_was_idle_is_no_error(engine) -> None:
    """The pool leaves out what the server has closed: who asks next gets another connection."""
    async with engine.connect() as one, engine.connect() as other:
        closed = {(await each.execute(text("SELECT pg_backend_pid()"))).scalar_one() for each in (one, other)}
    admin = open_engine(engine.url.render_as_string(hide_password=False), 1)
    for pid in closed:
        await run(admin, "SELECT pg_terminate_backend(:pid, 5000)", pid=pid)
    await admin.dispose()
    async with engine.connect() as one, engine.connect() as other:
        opened = {(await each.execute(text("SELECT pg_backend_pid()"))).scalar_one() for each in (one, other)}
    assert not closed & opened


async def test_a_server_that_is_not_there_passes() -> None:
    """Nobody listens: somebody may soon."""
    engine = open_engine("postgresql+asyncpg://u:hunter2@127.0.0.1:1/none", 1)
    error = await error_of(run(engine, "SELECT 1"))
    assert is_transient(error), repr(error)
    assert "hunter2" not in in_one_line(error)
    await engine.dispose()


@pytest.mark.parametrize(
    "elsewhere", [{"username": "nobody_of_this_name"}, {"database": "nothing_of_this_name"}]
)
async def test_a_role_or_database_that_is_not_there_passes(engine, elsewhere) -> None:
    """A changed password or a database that is being restored says nothing of the record in hand."""
    other = open_engine(engine.url.set(**elsewhere).render_as_string(hide_password=False), 1)
    error = await error_of(run(other, "SELECT 1"))
    assert is_transient(error), repr(error)
    await other.dispose()


async def test_a_server_made_read_only_passes(engine) -> None:
    """A failover leaves the old server read-only: the new one will take the record."""
    async with engine.connect() as connection:
        await connection.execute(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"))
        await connection.commit()
        error = await error_of(connection.execute(text("INSERT INTO things VALUES (3, 'c')")))
        await connection.invalidate()
    assert is_transient(error), repr(error)


async def test_a_deadlock_and_a_lock_timeout_pass(engine) -> None:
    """The transaction that was sacrificed may be made again."""

    async def crossed(first: int, second: int) -> None:
        async with engine.begin() as connection:
            for number in (first, second):
                await connection.execute(text("UPDATE things SET name = 'x' WHERE id = :id"), {"id": number})
                await asyncio.sleep(0.05)

    outcomes = await asyncio.gather(crossed(1, 2), crossed(2, 1), return_exceptions=True)
    [deadlock] = [one for one in outcomes if one is not None]
    assert is_transient(deadlock), repr(deadlock)

    async with engine.begin() as holder:
        await holder.execute(text("SELECT * FROM things FOR UPDATE"))
        error = await error_of(run(engine, "SELECT * FROM things FOR UPDATE NOWAIT"))
    assert is_transient(error), repr(error)


async def test_an_error_is_shown_without_statement_and_values(engine) -> None:
    """Statement and parameters stay out of what is logged and reported."""
    error = await error_of(run(engine, "INSERT INTO things VALUES (:id, :name)", id=1, name="very private"))
    assert "very private" not in in_one_line(error)
    assert "INSERT" not in in_one_line(error)
    assert "duplicate key" in in_one_line(error)
    assert "\n" not in in_one_line(error)
