"""The tables as declared and the tables as migrated are the same, by PostgreSQL's own catalogue."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import Column, Index, Integer, MetaData, Table, text
from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.app.tables import TABLES
from alphapanda.storage.engine import open_engine

SCHEMAS = sorted(str(metadata.schema) for metadata in TABLES)

# One line for each thing that a table is made of; the order of columns is nobody's business.
CATALOGUE = text(
    r"""
    WITH tables AS (
        SELECT c.oid, n.nspname || '.' || c.relname AS name, c.relkind, n.nspname AS schema
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = ANY(:schemas)
    )
    SELECT 'table ' || name FROM tables WHERE relkind = 'r'
    UNION ALL
    SELECT format('column %s.%s %s%s%s%s%s', name, a.attname, format_type(a.atttypid, a.atttypmod),
        CASE WHEN a.attnotnull THEN ' NOT NULL' END,
        CASE WHEN a.attcollation NOT IN (0, 100) THEN ' COLLATE ' || CAST(CAST(a.attcollation AS regcollation) AS text) END,
        CASE WHEN a.attidentity <> '' THEN ' IDENTITY ' || CAST(a.attidentity AS text) END,
        ' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid))
    FROM tables JOIN pg_attribute a ON a.attrelid = tables.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE relkind = 'r'
    UNION ALL
    SELECT format('constraint %s.%s %s', name, k.conname, pg_get_constraintdef(k.oid))
    FROM tables JOIN pg_constraint k ON k.conrelid = tables.oid WHERE k.contype <> 'n'
    UNION ALL
    SELECT format('index %s', pg_get_indexdef(i.indexrelid)) FROM tables JOIN pg_index i ON i.indrelid = tables.oid
    UNION ALL
    SELECT format('trigger %s', pg_get_triggerdef(t.oid))
    FROM tables JOIN pg_trigger t ON t.tgrelid = tables.oid WHERE NOT t.tgisinternal
    UNION ALL
    SELECT format('sequence %s', name) FROM tables WHERE relkind = 'S'
    UNION ALL
    SELECT format('function %s', regexp_replace(pg_get_functiondef(p.oid), '\s+', ' ', 'g'))
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = ANY(:schemas)
    """
)


async def catalogue(engine: AsyncEngine, schemas: Sequence[str] = SCHEMAS) -> set[str]:
    async with engine.connect() as connection:
        return set((await connection.execute(CATALOGUE, {"schemas": list(schemas)})).scalars())


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
    as_declared, as_migrated = await catalogue(declared), await catalogue(migrated)
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
