"""The database's schema: bringing it to date, and saying how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """Revision the database has (None: empty) and the one this program needs.

    Attributes:
        current: of the database.
        needed: by this program.
        foreign: this program doesn't know the database's: a newer program brought it there.
    """

    current: str | None
    needed: str
    foreign: bool

    @property
    def up_to_date(self) -> bool:
        """Whether they agree."""
        return self.current == self.needed


def migrations() -> Config:
    """Alembic's configuration. env.py reads `connection` from its attributes, and `tables` where it is to compare."""
    config = Config()
    config.set_main_option("script_location", str(files("alphapanda.storage") / "migrations"))
    return config


async def schema_version(engine: AsyncEngine) -> SchemaVersion:
    """How far the database is."""
    scripts = ScriptDirectory.from_config(migrations())
    known = {script.revision for script in scripts.walk_revisions()}

    def read(connection: Connection) -> str | None:
        return MigrationContext.configure(connection).get_current_revision()

    async with engine.connect() as connection:
        current = await connection.run_sync(read)
    return SchemaVersion(
        current, scripts.get_current_head() or "", foreign=current is not None and current not in known
    )


async def upgrade_schema(engine: AsyncEngine) -> None:
    """Brings the database to date; does nothing where it is."""

    def run(connection: Connection) -> None:
        config = migrations()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    async with engine.begin() as connection:
        await connection.run_sync(run)
