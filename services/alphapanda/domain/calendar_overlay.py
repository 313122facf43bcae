"""Lays a user's own days over the shipped calendar.

The form is that of a TOML file:

    source = "NSE circular of 12 Dec 2026"
    covered_to = 2027-12-31            # the calendar knows every day up to this one

    [holidays]                         # days without trading; weekend days may be listed, too
    2027-01-26 = "Republic Day"

    [trading_days]                     # weekdays that trade although the shipped calendar has them as holidays
    2026-12-25 = "open after all"

    [[special_sessions]]               # replace the day's hours; on a holiday or a weekend, too
    day = 2027-10-29
    name = "Muhurat"
    sessions = ["18:15-19:15"]
    segments = ["NSE_EQ"]              # left out: all

    [[hours]]                          # new regular hours of a segment, from a day on
    segment = "NSE_EQ"
    from = 2027-04-01
    open = "09:15"
    close = "15:30"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

from alphapanda.domain.calendar_data import SATURDAY, day_of
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.domain.session import Sureness

NAMES: Final = ("source", "covered_to", "holidays", "trading_days", "special_sessions", "hours")
_OWN: Final = "the user's calendar file"
_DAYS_ALLOWED: Final = 'a table of days and names, such as 2027-01-26 = "Republic Day", or a list of days'


def overlaid(shipped: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """The shipped calendar document with the user's days laid over it.

    Raises:
        InvalidInput: an entry of the overlay is wrong; the message names it.
    """
    for name in overlay:
        if name not in NAMES:
            raise UnknownName("calendar file", name, NAMES)
    certain = {"sureness": Sureness.OWN.value, "source": str(overlay.get("source", _OWN))}
    special = [_special(entry, certain) for entry in _tables(overlay, "special_sessions")]
    own_days = {entry["day"] for entry in special}
    holidays = _days(overlay, "holidays")
    trading = _days(overlay, "trading_days")
    for day in holidays.keys() & trading.keys():
        raise InvalidInput("calendar file", day, "a day in holidays or in trading_days, not in both")
    replaced = {*map(str, holidays), *map(str, trading)}
    groups = [
        {**group, "days": {text: name for text, name in group["days"].items() if text not in replaced}}
        for group in shipped["holidays"]
    ]
    weekdays = {str(day): name for day, name in holidays.items() if day.weekday() < SATURDAY}
    return {
        **shipped,
        "covered": _covered(shipped["covered"], overlay.get("covered_to")),
        "hours": _hours(shipped["hours"], _tables(overlay, "hours"), certain),
        "holidays": [*groups, {**certain, "days": weekdays}],
        "special_sessions": [
            *(entry for entry in shipped["special_sessions"] if entry["day"] not in replaced | own_days),
            *special,
        ],
        "disputed": {day: why for day, why in shipped["disputed"].items() if day not in replaced | own_days},
    }


def _covered(shipped: Sequence[Mapping[str, str]], covered_to: object) -> list[Mapping[str, str]]:
    if covered_to is None:
        return list(shipped)
    until = day_of(covered_to, "covered_to")
    last = shipped[-1]
    if until < day_of(last["to"], "covered"):
        raise InvalidInput("covered_to", until, f"a day after {last['to']}, which is the calendar's last day")
    return [*shipped[:-1], {**last, "to": str(until)}]


def _days(overlay: Mapping[str, Any], name: str) -> dict[date, str]:
    days = overlay.get(name, {})
    if isinstance(days, Mapping):
        return {day_of(day, name): str(what) for day, what in days.items()}
    if not isinstance(days, list):
        raise InvalidInput(name, days, _DAYS_ALLOWED)
    return {day_of(day, name): name.removesuffix("s").replace("_", " ") for day in days}


def _tables(overlay: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    tables = overlay.get(name, [])
    if not isinstance(tables, list) or not all(isinstance(each, Mapping) for each in tables):
        raise InvalidInput(name, tables, f"tables, each begun with [[{name}]]")
    return tables


def _special(entry: Mapping[str, Any], certain: Mapping[str, str]) -> dict[str, Any]:
    _require(entry, "special_sessions", ("day", "sessions"), ("name", "segments"))
    day = day_of(entry["day"], "special_sessions")
    where = f"special_sessions of {day}"
    sessions = entry["sessions"]
    if not isinstance(sessions, list):
        raise InvalidInput(where, sessions, 'sessions as ["18:15-19:15"]')
    segments = {"segments": entry["segments"]} if "segments" in entry else {}
    return {
        "day": str(day),
        "name": str(entry.get("name", "special session")),
        "sessions": [_session(each, where) for each in sessions],
        **segments,
        **certain,
    }


def _session(text: object, where: str) -> dict[str, str]:
    opens, dash, closes = str(text).replace(" ", "").partition("-")
    if not dash:
        raise InvalidInput(where, text, "a session is written HH:MM-HH:MM")
    return {"open": opens, "close": closes}


def _hours(
    shipped: Sequence[Mapping[str, Any]], own: Sequence[Mapping[str, Any]], certain: Mapping[str, str]
) -> list[Mapping[str, Any]]:
    hours = list(shipped)
    known = list(dict.fromkeys(str(entry["segment"]) for entry in shipped))
    for entry in own:
        _require(entry, "hours", ("segment", "from", "open", "close"), ())
        if entry["segment"] not in known:
            raise UnknownName("hours: segment", str(entry["segment"]), known)
        since = str(day_of(entry["from"], "hours"))
        hours = [each for each in hours if (each["segment"], each["from"]) != (entry["segment"], since)] + [
            {**entry, "from": since, **certain}
        ]
    return sorted(hours, key=lambda each: (known.index(each["segment"]), each["from"]))


def _require(entry: Mapping[str, Any], name: str, needed: Sequence[str], optional: Sequence[str]) -> None:
    for key in needed:
        if key not in entry:
            raise InvalidInput(name, dict(entry), f"each entry needs {', '.join(needed)}; {key} is missing")
    for key in entry:
        if key not in needed and key not in optional:
            raise UnknownName(name, key, [*needed, *optional])
