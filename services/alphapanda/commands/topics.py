"""`alphapanda topics`: Kafka's topics."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from alphapanda.app.prepare import ensure_topics
from alphapanda.commands.console import fail, out, working
from alphapanda.commands.mesh import config_option, mesh_settings
from alphapanda.eventlog.port import LogUnavailable


@click.group()
def topics() -> None:
    """Kafka's topics."""


@topics.command()
@config_option
def ensure(config: Path | None) -> None:
    """Create the topics that don't exist; say how existing ones differ; never shrink or delete."""
    settings = mesh_settings(config)
    try:
        with working("creating topics"):
            count, differing = asyncio.run(ensure_topics(settings))
    except LogUnavailable as error:
        fail(str(error))
    out.print(f"{count} topics are there")
    for line in differing:
        out.print(line, style="yellow")
