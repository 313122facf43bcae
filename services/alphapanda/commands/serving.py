"""`alphapanda serve`: starts services in one process, stops them at Ctrl-C."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import structlog

from alphapanda.app.descriptors import TooFewDescriptors
from alphapanda.app.options import logging_options
from alphapanda.app.serve import NotReady, Serving
from alphapanda.commands.console import USAGE, fail
from alphapanda.commands.mesh import mesh_settings
from alphapanda.commands.start_checks import show_checks
from alphapanda.commands.stopping import started, stopped
from alphapanda.domain.calendar import CalendarNotCovered
from alphapanda.domain.errors import InvalidInput
from alphapanda.eventlog.port import LogUnavailable
from alphapanda.mesh.server import PortInUse
from alphapanda.settings.model import Settings
from alphapanda.telemetry.logs import configure_logging
from alphapanda.telemetry.uncaught import log_uncaught

_log = structlog.get_logger(__name__)


def run_serve(
    services: tuple[str, ...], port: int | None, feed: str, record: Path | None, config: Path | None
) -> None:
    """Runs `alphapanda serve` until Ctrl-C; an error at the start ends it with one line."""
    settings = mesh_settings(config)
    logs, label = settings.logging, "-".join(services)
    # A folder for each process, because each rotates its own files.
    folder = None if logs.folder is None else logs.folder / label
    if not logs.console and folder is None:
        fail("logging.console: false is not allowed; true, or a folder of log files in logging.folder", USAGE)
    configure_logging(logging_options(logs), sys.stdout, service=label)
    log_uncaught()
    try:
        configure_logging(logging_options(logs), sys.stdout, folder, label)
        asyncio.run(_serve(settings, services, port, feed, record))
    except (
        NotReady,
        PortInUse,
        TooFewDescriptors,
        InvalidInput,
        CalendarNotCovered,
        LogUnavailable,
    ) as error:
        _log.error("process.start_failed", error=str(error))
        fail(str(error))


async def _serve(
    settings: Settings, services: tuple[str, ...], port: int | None, feed: str, record: Path | None
) -> None:
    first = next((name for name in services if name != "ops"), None)
    chosen = port if port is not None else _port_of(settings, first)
    serving = Serving(settings, services, chosen, feed, record, show_checks)
    asked = await started(serving.start())
    if asked is None:
        return
    _log.info("process.ready", target=f"{settings.api.host}:{chosen}", services=list(services))
    try:
        await asked
    finally:
        await stopped(serving.stop(), lambda: serving.ending)
        _log.info("process.stopped")


def _port_of(settings: Settings, service: str | None) -> int:
    if service is None:
        return settings.api.port
    if service not in type(settings.mesh).model_fields:
        return settings.api.port
    return int(settings.mesh.target(service).rpartition(":")[2])
