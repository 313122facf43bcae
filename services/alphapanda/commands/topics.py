"""`alphapanda topics`: the log's topics."""

from __future__ import annotations

import asyncio
import json
import os
from base64 import b64encode
from collections.abc import AsyncIterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from google.protobuf.json_format import MessageToDict

from alphapanda.commands.asking import Services, ask
from alphapanda.commands.console import USAGE, fail, out, refuse, working
from alphapanda.commands.finding import Target, target_option
from alphapanda.commands.mesh import config_option, mesh_settings
from alphapanda.domain.errors import InvalidInput, UnknownName
from panda.ops.v1.ops_pb2 import LogRecord, TailTopicRequest, TailTopicResponse

if TYPE_CHECKING:
    from alphapanda.settings.model import Settings

KAFKA: Final = ("kafka", "bootstrap_servers")


@click.group()
def topics() -> None:
    """The log's topics."""


@topics.command()
@config_option
def ensure(config: Path | None) -> None:
    """Create the topics that don't exist; say how existing ones differ; never shrink or delete.

    It ends once the leader of every partition answers, and says so where one doesn't within a minute.
    """
    from alphapanda.app.prepare import ensure_topics
    from alphapanda.eventlog.port import LogUnavailable

    settings = mesh_settings(config, opens=[])
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
@config_option
def tail(topic: str, start: str, limit: int, target: Target, config: Path | None) -> None:
    """Print a topic's records as JSON, one a line, and those that come; Ctrl-C ends it.

    Key and headers are text; `event` is the decoded value, `value` (base64) stands where it can't be decoded.

    From Kafka where the settings name one (kafka.bootstrap_servers); else, and wherever --target says, from the
    process that answers there.
    """
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
    settings = None if _is_named(target) else _naming_kafka(config)
    if settings is not None:
        _tail_kafka(settings, request)
        return

    async def followed(services: Services) -> None:
        await _print(services.ops.TailTopic(request))

    ask(target, followed)


def _tail_kafka(settings: Settings, request: TailTopicRequest) -> None:
    from alphapanda.app.tailing import tail_kafka
    from alphapanda.eventlog.port import LogUnavailable, TopicMissing

    try:
        asyncio.run(_print(tail_kafka(settings, request)))
    except UnknownName as unknown:
        fail(str(unknown), USAGE)
    except (LogUnavailable, TopicMissing) as away:
        fail(str(away))


def _is_named(target: Target) -> bool:
    """Whether --target was given."""
    return not target.mesh


def _naming_kafka(config: Path | None) -> Settings | None:
    """The settings where they set a Kafka address; None where it is the default."""
    from alphapanda.settings.sources import SettingsInvalid, read_settings

    try:
        read = read_settings(os.environ, config=config, dotenv=Path(".env"))
    except SettingsInvalid as error:
        refuse(error.problems)
    return read.settings if KAFKA in read.sources else None


async def _print(answers: AsyncIterable[TailTopicResponse]) -> None:
    async for answer in answers:
        click.echo(json.dumps(_readable(answer.record), ensure_ascii=False))


def _readable(record: LogRecord) -> dict[str, Any]:
    """A record as JSON: key and headers as text, the value as an event; as base64 where it is not an event."""
    shown: dict[str, Any] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "appendedAt": record.appended_at.ToJsonString(),
        "key": _text(record.key),
        "headers": {header.name: _text(header.value) for header in record.headers},
    }
    if record.HasField("event"):
        return shown | {"event": MessageToDict(record.event)}
    return shown | {"value": b64encode(record.value).decode()}


def _text(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace")
