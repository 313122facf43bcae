"""`alphapanda doctor`: checks everything that a start on this machine needs, one by one. Changes nothing."""

from __future__ import annotations

import asyncio
import platform
import shutil
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from alphapanda.app.calendars import REMEDY, ending, open_calendar, own_calendar_file
from alphapanda.app.clocks import wall_clock
from alphapanda.app.doctor_kite import feed_findings, instruments_finding, kite_findings, session_findings
from alphapanda.app.doctor_mesh import mesh_findings
from alphapanda.app.doctor_running import running_findings
from alphapanda.app.doctor_tls import auth_finding, security_for_questions, tls_findings
from alphapanda.app.findings import Finding, Outcome, fail, found, ok, warn
from alphapanda.app.log_check import log_finding
from alphapanda.domain.errors import InvalidInput
from alphapanda.embedded.directory import DataDirectory
from alphapanda.embedded.errors import DataDirectoryError, DataDirectoryInUseError
from alphapanda.embedded.layout import Layout
from alphapanda.embedded.postgres_programs import postgres_program
from alphapanda.embedded.redis import redis_program
from alphapanda.settings.model import Settings
from alphapanda.settings.serving import ApiSettings
from alphapanda.settings.sources import SettingsInvalid

OLDEST_PYTHON: Final = (3, 11)
GIGABYTE: Final = 10**9
LEAST_FREE: Final = GIGABYTE // 2
COMFORTABLE_FREE: Final = 5 * GIGABYTE


async def examine(settings: Settings | SettingsInvalid, data_dir: Path, *, mesh: bool) -> list[Finding]:
    """Runs all checks, in the order in which a start needs them; of a running platform, checks what runs.

    Args:
        settings: the settings, or their errors; then checks that depend on settings are left out.
        data_dir: data directory of `alphapanda up`.
        mesh: check Kafka, PostgreSQL, Redis and the services of the mesh instead of the embedded ones.
    """
    findings = [python_finding(), *settings_findings(settings), calendar_finding(settings, data_dir)]
    if not isinstance(settings, SettingsInvalid):
        findings += [*tls_findings(settings), auth_finding(settings, Layout(data_dir))]
        findings += await kite_findings(settings)
        findings += await instruments_finding(settings, wall_clock())
    if mesh:
        return findings + ([] if isinstance(settings, SettingsInvalid) else await mesh_findings(settings))
    if not isinstance(settings, SettingsInvalid):
        place = list(place_findings(data_dir, settings.api))
        findings += place
        if place[0].outcome is Outcome.OK:  # a log in use is locked
            findings.append(await asyncio.to_thread(log_finding, data_dir))
    findings.append(disk_finding(data_dir))
    holder = holder_of(data_dir)
    if holder is not None and not isinstance(settings, SettingsInvalid):
        security = security_for_questions(settings, Layout(data_dir))
        findings += await running_findings(settings.api.host, holder.port, holder.pid, security)
        if holder.port is not None:
            at = f"{settings.api.host}:{holder.port}"
            findings += await session_findings(settings, at, security.own)
            findings += await feed_findings(at, security.own)
        return findings
    starts = await asyncio.gather(_starts("PostgreSQL"), _starts("Redis"))
    return [*findings, *(finding for each in starts for finding in each)]


def python_finding() -> Finding:
    """Checks the version of Python."""
    version = platform.python_version()
    if sys.version_info < OLDEST_PYTHON:
        return fail("python", f"{version}", "install Python 3.11 or later")
    return ok("python", version)


def settings_findings(settings: Settings | SettingsInvalid) -> list[Finding]:
    """Checks the settings; one finding for each error."""
    if isinstance(settings, SettingsInvalid):
        remedy = "correct it in the environment, .env or TOML file; .env.example lists every setting"
        return [fail("settings", problem, remedy) for problem in settings.problems]
    return [ok("settings", "valid")]


def calendar_finding(settings: Settings | SettingsInvalid, data_dir: Path) -> Finding:
    """Checks the calendar as the next start will have it: the user's own file, whether it covers today, when it ends."""
    valid = Settings() if isinstance(settings, SettingsInvalid) else settings
    own = own_calendar_file(valid, data_dir)
    try:
        calendar = open_calendar(valid, data_dir)
    except InvalidInput as error:
        return fail("calendar", str(error), "correct the file; `alphapanda calendar check FILE` checks it")
    today = calendar.trading_day(wall_clock())
    theirs = f", with {own}" if own is not None else ""
    if not calendar.covers(today):
        reason = f"doesn't cover {today}{theirs}; a real-time feed can't tell whether the exchange trades"
        return warn("calendar", reason, REMEDY)
    said = ending(calendar, today, valid.calendar.warn_days)
    if said is not None:
        return warn("calendar", f"knows {today}{theirs}; {said}", REMEDY)
    return ok("calendar", f"knows {today}{theirs}; up to {calendar.last_announced_day}")


def holder_of(data_dir: Path) -> DataDirectoryInUseError | None:
    """Returns which process uses the data directory; None where none does."""
    try:
        DataDirectory(data_dir).examine()
    except DataDirectoryInUseError as held:
        return held
    except DataDirectoryError:
        return None
    return None


def place_findings(data_dir: Path, api: ApiSettings) -> Iterable[Finding]:
    """Checks the data directory and the port; a running platform may hold both."""
    holder: DataDirectoryInUseError | None = None
    directory = DataDirectory(data_dir)
    try:
        directory.examine()
    except DataDirectoryInUseError as held:
        holder = held
        reason = f"{directory.path} is held by process {held.pid or '?'}"
        yield warn(
            "data directory", reason, "stop it before a second start, or choose another with --data-dir"
        )
    except DataDirectoryError as error:
        yield fail("data directory", str(error), "choose another with --data-dir")
    else:
        yield ok("data directory", f"{directory.path} is free")
    yield _port_finding(api, holder)


def _port_finding(api: ApiSettings, holder: DataDirectoryInUseError | None) -> Finding:
    if api.port == 0:
        return ok("port", "a free one is taken")
    if holder is not None and holder.port == api.port:
        return ok("port", f"{api.port} is answered by process {holder.pid}, which holds the data directory")
    try:
        socket.create_server((api.host, api.port)).close()
    except OSError as error:
        return fail(
            "port",
            f"{api.host}:{api.port} can't be bound ({error.strerror})",
            "stop what listens there or choose another api.port",
        )
    return ok("port", f"{api.host}:{api.port} is free")


def disk_finding(data_dir: Path) -> Finding:
    """Checks the free space of the data directory's disk."""
    expanded = data_dir.expanduser().resolve()
    there = next(place for place in (expanded, *expanded.parents) if place.exists())
    free = shutil.disk_usage(there).free
    reason = f"{free / GIGABYTE:.1f} GB free below {there}"
    remedy = "free some space, or choose another disk with --data-dir"
    if free < LEAST_FREE:
        return fail("disk space", reason, remedy)
    return warn("disk space", reason, remedy) if free < COMFORTABLE_FREE else ok("disk space", reason)


async def _starts(name: str) -> list[Finding]:
    """Checks whether an embedded server's program runs on this machine, by asking for its version."""

    async def look() -> list[Finding]:
        program = postgres_program() if name == "PostgreSQL" else redis_program()
        process = await asyncio.create_subprocess_exec(
            program, "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await process.communicate()
        line = output.decode(errors="replace").strip().partition("\n")[0]
        if process.returncode:
            return [fail(name, f"{program} ended with status {process.returncode}: {line}", remedy)]
        return [ok(name, line)]

    remedy = "install alphapanda[embedded] for this machine's kind of processor"
    return await found(name, look, remedy)
