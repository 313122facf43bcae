"""Drafts the next migration: what the declared tables have and a database brought to date lacks, or the other way.

`make migration WHY="..."` runs it on a PostgreSQL of its own. It is a draft: Alembic sees tables, columns, types,
indexes, unique constraints and foreign keys, and neither checks nor triggers nor what becomes of rows.
tests/integration/storage/test_tables.py says when the migration is complete.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from alembic import command
from sqlalchemy import Connection

from alphapanda.app.tables import TABLES
from alphapanda.embedded.directory import DataDirectory
from alphapanda.embedded.postgres import EmbeddedPostgres
from alphapanda.storage.engine import open_engine
from alphapanda.storage.schema import migrations, schema_version, upgrade_schema


async def draft(folder: Path, why: str) -> None:
    """Writes the migration; Alembic says where. `folder` is a data directory for the time it takes."""
    server = EmbeddedPostgres(folder)
    url = await server.start()
    try:
        engine = open_engine(url, 1)
        await upgrade_schema(engine)
        newest = (await schema_version(engine)).needed

        def write(connection: Connection) -> None:
            config = migrations()
            config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
            config.attributes.update(connection=connection, tables=TABLES)
            number = f"{int(newest) + 1:04}"
            command.revision(config, why, autogenerate=True, rev_id=number)

        async with engine.connect() as connection:
            await connection.run_sync(write)
        await engine.dispose()
    finally:
        await server.stop()


def main() -> int:
    """Drafts, or says what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--why", required=True, help="what the migration does, in one sentence")
    why = re.sub(r"\s+", " ", parser.parse_args().why).strip()
    if not why:
        sys.exit('say what it does: make migration WHY="..."')
    with tempfile.TemporaryDirectory(prefix="panda-") as folder:
        directory = DataDirectory(Path(folder))
        directory.acquire(datetime.now(tz=UTC))
        try:
            asyncio.run(draft(directory.path, why))
        finally:
            directory.release()
    return 0


if __name__ == "__main__":
    sys.exit(main())
