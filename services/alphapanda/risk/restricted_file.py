"""Reads the list of restricted instruments from a file that people, or a job of theirs, replace each day."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import structlog

from alphapanda.domain.errors import InvalidInput
from alphapanda.resilience.failures import in_one_line
from alphapanda.risk.core.restricted import Refuses, RestrictedList, Restriction

LOOK_SECONDS: Final = 10.0
"""The file is looked at again after so long."""
_EXAMPLE: Final = 'as_of = 2026-11-30, and lines [[restricted]] with symbol = "NSE:ABC", refuses = "MIS", list = "ASM stage 2"'
_IST: Final = timedelta(hours=5, minutes=30)

_log = structlog.get_logger(__name__)


class RestrictedFile:
    """The list in a TOML file, read again when it has changed. A file that can't be read any more leaves the list before it, which ages.

    Args:
        path: the file.
        most_days: calendar days after which the list is too old to trade by.
        wall_clock: returns the current wall time, aware.
        monotonic: seconds of a clock that only goes on.

    Raises:
        InvalidInput: the file can't be read at the start.
    """

    def __init__(
        self,
        path: Path,
        most_days: int,
        wall_clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._most_days = most_days
        self._wall_clock = wall_clock
        self._monotonic = monotonic
        self._seen = self._changed_at()
        self._list = read_restricted(path, most_days)
        self._looked = monotonic()
        self._told: date | None = None
        self._tell_of_age()

    def __call__(self) -> RestrictedList:
        """The list as it is now."""
        if self._monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = self._monotonic()
            self._look()
            self._tell_of_age()
        return self._list

    def _look(self) -> None:
        changed_at = self._changed_at()
        if changed_at == self._seen:
            return
        self._seen = changed_at
        try:
            self._list = read_restricted(self._path, self._most_days)
        except InvalidInput as wrong:
            _log.error("restricted_list.unreadable", alarm=True, error=in_one_line(wrong))
            return
        _log.info(
            "restricted_list.read", as_of=str(self._list.as_of), instruments=len(self._list.restrictions)
        )

    def _tell_of_age(self) -> None:
        """Raises an alarm once a day while the list is too old."""
        today = (self._wall_clock() + _IST).date()
        if self._list.is_outdated(today) and self._told != today:
            self._told = today
            _log.error(
                "restricted_list.outdated",
                alarm=True,
                as_of=str(self._list.as_of),
                message="live entries in shares and their contracts are refused until it is replaced",
            )

    def _changed_at(self) -> float:
        try:
            return self._path.stat().st_mtime
        except OSError:
            return 0.0


def read_restricted(path: Path, most_days: int) -> RestrictedList:
    """Reads a list.

    Raises:
        InvalidInput: the file can't be read, or a line of it can't be used.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput("zerodha.restricted_file", path, f"a file such as: {_EXAMPLE} ({error})") from None
    as_of, lines = document.get("as_of"), document.get("restricted", [])
    if type(as_of) is not date or not isinstance(lines, list):
        raise InvalidInput("zerodha.restricted_file: as_of", as_of, f"a file such as: {_EXAMPLE}")
    return RestrictedList(as_of, most_days, tuple(map(_restriction, lines)))


def _restriction(line: Mapping[str, Any]) -> Restriction:
    symbol, refuses, name = (str(line.get(field, "")) for field in ("symbol", "refuses", "list"))
    if symbol.partition(":")[0] not in {"NSE", "BSE"} or not symbol.partition(":")[2]:
        raise InvalidInput("zerodha.restricted_file: symbol", symbol, "a share such as NSE:INFY")
    if refuses not in set(Refuses):
        allowed = ", ".join(Refuses)
        raise InvalidInput("zerodha.restricted_file: refuses", refuses, f"one of {allowed}")
    return Restriction(symbol, Refuses(refuses), name or "restricted")
