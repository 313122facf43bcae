"""`alphapanda trace`: the story of one order, from rows and topics alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from alphapanda.commands.asking import Services, ask, asks
from alphapanda.commands.console import USAGE, fail, out, wide
from alphapanda.commands.finding import Target
from alphapanda.commands.story.drawing import as_object, picture
from alphapanda.commands.story.facts import Facts, parsed_id
from alphapanda.commands.story.gathering import Gathering
from alphapanda.commands.story.telling import told
from alphapanda.commands.wording import count
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.ids import trace_id


@click.command()
@click.argument("traced", metavar="ID")
@asks
def trace(traced: str, target: Target, *, as_json: bool) -> None:
    """Tell what happened to an order, from the market data that caused it to its ledger entries, and why.

    ID is the id of an order, a signal, a fill, an event, a correlation id, or a trace id (32 hexadecimal digits); which
    of them is found out. It needs no Jaeger: the services' rows and the event log are asked.
    """
    try:
        asked = parsed_id(traced)
    except InvalidInput as error:
        fail(str(error), USAGE)

    async def question(services: Services) -> tuple[str, Facts]:
        gathering = Gathering(services)
        correlation_id = await gathering.named(asked)
        if correlation_id:
            await gathering.chain(correlation_id)
        return correlation_id, gathering.facts

    correlation_id, facts = ask(target, question)
    if not correlation_id:
        fail(_nothing_names(asked, facts))
    story = told(facts, correlation_id, asked)
    link = _link(correlation_id)
    if as_json:
        click.echo(json.dumps(as_object(story, facts, asked, link), indent=2, ensure_ascii=False))
    else:
        (out if out.is_terminal else wide).print(picture(story, facts, link))


def _nothing_names(asked: str, facts: Facts) -> str:
    if facts.missing and not facts.examined:
        return f"{asked} can't be looked up: {'; '.join(facts.missing)}"
    unknown = "; not all could be asked: " + "; ".join(facts.missing) if facts.missing else ""
    return (
        f"nothing names {asked}: looked for an order, signal, fill, event and correlation id in the rows of trading,"
        f" risk and the audit, and in {count(facts.examined)} records of the event log{unknown}"
    )


def _link(correlation_id: str) -> str:
    """The trace's page in Jaeger; empty where the settings name no Jaeger."""
    from alphapanda.settings.sources import SettingsInvalid, load_settings

    try:
        url = load_settings(os.environ, dotenv=Path(".env")).telemetry.jaeger_url
    except SettingsInvalid:  # --target was given: whatever is wrong with the settings is no matter here
        return ""
    return f"{url.rstrip('/')}/trace/{trace_id(correlation_id)}" if url else ""
