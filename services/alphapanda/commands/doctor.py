"""`alphapanda doctor`: checks of everything a start needs."""

from __future__ import annotations

from pathlib import Path

import click

from alphapanda.commands.mesh import config_option


@click.command()
@click.option("--mesh", is_flag=True, help="check Kafka, PostgreSQL, Redis and the services of a mesh")
@click.option("--data-dir", type=click.Path(path_type=Path), help="of `alphapanda up`")
@click.option("--json", "as_json", is_flag=True, help="print the findings as JSON")
@config_option
def doctor(data_dir: Path | None, config: Path | None, *, mesh: bool, as_json: bool) -> None:
    """Check everything a start needs and change nothing; exit code 1 where it would not start."""
    from alphapanda.commands.examining import run_doctor

    run_doctor(data_dir=data_dir, config=config, mesh=mesh, as_json=as_json)
