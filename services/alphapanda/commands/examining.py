"""`alphapanda doctor`: checks everything that a start needs, shows the findings."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click
from rich.table import Table
from rich.text import Text

from alphapanda.app.doctor import examine
from alphapanda.app.findings import Outcome
from alphapanda.app.options import logging_options
from alphapanda.commands.console import out, wide, working
from alphapanda.embedded.layout import default_data_directory
from alphapanda.settings.model import Settings
from alphapanda.settings.sources import SettingsInvalid, load_settings
from alphapanda.telemetry.logs import configure_logging

COLOURS: Final = {Outcome.OK: "green", Outcome.WARN: "yellow", Outcome.FAIL: "bold red"}


def run_doctor(data_dir: Path | None, config: Path | None, *, mesh: bool, as_json: bool) -> None:
    """Runs `alphapanda doctor`; exit code 1 where a start would fail."""
    settings: Settings | SettingsInvalid
    try:
        settings = load_settings(os.environ, config=config, dotenv=Path(".env"))
    except SettingsInvalid as error:
        settings, own = error, None
    else:
        own = settings.embedded.data_dir
        configure_logging(
            logging_options(settings.logging), None
        )  # errors that libraries log about unreachable addresses are findings already
    folder = data_dir or own or default_data_directory(os.environ, Path.home())
    with working("checking everything a start needs"):
        findings = asyncio.run(examine(settings, folder.expanduser(), mesh=mesh))
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        table = Table("check", "", "found", "what to do", box=None, pad_edge=False)
        for one in findings:
            style = COLOURS[one.outcome]
            table.add_row(one.name, Text(one.outcome, style), Text(one.reason), Text(one.remedy))
        (out if out.is_terminal else wide).print(table)
    raise SystemExit(any(finding.outcome is Outcome.FAIL for finding in findings))
