"""`alphapanda topics`: the log's topics."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
from google.protobuf.json_format import MessageToJson

from alphapanda.app.prepare import ensure_topics
from alphapanda.commands.asking import Services, ask
from alphapanda.commands.console import USAGE, fail, out, working
from alphapanda.commands.finding import Target, target_option
from alphapanda.commands.mesh import config_option, mesh_settings
from alphapanda.domain.errors import InvalidInput
from alphapanda.eventlog.port import LogUnavailable
from panda.ops.v1.ops_pb2 import TailTopicRequest


@click.group()
def topics() -> None:
    """The log's topics."""


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


@topics.command()
@click.argument("topic")
@click.option("--from", "start", default="end", show_default=True, help="beginning, end, or an offset")
@click.option("--limit", type=click.IntRange(0), default=0, help="records to print  [default: all that come]")
@target_option
def tail(topic: str, start: str, limit: int, target: Target) -> None:
    """Print a topic's records as JSON, one a line, and those that come; Ctrl-C ends it."""
    request = TailTopicRequest(topic=topic, limit=limit)
    match start:
        case "beginning":
            request.beginning = True
        case "end":
            request.ClearField("start")
        case _ if start.isdecimal():
            request.offset = int(start)
        case _:
            fail(str(InvalidInput("--from", start, "allowed: beginning, end, or an offset")), USAGE)

    async def followed(services: Services) -> None:
        async for answer in services.ops.TailTopic(request):
            click.echo(MessageToJson(answer.record, indent=None))

    ask(target, followed)
