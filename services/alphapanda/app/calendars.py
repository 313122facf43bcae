"""The trading calendar of a process: the shipped one, the user's own days over it, and how long it lasts."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

import structlog

from alphapanda.app import clocks
from alphapanda.domain.calendar import TradingCalendar, parse_calendar, shipped_calendar
from alphapanda.domain.calendar_overlay import overlaid
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.session import CalendarNotCovered
from alphapanda.embedded.layout import default_data_directory
from alphapanda.resilience.rounds import Rounds
from alphapanda.settings.model import Settings

_log = structlog.get_logger(__name__)

OWN_FILE: Final = "calendar.toml"
"""Name of the user's own calendar in the data directory."""
SIMULATED_YEARS: Final = 5
WATCH_SECONDS: Final = 3600.0
LARGEST_FILE: Final = 1_000_000
REMEDY: Final = (
    "import the exchange's new holidays with `alphapanda calendar import FILE`, install a newer version, or set"
    " calendar.provisional_weekdays"
)


def usual_data_directory(settings: Settings) -> Path:
    """The data directory of a command that isn't given one."""
    usual = settings.embedded.data_dir or default_data_directory(os.environ, Path.home())
    return usual.expanduser()


def own_calendar_file(settings: Settings, data_dir: Path | None) -> Path | None:
    """The user's own calendar: the setting's file, else calendar.toml in the data directory; None if there is none."""
    if settings.calendar.file is not None:
        return settings.calendar.file.expanduser()
    if data_dir is not None and (data_dir / OWN_FILE).exists():
        return data_dir / OWN_FILE
    return None


def open_calendar(
    settings: Settings, data_dir: Path | None, simulated_from: date | None = None
) -> TradingCalendar:
    """Opens the calendar of a process.

    Args:
        settings: the settings; `calendar.*` are read.
        data_dir: the data directory, which may have a calendar of the user's own; None in a mesh.
        simulated_from: today, for a simulated feed: weekdays beyond the calendar are trading days for it.

    Raises:
        InvalidInput: the user's file can't be read, or an entry of it is wrong.
    """
    own = own_calendar_file(settings, data_dir)
    calendar = calendar_with(own) if own is not None else parse_calendar(shipped_calendar())
    last = calendar.last_covered_day
    until = last
    if settings.calendar.provisional_weekdays:
        until = date(last.year + 1, 12, 31)
    if simulated_from is not None:
        until = max(until, date(max(last, simulated_from).year + SIMULATED_YEARS, 12, 31))
    return calendar.with_provisional(until)


def calendar_with(file: Path) -> TradingCalendar:
    """The shipped calendar with the days of a user's file laid over it.

    Raises:
        InvalidInput: the file can't be read, or an entry of it is wrong; the message has the file's name.
    """
    try:
        return parse_calendar(overlaid(shipped_calendar(), _read(file)))
    except CalendarNotCovered as error:
        allowed = f"a day up to {error.ranges[-1].last}; name the last day that the file knows as covered_to"
        raise InvalidInput(str(file), error.day, allowed) from None
    except InvalidInput as error:
        raise InvalidInput(f"{file}: {error.field}", error.value, error.allowed) from None
    except (ValueError, TypeError) as error:
        raise InvalidInput(str(file), "", f"it has to be put right: {error}") from None


def ending(calendar: TradingCalendar, today: date, warn_days: int) -> str | None:
    """What to say about the calendar's end today; None while it is further away than `warn_days`."""
    last = calendar.last_announced_day
    left = days_left(calendar, today)
    if left > warn_days:
        return None
    if left >= 0:
        said = f"the trading calendar ends on {last}, in {left} days"
    else:
        said = f"the trading calendar ended on {last}"
    if calendar.provisional is not None and calendar.provisional.last > today:
        said += f"; weekdays after it are taken as trading days up to {calendar.provisional.last}"
    return said


def notices(calendar: TradingCalendar, warn_days: int) -> Callable[[], Sequence[str]]:
    """A function that says what a person should know about the calendar now; nothing while its end is far away."""

    def said() -> Sequence[str]:
        about = ending(calendar, clocks.today(), warn_days)
        return [] if about is None else [f"{about}: {REMEDY}"]

    return said


def calendar_watch(calendar: TradingCalendar, warn_days: int) -> Rounds:
    """Builds the task that logs the calendar's nearing end, at the start and then once a day."""
    logged: date | None = None

    async def look() -> None:
        nonlocal logged
        today = clocks.today()
        said = ending(calendar, today, warn_days)
        if said is not None and logged != today:
            logged = today
            _log.warning(
                "calendar.end_neared",
                message=said,
                last_day=str(calendar.last_announced_day),
                days_left=days_left(calendar, today),
                remedy=REMEDY,
            )

    return Rounds("calendar watch", look, WATCH_SECONDS, _log, at_once=True)


def days_left(calendar: TradingCalendar, today: date | None = None) -> int:
    """Days from today to the last day that was announced; negative after it."""
    return (calendar.last_announced_day - (clocks.today() if today is None else today)).days


def _read(file: Path) -> Mapping[str, Any]:
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise InvalidInput("size", file.stat().st_size, f"at most {LARGEST_FILE} bytes")
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput("TOML", error, "a TOML file; the README shows one") from None
    except UnicodeDecodeError as error:
        raise InvalidInput("text", error.reason, "a TOML file in UTF-8") from None
    except OSError as error:
        raise InvalidInput("file", error.strerror, "a file that can be read") from None
