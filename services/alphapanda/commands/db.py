"""`alphapanda db`: the mesh's database."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from alphapanda.commands.console import fail, out, working
from alphapanda.commands.mesh import config_option, mesh_settings


@click.group()
def db() -> None:
    """The mesh's database."""


@db.command()
@config_option
def upgrade(config: Path | None) -> None:
    """Upgrade the database's schema."""
    from sqlalchemy.exc import SQLAlchemyError

    from alphapanda.app.prepare import upgrade_database
    from alphapanda.resilience.failures import in_one_line

    settings = mesh_settings(config, opens=["database"])
    try:
        with working("upgrading the database's schema"):
            before, after = asyncio.run(upgrade_database(settings))
    except (SQLAlchemyError, OSError) as error:
        fail(f"the database can't be upgraded: {in_one_line(error)}")
    out.print(f"schema at {after}" if before == after else f"schema from {before or 'nothing'} to {after}")


@db.command()
@click.option("--force", is_flag=True, help="also where database and Kafka agree")
@config_option
def restored(config: Path | None, *, force: bool) -> None:
    """Take over a database that was restored to an earlier time; every service is stopped.

    Nothing of the time that was taken back is decided again, and order events that were booked then are booked from the
    database. Every broker is halted until its orders, positions and cash are reconciled. Kafka's topics stay as they are.
    """
    from alphapanda.commands.taking_over import run_db_restored

    run_db_restored(mesh_settings(config, opens=("database",)), force=force)
