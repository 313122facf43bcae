"""Statements that take long are told."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from alphapanda.storage.engine import open_engine


@pytest.mark.parametrize(("limit", "told"), [(0.08, 1), (60.0, 0)])
async def test_a_slow_statement_is_logged_without_its_values(database, limit, told) -> None:
    """What took longer than the limit is one line with the statement and its time; its values stay out of it."""
    engine = open_engine(database, 1, slow_query_seconds=limit)
    async with engine.connect() as connection:
        with capture_logs() as logs:
            await connection.execute(
                text("SELECT pg_sleep(:s), CAST(:v AS text)"), {"s": 0.1, "v": "hunter2"}
            )
    await engine.dispose()
    assert [line["event"] for line in logs] == ["query.was_slow"] * told
    assert "hunter2" not in str(logs)
    if told:
        assert logs[0]["duration_ms"] >= 100
        assert logs[0]["statement"].startswith("SELECT pg_sleep($1")
