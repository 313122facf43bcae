"""Shows, checks and imports calendars for `alphapanda calendar`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import click
from rich.table import Table
from rich.text import Text

from alphapanda.app import clocks
from alphapanda.app.calendars import (
    calendar_with,
    ending,
    open_calendar,
    own_calendar_file,
    usual_data_directory,
)
from alphapanda.app.own_calendar import place_own_calendar
from alphapanda.commands.console import USAGE, fail, out, refuse, wide
from alphapanda.domain.calendar import TradingCalendar, load_nse_calendar
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.embedded.errors import DataDirectoryError
from alphapanda.settings.sources import SettingsInvalid, load_settings

DAYS_SHOWN: Final = 30
MOST_DAYS: Final = 20_000
MOST_CHANGES: Final = 40
COMPARED: Final = "NSE_EQ"
UNSURE: Final = frozenset({"disputed", "provisional", "single"})


def show_days(
    first: str | None,
    last: str | None,
    segment: str,
    data_dir: Path | None,
    config: Path | None,
    *,
    special: bool,
    as_json: bool,
) -> None:
    """Prints the days of a period."""
    try:
        settings = load_settings(os.environ, config=config, dotenv=Path(".env"))
        folder = data_dir or usual_data_directory(settings)
        calendar = open_calendar(settings, folder)
        today = clocks.today()
        begins = _day(first, "--from") or today
        ends = _day(last, "--to") or begins + timedelta(days=DAYS_SHOWN)
        _require_period(begins, ends)
        if segment not in calendar.segments:
            _refuse_segment(segment, calendar)
        rows = [row for row in _rows(calendar, begins, ends, segment) if not special or not _plain(row)]
    except SettingsInvalid as error:
        refuse(error.problems)
    except InvalidInput as error:
        fail(str(error), USAGE)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table("day", "", "sessions (IST)", "what", "sureness", "source", box=None, pad_edge=False)
    for row in rows:
        style = "yellow" if row["sureness"] in UNSURE else ("dim" if row["sessions"] == "closed" else None)
        table.add_row(*(Text(str(row[name])) for name in row), style=style)
    (out if out.is_terminal else wide).print(table)
    said = [*calendar.caveats(begins, ends), ending(calendar, today, settings.calendar.warn_days)]
    own = own_calendar_file(settings, folder)
    for line in (*said, f"with {own}" if own else None):
        if line:
            out.print(line, markup=False, soft_wrap=True)


def check_file(file: Path) -> None:
    """Prints what a calendar file changes; ends with exit code 2 where it is wrong."""
    for line in _changes(_checked(file)):
        out.print(line, markup=False, soft_wrap=True)


def import_file(file: Path, data_dir: Path | None, config: Path | None) -> None:
    """Checks a calendar file and copies it to where the next start reads it."""
    changes = list(_changes(_checked(file)))
    content = file.read_bytes()
    try:
        settings = load_settings(os.environ, config=config, dotenv=Path(".env"))
        target = place_own_calendar(settings, data_dir, content)
    except SettingsInvalid as error:
        refuse(error.problems)
    except (DataDirectoryError, OSError) as error:
        fail(f"the calendar can't be put in its place: {error}")
    for line in changes:
        out.print(line, markup=False, soft_wrap=True)
    out.print(
        f"imported into {target}: `alphapanda doctor` and replays use it now, a running platform from its next start on",
        markup=False,
        soft_wrap=True,
    )


def _checked(file: Path) -> TradingCalendar:
    try:
        return calendar_with(file)
    except InvalidInput as error:
        fail(str(error), USAGE)


def _changes(calendar: TradingCalendar) -> Iterator[str]:
    """What the calendar has otherwise than the shipped one, in lines for people."""
    shipped = load_nse_calendar()
    last = shipped.last_covered_day
    yield (
        f"the calendar covers {calendar.covered[0].first} to {calendar.last_covered_day}"
        f"{'' if calendar.last_covered_day == last else f' (the shipped one ends {last})'}"
    )
    changed = []
    for row in _rows(calendar, calendar.first_covered_day, calendar.last_covered_day, COMPARED):
        day = date.fromisoformat(row["day"])
        before = _sessions(shipped, day, COMPARED) if shipped.covers(day) else None
        own = row["sureness"] == "own file" and row["what"] not in {"weekday", "weekend"}
        if own or (before is not None and before != row["sessions"]):
            was = f" (was: {before})" if before not in {None, row["sessions"]} else ""
            changed.append(f"{row['day']} {row['weekday']}: {row['sessions']}, {row['what']}{was}")
    yield from changed[:MOST_CHANGES]
    if len(changed) > MOST_CHANGES:
        yield f"and {len(changed) - MOST_CHANGES} more days"


def _rows(calendar: TradingCalendar, first: date, last: date, segment: str) -> Iterator[dict[str, Any]]:
    day = first
    while day <= last:
        row = {"day": str(day), "weekday": f"{day:%a}"}
        if calendar.covers(day):
            note = calendar.note(day, segment)
            sessions = _sessions(calendar, day, segment)
            yield row | {
                "sessions": sessions,
                "what": note.name,
                "sureness": note.sureness.value,
                "source": note.source,
            }
        else:
            yield row | {"sessions": "unknown", "what": "not in the calendar", "sureness": "", "source": ""}
        day += timedelta(days=1)


def _sessions(calendar: TradingCalendar, day: date, segment: str) -> str:
    sessions = calendar.sessions(day, segment)
    return ", ".join(f"{one.open:%H:%M}-{one.close:%H:%M}" for one in sessions) or "closed"


def _plain(row: dict[str, Any]) -> bool:
    return row["what"] in {"weekday", "weekend"} and row["sureness"] not in {"disputed", "provisional"}


def _refuse_segment(segment: str, calendar: TradingCalendar) -> None:
    raise UnknownName("--segment", segment, calendar.segments)


def _require_period(begins: date, ends: date) -> None:
    if not begins <= ends < begins + timedelta(days=MOST_DAYS):
        raise InvalidInput("--to", ends, f"a day from {begins} on, at most {MOST_DAYS} days after it")


def _day(text: str | None, option: str) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidInput(option, text, "a day as YYYY-MM-DD") from None
