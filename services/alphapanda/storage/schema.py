"""Migrates the database's schema, and reads its revision."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """The schema's revision in the database, and the one that this program needs.

    Attributes:
        current: the database's; None where it is empty.
        needed: this program's.
        foreign: whether this program doesn't know the database's, because a newer program migrated it.
    """

    current: str | None
    needed: str
    foreign: bool

    @property
    def up_to_date(self) -> bool:
        """Whether the database has the needed revision."""
        return self.current == self.needed


def migrations() -> Config:
    """Returns Alembic's configuration. env.py reads `connection` from its attributes, and `tables` for a comparison."""
    config = Config()
    config.set_main_option("script_location", str(files("alphapanda.storage") / "migrations"))
    return config


async def schema_version(engine: AsyncEngine) -> SchemaVersion:
    """Reads the database's revision."""
    known, head = _revisions()

    def read(connection: Connection) -> str | None:
        return MigrationContext.configure(connection).get_current_revision()

    async with engine.connect() as connection:
        current = await connection.run_sync(read)
    return SchemaVersion(current, head, foreign=current is not None and current not in known)


@lru_cache(maxsize=1)
def _revisions() -> tuple[frozenset[str], str]:
    """All of this program's revisions, and the newest; each is a file that is read."""
    scripts = ScriptDirectory.from_config(migrations())
    return frozenset(script.revision for script in scripts.walk_revisions()), scripts.get_current_head() or ""


async def upgrade_schema(engine: AsyncEngine) -> None:
    """Migrates the database to the newest revision; does nothing where it has it."""

    def run(connection: Connection) -> None:
        config = migrations()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    async with engine.begin() as connection:
        await connection.run_sync(run)
