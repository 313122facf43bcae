"""`alphapanda restore`: makes a data directory from a backup."""

from __future__ import annotations

from pathlib import Path

import click

from alphapanda.commands.mesh import config_option


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="the data directory to make; it doesn't exist, or is empty",
)
@config_option
def restore(folder: Path, data_dir: Path | None, config: Path | None) -> None:
    """Make a data directory from the backup in DIR; each broker is halted until it was reconciled."""
    from alphapanda.commands.backing_up import run_restore

    run_restore(folder=folder, data_dir=data_dir, config=config)
