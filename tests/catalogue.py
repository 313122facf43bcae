"""PostgreSQL's own catalogue as lines, so that two databases can be compared."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

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


async def catalogue(engine: AsyncEngine, schemas: Sequence[str]) -> set[str]:
    """The lines of some schemas."""
    async with engine.connect() as connection:
        return set((await connection.execute(CATALOGUE, {"schemas": list(schemas)})).scalars())
