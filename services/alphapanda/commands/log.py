"""`alphapanda log`: the event log of a data directory."""

from __future__ import annotations

from pathlib import Path

import click

from alphapanda.commands.mesh import config_option


@click.group()
def log() -> None:
    """Repair the event log of a data directory."""


@log.command("repair")
@click.option("--data-dir", type=click.Path(path_type=Path), help="of `alphapanda up`, which is stopped")
@click.option("--force", is_flag=True, help="write a new log also where nothing is wrong with the old one")
@config_option
def repair(data_dir: Path | None, config: Path | None, *, force: bool) -> None:
    """Rebuild a missing or damaged event log from the database and from what can be read of it.

    The books stay as they are, and nothing is decided twice. The old log is kept beside the new one. Every broker is halted
    until it was reconciled.
    """
    from alphapanda.commands.repairing import run_log_repair

    run_log_repair(data_dir=data_dir, config=config, force=force)
