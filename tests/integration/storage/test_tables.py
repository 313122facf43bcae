"""The tables as declared and the tables as migrated are the same, by PostgreSQL's own catalogue."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import Column, Index, Integer, MetaData, Table, text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.catalogue import catalogue

from alphapanda.app.tables import TABLES
from alphapanda.storage.engine import open_engine

SCHEMAS = sorted(str(metadata.schema) for metadata in TABLES)


async def declare(engine: AsyncEngine, metadatas: Sequence[MetaData]) -> None:
    async with engine.begin() as connection:
        for metadata in metadatas:
            await connection.execute(text(f"CREATE SCHEMA {metadata.schema}"))
            await connection.run_sync(metadata.create_all)


@pytest.fixture
async def declared(database: str):
    engine = open_engine(database, 1)
    yield engine
    await engine.dispose()


@pytest.fixture
async def migrated(tables: str):
    engine = open_engine(tables, 1)
    yield engine
    await engine.dispose()


async def test_tables_are_declared_as_they_are_migrated(declared: AsyncEngine, migrated: AsyncEngine) -> None:
    """Each table, column, type, default, constraint, index, trigger and sequence is in both, and alike."""
    await declare(declared, TABLES)
    as_declared, as_migrated = await catalogue(declared, SCHEMAS), await catalogue(migrated, SCHEMAS)
    differences = [
        *(f"only migrated: {line}" for line in sorted(as_migrated - as_declared)),
        *(f"only declared: {line}" for line in sorted(as_declared - as_migrated)),
    ]
    assert not differences, "\n".join(["declare it in tables.py or write a migration:", *differences])
    assert sum(line.startswith("table ") for line in as_migrated) > 30


async def test_every_schema_is_declared(migrated: AsyncEngine) -> None:
    """No schema comes with a migration alone."""
    async with migrated.connect() as connection:
        found = await connection.execute(
            text(
                "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN"
                " ('public', 'information_schema') ORDER BY nspname"
            )
        )
        assert list(found.scalars()) == SCHEMAS


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("ALTER TABLE a.things ALTER COLUMN count TYPE bigint", "column a.things.count bigint NOT NULL"),
        ("ALTER TABLE a.things ALTER COLUMN count DROP NOT NULL", "column a.things.count integer"),
        (
            "ALTER TABLE a.things ADD COLUMN name text COLLATE \"C\" NOT NULL DEFAULT ''",
            "column a.things.name text NOT NULL COLLATE \"C\" DEFAULT ''::text",
        ),
        (
            "ALTER TABLE a.things ADD CHECK (count > 0)",
            "constraint a.things.things_count_check CHECK ((count > 0))",
        ),
        ("DROP INDEX a.by_count", None),
        ("CREATE SEQUENCE a.numbers", "sequence a.numbers"),
    ],
)
async def test_a_difference_is_found(declared: AsyncEngine, change: str, told: str | None) -> None:
    """Every kind of change shows in the catalogue's lines, so the comparison can fail."""
    metadata = MetaData(schema="a")
    table = Table("things", metadata, Column("count", Integer, nullable=False))
    Index("by_count", table.c.count)
    await declare(declared, [metadata])
    before = await catalogue(declared, ["a"])
    async with declared.begin() as connection:
        await connection.execute(text(change))
    after = await catalogue(declared, ["a"])
    assert after != before
    assert told is None or told in after - before
