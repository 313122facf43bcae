"""`alphapanda log repair`: looks at the event log, repairs it, says what was done."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NoReturn

import structlog
from sqlalchemy.exc import SQLAlchemyError

from alphapanda.app.clocks import wall_clock
from alphapanda.app.log_check import what_is_wrong
from alphapanda.app.log_repair import Repaired, repair_log
from alphapanda.app.options import logging_options
from alphapanda.app.stopped import stopped_platform
from alphapanda.commands.console import err, fail, out, refuse, warn
from alphapanda.embedded.errors import EmbeddedError
from alphapanda.embedded.layout import Layout, default_data_directory
from alphapanda.eventlog.port import LogUnavailable
from alphapanda.resilience.failures import in_one_line
from alphapanda.settings.model import Settings
from alphapanda.settings.sources import SettingsInvalid, load_settings
from alphapanda.telemetry.logs import configure_logging

RECONCILE = (
    "each broker is halted until its orders, positions and cash are reconciled: the next start does that for paper,"
    " `alphapanda reconcile --broker BROKER` for a live broker"
)
_log = structlog.get_logger(__name__)


def run_log_repair(data_dir: Path | None, config: Path | None, *, force: bool) -> None:
    """Runs `alphapanda log repair`; exit code 1 with one line where it can't."""
    settings, folder = settings_and_folder(data_dir, config)
    run_on_stopped(_repair(settings, folder, force=force), settings, folder)


def settings_and_folder(data_dir: Path | None, config: Path | None) -> tuple[Settings, Path]:
    """Loads the settings and finds the data directory; invalid settings end the command."""
    try:
        settings = load_settings(os.environ, config=config, dotenv=Path(".env"))
    except SettingsInvalid as error:
        refuse(error.problems)
    folder = data_dir or settings.embedded.data_dir or default_data_directory(os.environ, Path.home())
    return settings, folder.expanduser().resolve()


def run_on_stopped(work: Coroutine[Any, Any, None], settings: Settings, folder: Path) -> None:
    """Runs what works on a data directory; a failure ends the command with one line."""
    layout = Layout(folder)
    configure_logging(logging_options(settings.logging), None, layout.logs if layout.logs.exists() else None)
    try:
        asyncio.run(work)
    except (EmbeddedError, LogUnavailable) as error:
        _ended(str(error))
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        _ended(in_one_line(error))


def progress(text: str) -> None:
    """Says on a terminal what is being done."""
    if err.is_terminal:
        err.print(f"[dim]{text} …[/dim]")


def _ended(error: str) -> NoReturn:
    _log.error("command.failed", error=error)
    fail(error)


async def _repair(settings: Settings, folder: Path, *, force: bool) -> None:
    if not Layout(folder).postgres_cluster.exists():
        fail(f"{folder} has no database to rebuild a log from; name the data directory with --data-dir")
    async with stopped_platform(settings, folder, progress) as platform:
        why = await what_is_wrong(platform.layout, platform.engine, platform.topic_map)
        if not why and not force:
            out.print(f"nothing is wrong with {platform.layout.events}", markup=False, soft_wrap=True)
            return
        progress("reading the log and the database")
        repaired = await repair_log(
            platform.layout, platform.engine, platform.topic_map, "the event log was repaired", wall_clock()
        )
    _log.info("event_log.repaired", reason=why, salvaged=repaired.salvaged, unreadable=repaired.unreadable)
    _say(platform.layout, why or "it was asked for", repaired)


def _say(layout: Layout, why: str, repaired: Repaired) -> None:
    again = f"{repaired.published_again} events are published again from the database at the next start"
    lines = [
        f"rebuilt {layout.events}, because {why}",
        f"{repaired.salvaged} records taken over, {repaired.unreadable} unreadable; {again}",
    ]
    if repaired.kept_as is not None:
        lines.append(f"the old log is kept as {repaired.kept_as}")
    for line in lines:
        out.print(line, markup=False, soft_wrap=True)
    for payload, events in repaired.left_out.items():
        some = ", ".join(events[:3]) + (" …" if len(events) > 3 else "")  # noqa: PLR2004
        warn(f"{len(events)} events {payload} were left out, which the database never decided: {some}")
    out.print(RECONCILE, markup=False, soft_wrap=True)
