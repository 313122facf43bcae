"""Settings of the mesh's commands."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from alphapanda.commands.console import USAGE, fail, refuse, warn

if TYPE_CHECKING:
    from alphapanda.settings.model import Settings

config_option = click.option("--config", type=click.Path(path_type=Path), help="TOML file with settings")


STORES: Final = ("database", "redis")
"""Stores whose address has no default; every service opens both."""


def mesh_settings(config: Path | None, opens: Sequence[str] = STORES) -> Settings:
    """Loads the settings of a mesh; without the URL of a store that it opens the command ends.

    Args:
        config: TOML file with settings.
        opens: of STORES, those that the command opens.
    """
    from alphapanda.settings.sources import SettingsInvalid, read_settings

    try:
        read = read_settings(os.environ, config=config, dotenv=Path(".env"))
    except SettingsInvalid as error:
        refuse(error.problems)
    for note in read.notes:
        warn(note)
    settings = read.settings
    for name, url in (("database", settings.database.url), ("redis", settings.redis.url)):
        if name in opens and not url:
            fail(f"setting {name}.url is empty; the mesh needs one (ALPHAPANDA_{name.upper()}__URL)", USAGE)
    return settings
