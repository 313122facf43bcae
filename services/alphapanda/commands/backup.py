"""`alphapanda backup`: writes a backup of a data directory."""

from __future__ import annotations

from pathlib import Path

import click

from alphapanda.commands.mesh import config_option


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--data-dir", type=click.Path(path_type=Path), help="of `alphapanda up`, running or stopped")
@config_option
def backup(folder: Path, data_dir: Path | None, config: Path | None) -> None:
    """Write database and event log of one moment to DIR, which doesn't exist yet or is empty."""
    from alphapanda.commands.backing_up import run_backup

    run_backup(folder=folder, data_dir=data_dir, config=config)
