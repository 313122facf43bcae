"""`alphapanda settings`: the value of every setting, and its source."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.table import Table
from rich.text import Text

from alphapanda.commands.console import out, refuse, warn, wide
from alphapanda.commands.mesh import config_option

if TYPE_CHECKING:
    from alphapanda.settings.sources import SettingsRead

HIDDEN: Final = "(set, not shown)"


@click.command()
@click.option("--env-example", "example", is_flag=True, help="print .env.example: every setting, its default")
@click.option("--json", "as_json", is_flag=True, help="print them as JSON")
@config_option
def settings(config: Path | None, *, example: bool, as_json: bool) -> None:
    """Show the value of every setting here, and its source: default, TOML file, .env or environment."""
    from alphapanda.settings.catalogue import env_example
    from alphapanda.settings.sources import DEFAULT, SettingsInvalid, read_settings

    if example:
        click.echo(env_example(), nl=False)
        return
    try:
        read = read_settings(os.environ, config=config, dotenv=Path(".env"))
    except SettingsInvalid as error:
        refuse(error.problems)
    for note in read.notes:
        warn(note)
    rows = list(_rows(read))
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table("setting", "value", "source", box=None, pad_edge=False)
    for row in rows:
        style = None if row["source"] == DEFAULT else "bold"
        table.add_row(row["name"], Text(row["value"]), Text(row["source"]), style=style)
    (out if out.is_terminal else wide).print(table)


def _rows(read: SettingsRead) -> Iterator[dict[str, Any]]:
    from alphapanda.settings.catalogue import catalogue, value_text
    from alphapanda.settings.sources import DEFAULT

    for setting in catalogue():
        value: Any = read.settings
        for step in setting.place:
            value = getattr(value, step)
        text = value_text(value)
        yield {
            "name": setting.name,
            "variable": setting.variable,
            "value": HIDDEN if setting.secret and text else text,
            "source": read.sources.get(setting.place, DEFAULT),
            "description": setting.description,
            "allowed": setting.allowed,
        }
