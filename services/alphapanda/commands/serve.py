"""`alphapanda serve SERVICE…`: some services in one process, on Kafka, PostgreSQL and Redis."""

from __future__ import annotations

from pathlib import Path

import click

from alphapanda.commands.console import PORT
from alphapanda.commands.mesh import config_option


@click.command()
@click.argument("services", nargs=-1, required=True, metavar="SERVICE…")
@click.option("--port", type=PORT, help="port to answer on  [default: the first service's in [mesh]]")
@click.option("--feed", default="sim", show_default=True, help="feed of marketdata")
@click.option(
    "--record",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="record marketdata's feed there, in a file a day; it is whole when the day is over or the process has ended",
)
@config_option
def serve(
    services: tuple[str, ...], port: int | None, feed: str, record: Path | None, config: Path | None
) -> None:
    """Run some services in one process: instruments marketdata strategy risk trading portfolio ops."""
    from alphapanda.commands.serving import run_serve

    run_serve(services=services, port=port, feed=feed, record=record, config=config)
