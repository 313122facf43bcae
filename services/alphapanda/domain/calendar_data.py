"""Reads a calendar document, with the form of `data/nse_calendar.json`, into checked data."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, time, timedelta
from itertools import pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo

from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.domain.session import CalendarNotCovered, DateRange, DayNote, Sureness

DAY: Final = timedelta(days=1)
SATURDAY: Final = 5

Hours = tuple[time, time]


@dataclass(frozen=True, slots=True)
class HoursRule:
    """A segment's regular hours from a day on."""

    since: date
    hours: Hours
    note: DayNote


@dataclass(frozen=True, slots=True)
class SpecialDay:
    """The sessions of one day and segment, which replace its regular hours."""

    sessions: tuple[Hours, ...]
    note: DayNote


@dataclass(frozen=True, slots=True)
class CalendarData:
    """A calendar's dated data.

    Attributes:
        zone: the market's time zone; a trading day is a date in it.
        covered: ranges of days with data, in order, with a gap of at least a day between them.
        hours: rules by segment, in order.
        special: days with hours of their own, by day and segment.
        holidays: weekdays without trading.
        disputed: weekdays of which sources differ whether they traded; they count as trading days.
        specials_known_from: special sessions before this day are known only where one is listed.
        provisional: days beyond the data that count as regular weekdays; None if there are none.
    """

    zone: ZoneInfo
    covered: tuple[DateRange, ...]
    hours: Mapping[str, tuple[HoursRule, ...]]
    special: Mapping[date, Mapping[str, SpecialDay]]
    holidays: Mapping[date, DayNote]
    disputed: Mapping[date, str]
    specials_known_from: date
    provisional: DateRange | None = None

    def rule(self, day: date, segment: str) -> HoursRule:
        """The rule of regular hours in force on a day."""
        rules = self.hours[segment]
        return rules[bisect_right(rules, day, key=lambda rule: rule.since) - 1]

    def with_provisional(self, until: date) -> CalendarData:
        """This data, with the days after the last covered one up to `until` as provisional weekdays."""
        last = self.covered[-1]
        if until <= last.last:
            return self
        covered = (*self.covered[:-1], DateRange(last.first, until))
        return replace(self, covered=covered, provisional=DateRange(last.last + DAY, until))


def read_calendar(document: Mapping[str, Any]) -> CalendarData:
    """Checks a calendar document.

    A weekday has its segment's regular hours unless it is a holiday. Special sessions replace a day's regular hours in
    every segment, or in those that `segments` names; `by_segment` has what differs in one.

    Raises:
        ValueError: an entry is wrong; the message names it.
        CalendarNotCovered: a holiday or special session lies outside the covered ranges.
    """
    covered = tuple(_covered(document["covered"]))
    hours = _hours(document["hours"], covered[0].first)
    special = _special(document["special_sessions"], tuple(hours))
    holidays = _holidays(document["holidays"])
    for day in (*special, *holidays):
        if not any(day in within for within in covered):
            raise CalendarNotCovered(day, covered)
    return CalendarData(
        ZoneInfo(document["time_zone"]),
        covered,
        hours,
        special,
        holidays,
        {day_of(day, "disputed"): why for day, why in document.get("disputed", {}).items()},
        day_of(document.get("specials_known_from", str(covered[0].first)), "specials_known_from"),
    )


def day_of(value: object, where: str) -> date:
    """A date from text or a TOML date.

    Raises:
        InvalidInput: it is none.
    """
    if type(value) is date:
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise InvalidInput(where, value, "a date is written YYYY-MM-DD") from None


def time_of(value: object, where: str) -> time:
    """A time of day from text or a TOML time.

    Raises:
        InvalidInput: it is none.
    """
    if isinstance(value, time):
        return value
    try:
        return time.fromisoformat(str(value))
    except ValueError:
        raise InvalidInput(where, value, "a time is written HH:MM") from None


def _covered(entries: Sequence[Mapping[str, str]]) -> list[DateRange]:
    ranges = [
        DateRange(day_of(entry["from"], "covered"), day_of(entry["to"], "covered")) for entry in entries
    ]
    if not ranges:
        raise ValueError("covered is empty: a calendar needs at least one range of days")
    for covered in ranges:
        if covered.last < covered.first:
            raise ValueError(f"covered {covered.text} ends before it begins")
    for earlier, later in pairwise(ranges):
        if later.first <= earlier.last + DAY:
            raise ValueError(
                f"covered {later.text} does not lie apart from {earlier.text}: order them, join neighbours"
            )
    return ranges


def _hours(entries: Sequence[Mapping[str, Any]], first_day: date) -> dict[str, tuple[HoursRule, ...]]:
    hours: dict[str, tuple[HoursRule, ...]] = {}
    for entry in entries:
        segment = entry["segment"]
        since = day_of(entry["from"], f"hours of {segment}")
        rules = hours.setdefault(segment, ())
        if rules and since <= rules[-1].since:
            raise ValueError(f"hours of {segment} from {since} come after those from {rules[-1].since}")
        times = _times(entry, since, f"hours of {segment}")
        hours[segment] = (*rules, HoursRule(since, times, _note("weekday", entry)))
    for segment, rules in hours.items():
        if rules[0].since > first_day:
            raise ValueError(
                f"hours of {segment} begin {rules[0].since}, after the first covered day {first_day}"
            )
    return hours


def _special(
    entries: Sequence[Mapping[str, Any]], segments: Sequence[str]
) -> dict[date, dict[str, SpecialDay]]:
    special: dict[date, dict[str, SpecialDay]] = {}
    for entry in entries:
        day = day_of(entry["day"], "special_sessions")
        if day in special:
            raise ValueError(f"special_sessions has {day} twice")
        own: Mapping[str, Mapping[str, Any]] = entry.get("by_segment", {})
        named = entry.get("segments", segments)
        for segment in (*named, *own):
            if segment not in segments:
                raise UnknownName(f"special_sessions of {day}: segment", str(segment), segments)
        special[day] = {segment: _special_day(day, {**entry, **own.get(segment, {})}) for segment in named}
    return special


def _special_day(day: date, entry: Mapping[str, Any]) -> SpecialDay:
    where = f"special_sessions of {day}"
    sessions = tuple(_times(part, day, where) for part in entry["sessions"])
    for (_, earlier), (later, _) in pairwise(sessions):
        if later < earlier:
            raise ValueError(f"special_sessions of {day} overlap or are out of order")
    return SpecialDay(sessions, _note(entry["name"], entry))


def _holidays(groups: Sequence[Mapping[str, Any]]) -> dict[date, DayNote]:
    holidays: dict[date, DayNote] = {}
    for group in groups:
        for text, name in group["days"].items():
            day = day_of(text, "holidays")
            if day.weekday() >= SATURDAY or day in holidays:
                raise ValueError(f"holidays has {day} ({day:%A}): each is a weekday, named once")
            holidays[day] = _note(name, group)
    return holidays


def _note(name: str, entry: Mapping[str, Any]) -> DayNote:
    return DayNote(name, Sureness(entry["sureness"]), entry["source"])


def _times(entry: Mapping[str, Any], day: date, where: str) -> Hours:
    opens, closes = time_of(entry["open"], where), time_of(entry["close"], where)
    if closes <= opens:
        raise ValueError(f"the session of {day} closes at {closes}, not after its open {opens}")
    return opens, closes
