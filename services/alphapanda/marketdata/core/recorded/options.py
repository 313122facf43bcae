"""What a user says about data files beyond what can be recognised."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.domain.frame import SECOND_NS
from alphapanda.marketdata.core.recorded.columns import ROLES

MINUTE_NS: Final = 60 * SECOND_NS
DAY_NS: Final = 86_400 * SECOND_NS
IST: Final = ZoneInfo("Asia/Kolkata")
IST_NS: Final = 19_800 * SECOND_NS

STAMPS: Final = ("start", "end")
CONFLICTS: Final = ("refuse", "first", "last")
ORDERS: Final = ("ymd", "dmy", "mdy")
UNITS: Final[Mapping[str, int]] = {"s": SECOND_NS, "ms": 1_000_000, "us": 1_000, "ns": 1}

_INTERVAL: Final = re.compile(r"(\d{0,4}) ?(m|min|minutes?|h|hours?|d|days?)")
_INTERVAL_ALLOWED: Final = "the length of a bar from 1m to 1d, such as 1m, 5m, 15m, 1h or 1d"
_COLUMNS_ALLOWED: Final = f"ROLE=COLUMN,… with the roles {', '.join(ROLES)}, such as open=o,close=c"
_FORMAT_ALLOWED: Final = (
    "dmy, mdy or ymd (order of day, month and year), s, ms, us or ns (unit of an epoch), or a pattern such as"
    " '%d-%m-%Y %H:%M'"
)


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """What was said about the files; every default means: recognise it.

    Attributes:
        bar_interval_ns: length of a bar in nanoseconds; None: read from the spacing.
        stamp: "start" or "end": which end of a bar its time names; None: the start, unless the times deny it.
        on_conflict: "refuse", "first" or "last": what to do about two rows that disagree about one bar.
        columns: column name or number by role.
        time_format: one of ORDERS or UNITS, or a pattern of strptime; None: recognised.
        time_zone: zone of times that name none; None: India's, unless the column's name says UTC.
        first_day: first day in India that is read; None: no limit.
        last_day: last day in India that is read; None: no limit.
    """

    bar_interval_ns: int | None = None
    stamp: str | None = None
    on_conflict: str = "refuse"
    columns: Mapping[str, str] = field(default_factory=dict)
    time_format: str | None = None
    time_zone: ZoneInfo | None = None
    first_day: date | None = None
    last_day: date | None = None

    @property
    def text(self) -> str:
        """The options that change which ticks are made, as text; empty if none was given."""
        given = (
            self.bar_interval_ns,
            self.stamp,
            None if self.on_conflict == "refuse" else self.on_conflict,
            sorted(self.columns.items()) or None,
            self.time_format,
            self.time_zone,
            self.first_day,
            self.last_day,
        )
        return "" if given == (None,) * len(given) else "\x1f".join(map(str, given))


NO_OPTIONS: Final = ReadingOptions()
"""Nothing was said: everything is recognised."""


def reading_options(
    *,
    bar_interval: str | None = None,
    stamp: str | None = None,
    on_conflict: str | None = None,
    columns: str | None = None,
    time_format: str | None = None,
    time_zone: str | None = None,
    first_day: date | None = None,
    last_day: date | None = None,
) -> ReadingOptions:
    """Checks options as they are typed.

    Raises:
        InvalidInput: one of them isn't allowed; it is named as `replay` spells it.
    """
    if stamp is not None and stamp not in STAMPS:
        raise UnknownName("--stamp", stamp, STAMPS)
    if on_conflict is not None and on_conflict not in CONFLICTS:
        raise UnknownName("--on-conflict", on_conflict, CONFLICTS)
    if first_day is not None and last_day is not None and last_day < first_day:
        raise InvalidInput("--to", last_day, f"a day not before --from {first_day}")
    return ReadingOptions(
        bar_interval_ns=None if not bar_interval else interval_ns(bar_interval),
        stamp=stamp,
        on_conflict=on_conflict or "refuse",
        columns=_columns(columns or ""),
        time_format=_time_format(time_format or None),
        time_zone=_zone(time_zone or None),
        first_day=first_day,
        last_day=last_day,
    )


def interval_ns(text: str) -> int:
    """The length of a bar, such as 5m, 5minute, 1h, 60minute, day.

    Raises:
        InvalidInput: it can't be read, or isn't from 1m to 1d.
    """
    found = _INTERVAL.fullmatch(text.strip().lower())
    number = int(found[1] or 1) if found else 0
    length = number * {"m": MINUTE_NS, "h": 60 * MINUTE_NS, "d": DAY_NS}[found[2][0]] if found else 0
    if not MINUTE_NS <= length <= DAY_NS:
        raise InvalidInput("--bar-interval", text, _INTERVAL_ALLOWED)
    return length


def interval_text(interval: int) -> str:
    """The length of a bar in short: 1m, 15m, 1h, 1d."""
    if interval == DAY_NS:
        return "1d"
    if interval % (60 * MINUTE_NS) == 0:
        return f"{interval // (60 * MINUTE_NS)}h"
    return f"{interval // MINUTE_NS}m" if interval % MINUTE_NS == 0 else f"{interval / SECOND_NS:g}s"


def _columns(text: str) -> dict[str, str]:
    given: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        role, equals, column = (part.strip() for part in pair.partition("="))
        if not equals or not column:
            raise InvalidInput("--columns", text, _COLUMNS_ALLOWED)
        if role.lower() not in ROLES:
            raise UnknownName("--columns", role, ROLES)
        given[role.lower()] = column
    return given


def _time_format(text: str | None) -> str | None:
    if text is None or "%" in text:
        return text
    known = text.lower().replace("µs", "us").replace("-", "").replace("/", "")
    known = {"ddmmyyyy": "dmy", "mmddyyyy": "mdy", "yyyymmdd": "ymd"}.get(known, known)
    if known not in (*ORDERS, *UNITS):
        raise InvalidInput("--time-format", text, _FORMAT_ALLOWED)
    return known


def _zone(text: str | None) -> ZoneInfo | None:
    if text is None:
        return None
    try:
        return ZoneInfo({"ist": "Asia/Kolkata", "utc": "UTC", "gmt": "UTC"}.get(text.lower(), text))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput("--time-zone", text, "a time zone such as Asia/Kolkata or UTC") from None
