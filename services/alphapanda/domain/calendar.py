"""Trading days and sessions of NSE and BSE, from dated data.

A session is continuous trading in [open, close), in Asia/Kolkata. Days and times come from `data/nse_calendar.json` and a
user's own file; a day outside the ranges that they cover raises an error.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from importlib import resources
from typing import Any, Final

from alphapanda.domain.calendar_data import DAY, SATURDAY, CalendarData, read_calendar
from alphapanda.domain.calendar_timeline import Timeline, sessions_on
from alphapanda.domain.errors import UnknownName
from alphapanda.domain.session import (
    DEFAULT_MIS_CUT_OFF,
    SHORT_SESSION_CUT_OFF,
    CalendarNotCovered,
    DateRange,
    DayNote,
    Session,
    SessionKind,
    Sureness,
    mis_cut_off,
    nanoseconds_of,
    require_aware,
)

__all__ = [
    "DEFAULT_MIS_CUT_OFF",
    "SHORT_SESSION_CUT_OFF",
    "CalendarNotCovered",
    "DateRange",
    "DayNote",
    "Session",
    "SessionKind",
    "Sureness",
    "TradingCalendar",
    "load_nse_calendar",
    "mis_cut_off",
    "parse_calendar",
    "shipped_calendar",
]

_CUT_OFFS_REMEMBERED: Final = 1_000
_DAYS_REMEMBERED: Final = 1_000
_MOMENTS_REMEMBERED: Final = 64
_MOST_DISPUTED_NAMED: Final = 5


class TradingCalendar:
    """The sessions of each segment.

    Args:
        data: the dated data.

    Methods raise CalendarNotCovered for a day without data, UnknownName for a segment without hours, and InvalidInput
    for a naive datetime.
    """

    def __init__(self, data: CalendarData) -> None:
        self._data = data
        self._zone = data.zone
        self._covered = data.covered
        self._timelines: dict[str, Timeline] = {}
        self._trading_days = [day for covered in data.covered for day in _trading_days(data, covered)]
        self._trading_day_set = frozenset(self._trading_days)
        self._mis_cut_offs: dict[tuple[date, str, time], datetime | None] = {}
        self._found: dict[str, tuple[datetime, datetime, Session]] = {}
        self._sessions: dict[tuple[date, str], tuple[Session, ...]] = {}
        self._days: dict[datetime, date] = {}
        # A decision asks several times about its market time, which is one object then.
        self._day_asked: tuple[datetime | None, date] = (None, date.min)
        self._session_asked: tuple[datetime | None, str, Session | None] = (None, "", None)

    @property
    def covered(self) -> tuple[DateRange, ...]:
        """The days the calendar has data for."""
        return self._covered

    @property
    def first_covered_day(self) -> date:
        """The earliest day with data; days between two covered ranges have no data."""
        return self._covered[0].first

    @property
    def last_covered_day(self) -> date:
        """The latest day with data, provisional ones included."""
        return self._covered[-1].last

    @property
    def provisional(self) -> DateRange | None:
        """The days that count as regular weekdays without a holiday list; None if there are none."""
        return self._data.provisional

    @property
    def last_announced_day(self) -> date:
        """The latest day with data that isn't provisional."""
        provisional = self._data.provisional
        return self.last_covered_day if provisional is None else provisional.first - DAY

    @property
    def segments(self) -> tuple[str, ...]:
        """The segments that the calendar has hours for."""
        return tuple(self._data.hours)

    def with_provisional(self, until: date) -> TradingCalendar:
        """This calendar with the weekdays after its last day up to `until` as provisional trading days."""
        data = self._data.with_provisional(until)
        return self if data is self._data else TradingCalendar(data)

    def covers(self, day: date) -> bool:
        """Whether the calendar has data for this day."""
        return any(day in covered for covered in self._covered)

    def require_covered(self, first: date, last: date) -> None:
        """Raises CalendarNotCovered where a day from first to last, both inclusive, has no data."""
        day = first
        while day <= last:
            day = self._covering(day).last + DAY

    def trading_day(self, instant: datetime) -> date:
        """The date of an instant in Asia/Kolkata, whether the market trades on it or not."""
        asked = self._day_asked
        if instant is asked[0]:
            return asked[1]
        day = self._days.get(instant)
        if day is None:
            require_aware(instant)
            if len(self._days) >= _MOMENTS_REMEMBERED:
                self._days.clear()
            day = self._days[instant] = instant.astimezone(self._zone).date()
        self._day_asked = (instant, day)
        return day

    def is_trading_day(self, day: date) -> bool:
        """Whether the market has any session on this day, including special ones."""
        self._covering(day)
        return day in self._trading_day_set

    def note(self, day: date, segment: str) -> DayNote:
        """What the day is in a segment, and how sure that is."""
        self._timeline_of(segment)
        self._covering(day)
        data = self._data
        special = data.special.get(day, {}).get(segment)
        if special is not None:
            return special.note
        if day in data.holidays:
            return data.holidays[day]
        if day in data.disputed:
            return DayNote("weekday", Sureness.DISPUTED, data.disputed[day])
        provisional = data.provisional is not None and day in data.provisional
        if provisional and day.weekday() < SATURDAY:
            return DayNote("weekday", Sureness.PROVISIONAL, "no holiday list yet, taken as a regular weekday")
        if day.weekday() >= SATURDAY:
            return DayNote("weekend", Sureness.CIRCULAR, "no trading on Saturdays and Sundays")
        return data.rule(day, segment).note

    def caveats(self, first: date, last: date) -> tuple[str, ...]:
        """What isn't sure about the days from first to last, in sentences for people; empty where all is."""
        data = self._data
        said = []
        if first < data.specials_known_from:
            until = min(last, data.specials_known_from - DAY)
            said.append(
                f"calendar {first} to {until}: weekdays sure, special sessions (Muhurat, Saturdays) unknown where none is"
                " listed"
            )
        disputed = sorted(day for day in data.disputed if first <= day <= last)
        if disputed:
            named = ", ".join(map(str, disputed[:_MOST_DISPUTED_NAMED]))
            more = len(disputed) - _MOST_DISPUTED_NAMED
            said.append(
                f"sources differ whether {named}{f' and {more} more' if more > 0 else ''} traded in full"
            )
        provisional = data.provisional
        if provisional is not None and provisional.first <= last and first <= provisional.last:
            begins, ends = max(first, provisional.first), min(last, provisional.last)
            said.append(
                f"calendar {begins} to {ends}: provisional, every weekday counts as a trading day (no holiday list yet)"
            )
        return tuple(said)

    def sessions(self, day: date, segment: str) -> tuple[Session, ...]:
        """The day's sessions in order; empty on a day without trading."""
        asked = (day, segment)
        found = self._sessions.get(asked)
        if found is None:
            if segment not in self._data.hours:
                raise UnknownName("segment", segment, self.segments)
            self._covering(day)
            if len(self._sessions) >= _DAYS_REMEMBERED:
                self._sessions.clear()
            found = self._sessions[asked] = sessions_on(self._data, segment, day)
        return found

    def session_at(self, instant: datetime, segment: str) -> Session | None:
        """The session that contains this instant, None if none does. For a bar pass its start, which decides its session."""
        asked = self._session_asked
        if instant is asked[0] and segment == asked[1]:
            return asked[2]
        # Most calls are about the session found last, and datetimes of the same zone compare quickly.
        found = self._found.get(segment)
        if found is not None and instant.tzinfo is UTC and found[0] <= instant < found[1]:
            session: Session | None = found[2]
        else:
            session = self.session_at_ns(nanoseconds_of(instant), segment)
            if session is not None:
                self._found[segment] = (session.open.astimezone(UTC), session.close.astimezone(UTC), session)
        self._session_asked = (instant, segment, session)
        return session

    def session_at_ns(self, instant_ns: int, segment: str) -> Session | None:
        """Like `session_at`, for nanoseconds since the Unix epoch."""
        session = self._timeline_of(segment).at_ns(instant_ns)
        if session is None:
            self._covering(self._day_of_ns(instant_ns))
        return session

    def next_session_open(self, instant: datetime, segment: str) -> datetime:
        """The first opening of a session strictly after this instant."""
        timeline = self._timeline_of(segment)
        covered = self._covering(self.trading_day(instant))
        session = timeline.opening_after_ns(nanoseconds_of(instant))
        if session is None or session.day not in covered:
            raise CalendarNotCovered(covered.last + DAY, self._covered)
        return session.open

    def trading_day_on_or_after(self, day: date) -> date:
        """This day if the market trades on it, else the next trading day."""
        covered = self._covering(day)
        at = bisect_left(self._trading_days, day)
        if at == len(self._trading_days) or self._trading_days[at] not in covered:
            raise CalendarNotCovered(covered.last + DAY, self._covered)
        return self._trading_days[at]

    def next_trading_day(self, day: date) -> date:
        """The first trading day strictly after this day."""
        return self.trading_day_on_or_after(day + DAY)

    def mis_cut_off(self, day: date, segment: str, cut_off: time = DEFAULT_MIS_CUT_OFF) -> datetime | None:
        """When the day's intraday (MIS) positions are squared off: the cut-off of the day's last session.

        Returns:
            Aware market time; None on a day without a session.
        """
        asked = (day, segment, cut_off)
        if asked not in self._mis_cut_offs:
            if len(self._mis_cut_offs) >= _CUT_OFFS_REMEMBERED:
                self._mis_cut_offs.clear()
            sessions = self.sessions(day, segment)
            self._mis_cut_offs[asked] = mis_cut_off(sessions[-1], cut_off) if sessions else None
        return self._mis_cut_offs[asked]

    def _timeline_of(self, segment: str) -> Timeline:
        timeline = self._timelines.get(segment)
        if timeline is None:
            if segment not in self._data.hours:
                raise UnknownName("segment", segment, self.segments)
            timeline = self._timelines[segment] = Timeline(self._data, segment)
        return timeline

    def _covering(self, day: date) -> DateRange:
        for covered in self._covered:
            if day in covered:
                return covered
        raise CalendarNotCovered(day, self._covered)

    def _day_of_ns(self, instant_ns: int) -> date:
        return datetime.fromtimestamp(instant_ns // 1_000_000_000, self._zone).date()


def shipped_calendar() -> dict[str, Any]:
    """The calendar document shipped with the package."""
    shipped = resources.files("alphapanda.domain").joinpath("data/nse_calendar.json")
    document: dict[str, Any] = json.loads(shipped.read_text(encoding="utf-8"))
    return document


@lru_cache(maxsize=1)
def load_nse_calendar() -> TradingCalendar:
    """The calendar shipped with the package, the same one on each call."""
    return parse_calendar(shipped_calendar())


def parse_calendar(document: Mapping[str, Any]) -> TradingCalendar:
    """Builds a calendar from a document with the form of `data/nse_calendar.json`.

    Raises:
        ValueError: an entry is wrong; the message names it.
        CalendarNotCovered: a holiday or special session lies outside the covered ranges.
    """
    return TradingCalendar(read_calendar(document))


def _trading_days(data: CalendarData, covered: DateRange) -> Iterator[date]:
    day = covered.first
    one = timedelta(days=1)
    while day <= covered.last:
        special = data.special.get(day)
        if special is not None:
            if any(of.sessions for of in special.values()):
                yield day
        elif day.weekday() < SATURDAY and day not in data.holidays:
            yield day
        day += one
