"""One segment's sessions: in order with an index by time, and those of one day."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Final
from zoneinfo import ZoneInfo

from alphapanda.domain.calendar_data import SATURDAY, CalendarData, Hours
from alphapanda.domain.session import Session, SessionKind

_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_DAY_NS: Final = 86_400_000_000_000
_DAYS_OF_WEEK: Final = 7

_Entry = tuple[int, Hours, SessionKind]
"""The ordinal of the day, the session's times, its kind."""


class Timeline:
    """The sessions of one segment within the covered days.

    Building it costs half a microsecond a day; a Session is made when it is first asked for.

    Args:
        data: the calendar.
        segment: one of its segments.
    """

    def __init__(self, data: CalendarData, segment: str) -> None:
        self._zone = data.zone
        self._entries = list(_entries(data, segment))
        self._made: dict[int, Session] = {}
        offset_ns = _offset_ns(data.zone, data.covered[0].first)
        ns_of: dict[time, int] = {}
        self._opens_ns: list[int] = []
        self._closes_ns: list[int] = []
        for ordinal, (opens, closes), _ in self._entries:
            midnight = (ordinal - _EPOCH_ORDINAL) * _DAY_NS - offset_ns
            self._opens_ns.append(midnight + (ns_of.get(opens) or ns_of.setdefault(opens, _ns(opens))))
            self._closes_ns.append(midnight + (ns_of.get(closes) or ns_of.setdefault(closes, _ns(closes))))

    def at_ns(self, instant_ns: int) -> Session | None:
        """The session that contains this instant; None if none does."""
        at = bisect_right(self._opens_ns, instant_ns) - 1
        return self._session(at) if at >= 0 and instant_ns < self._closes_ns[at] else None

    def opening_after_ns(self, instant_ns: int) -> Session | None:
        """The first session that opens strictly after this instant; None after the last one."""
        at = bisect_right(self._opens_ns, instant_ns)
        return self._session(at) if at < len(self._entries) else None

    def _session(self, at: int) -> Session:
        made = self._made.get(at)
        if made is None:
            made = self._made[at] = _session(self._entries[at], self._zone)
        return made


def sessions_on(data: CalendarData, segment: str, day: date) -> tuple[Session, ...]:
    """The sessions of one segment on one covered day, in order, without the work of a timeline."""
    ordinal = day.toordinal()
    special = data.special.get(day, {}).get(segment)
    if special is not None:
        return tuple(_session((ordinal, hours, SessionKind.SPECIAL), data.zone) for hours in special.sessions)
    if day.weekday() >= SATURDAY or day in data.holidays:
        return ()
    return (_session((ordinal, data.rule(day, segment).hours, SessionKind.REGULAR), data.zone),)


def _session(entry: _Entry, zone: ZoneInfo) -> Session:
    ordinal, (opens, closes), kind = entry
    day = date.fromordinal(ordinal)
    return Session(day, datetime.combine(day, opens, zone), datetime.combine(day, closes, zone), kind)


def _entries(data: CalendarData, segment: str) -> Iterator[_Entry]:
    rules, regular = data.hours[segment], SessionKind.REGULAR
    changes = [rule.since.toordinal() for rule in rules]
    special = {day.toordinal(): of[segment].sessions for day, of in data.special.items() if segment in of}
    holidays = {day.toordinal() for day in data.holidays}
    for covered in data.covered:
        for ordinal in range(covered.first.toordinal(), covered.last.toordinal() + 1):
            if ordinal in special:
                for hours in special[ordinal]:
                    yield ordinal, hours, SessionKind.SPECIAL
            elif (ordinal - 1) % _DAYS_OF_WEEK < SATURDAY and ordinal not in holidays:
                at = len(rules) - 1
                while changes[at] > ordinal:
                    at -= 1
                yield ordinal, rules[at].hours, regular


def _offset_ns(zone: ZoneInfo, day: date) -> int:
    """The zone's distance from UTC; India's has been the same since 1945."""
    offset = datetime.combine(day, time(12), zone).utcoffset()
    assert offset is not None  # noqa: S101 - a ZoneInfo always has one
    return int(offset.total_seconds()) * 1_000_000_000


def _ns(at: time) -> int:
    return ((at.hour * 60 + at.minute) * 60 + at.second) * 1_000_000_000 + at.microsecond * 1000
