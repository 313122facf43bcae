"""Trading days and sessions of the NSE cash market, from dated data.

A session is continuous trading in [open, close), in Asia/Kolkata. Days and times come from `data/nse_calendar.json`; a
day outside the ranges that the file covers raises an error. All sessions are computed when the calendar is built,
so a query is one bisection.
"""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from importlib import resources
from itertools import pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo

from alphapanda.domain.errors import InvalidInput, UnknownName

DEFAULT_MIS_CUT_OFF: Final = time(15, 0)
SHORT_SESSION_CUT_OFF: Final = timedelta(minutes=15)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = timedelta(days=1)
_SATURDAY: Final = 5
_CUT_OFFS_REMEMBERED: Final = 1_000


class SessionKind(StrEnum):
    """Regular hours of the segment, or hours announced for one day."""

    REGULAR = "regular"
    SPECIAL = "special"


@dataclass(frozen=True, slots=True)
class DateRange:
    """Days from first to last, both inclusive."""

    first: date
    last: date

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last

    @property
    def text(self) -> str:
        """The range as text, such as 2019-01-01 to 2019-12-31."""
        return f"{self.first} to {self.last}"


class CalendarNotCovered(LookupError):
    """The calendar has no data for a day, so it is unknown whether the market trades on it."""

    def __init__(self, day: date, ranges: Sequence[DateRange]) -> None:
        self.day = day
        self.ranges = tuple(ranges)
        covered = ", ".join(covered.text for covered in ranges)
        super().__init__(f"the trading calendar has no data for {day}; it covers {covered}")


@dataclass(frozen=True, slots=True)
class Session:
    """Continuous trading on one trading day, in the half-open interval [open, close); both times are IST."""

    day: date
    open: datetime
    close: datetime
    kind: SessionKind

    @property
    def open_ns(self) -> int:
        """The open in nanoseconds since the Unix epoch."""
        return _nanoseconds(self.open)

    @property
    def close_ns(self) -> int:
        """The close in nanoseconds since the Unix epoch."""
        return _nanoseconds(self.close)


@dataclass(frozen=True, slots=True)
class _Timeline:
    """One segment's sessions in order, with indexes by time and by day."""

    sessions: tuple[Session, ...]
    opens_ns: tuple[int, ...]
    closes_ns: tuple[int, ...]
    by_day: dict[date, tuple[Session, ...]]


class TradingCalendar:
    """The sessions of each segment.

    Args:
        zone: the market's time zone; a trading day is a date in it.
        covered: the ranges of days with data, in order, with a gap of at least a day between them.
        sessions: for each segment its sessions within the covered days, in order and disjoint.

    Methods raise CalendarNotCovered for a day without data, UnknownName for a segment without hours, and InvalidInput
    for a naive datetime.
    """

    def __init__(
        self, zone: ZoneInfo, covered: Sequence[DateRange], sessions: Mapping[str, Sequence[Session]]
    ) -> None:
        self._zone = zone
        self._covered = tuple(covered)
        self._timelines = {segment: _timeline(of_segment) for segment, of_segment in sessions.items()}
        self._trading_days = sorted({session.day for of in sessions.values() for session in of})
        self._trading_day_set = frozenset(self._trading_days)
        self._mis_cut_offs: dict[tuple[date, str, time], datetime | None] = {}
        self._found: dict[str, tuple[datetime, datetime, Session]] = {}

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
        """The latest day with data."""
        return self._covered[-1].last

    @property
    def segments(self) -> tuple[str, ...]:
        """The segments that the calendar has hours for."""
        return tuple(self._timelines)

    def covers(self, day: date) -> bool:
        """Whether the calendar has data for this day."""
        return any(day in covered for covered in self._covered)

    def trading_day(self, instant: datetime) -> date:
        """The date of an instant in Asia/Kolkata, whether the market trades on it or not."""
        _require_aware(instant)
        return instant.astimezone(self._zone).date()

    def is_trading_day(self, day: date) -> bool:
        """Whether the market has any session on this day, including special ones."""
        self._covering(day)
        return day in self._trading_day_set

    def sessions(self, day: date, segment: str) -> tuple[Session, ...]:
        """The day's sessions in order; empty on a day without trading."""
        timeline = self._timeline_of(segment)
        self._covering(day)
        return timeline.by_day.get(day, ())

    def session_at(self, instant: datetime, segment: str) -> Session | None:
        """The session that contains this instant, None if none does. For a bar pass its start, which decides its session."""
        # Most calls are about the session found last, and datetimes of the same zone compare quickly.
        found = self._found.get(segment)
        if found is not None and instant.tzinfo is UTC and found[0] <= instant < found[1]:
            return found[2]
        session = self.session_at_ns(_nanoseconds(instant), segment)
        if session is not None:
            self._found[segment] = (session.open.astimezone(UTC), session.close.astimezone(UTC), session)
        return session

    def session_at_ns(self, instant_ns: int, segment: str) -> Session | None:
        """Like `session_at`, for nanoseconds since the Unix epoch."""
        timeline = self._timeline_of(segment)
        at = bisect_right(timeline.opens_ns, instant_ns) - 1
        if at >= 0 and instant_ns < timeline.closes_ns[at]:
            return timeline.sessions[at]
        self._covering(self._day_of_ns(instant_ns))
        return None

    def next_session_open(self, instant: datetime, segment: str) -> datetime:
        """The first opening of a session strictly after this instant."""
        timeline = self._timeline_of(segment)
        covered = self._covering(self.trading_day(instant))
        at = bisect_right(timeline.opens_ns, _nanoseconds(instant))
        if at == len(timeline.sessions) or timeline.sessions[at].day not in covered:
            raise CalendarNotCovered(covered.last + _DAY, self._covered)
        return timeline.sessions[at].open

    def trading_day_on_or_after(self, day: date) -> date:
        """This day if the market trades on it, else the next trading day."""
        covered = self._covering(day)
        at = bisect_left(self._trading_days, day)
        if at == len(self._trading_days) or self._trading_days[at] not in covered:
            raise CalendarNotCovered(covered.last + _DAY, self._covered)
        return self._trading_days[at]

    def next_trading_day(self, day: date) -> date:
        """The first trading day strictly after this day."""
        return self.trading_day_on_or_after(day + _DAY)

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

    def _timeline_of(self, segment: str) -> _Timeline:
        timeline = self._timelines.get(segment)
        if timeline is None:
            raise UnknownName("segment", segment, self.segments)
        return timeline

    def _covering(self, day: date) -> DateRange:
        for covered in self._covered:
            if day in covered:
                return covered
        raise CalendarNotCovered(day, self._covered)

    def _day_of_ns(self, instant_ns: int) -> date:
        return datetime.fromtimestamp(instant_ns // 1_000_000_000, self._zone).date()


def mis_cut_off(session: Session, cut_off: time = DEFAULT_MIS_CUT_OFF) -> datetime:
    """When a session's intraday (MIS) positions are squared off.

    This is the cut-off (market local time) if it lies in [open, close). Otherwise, as in Muhurat and other short
    sessions, it is 15 minutes before the close, but not before the open. The default is 15:00: brokers publish cut-offs
    of 15:00-15:12 under the closing auction, and continuous trading may end at 15:15.
    """
    if cut_off.tzinfo is not None:
        raise InvalidInput("cut_off", cut_off, "a time without a zone: it is the market's local time")
    at = datetime.combine(session.day, cut_off, tzinfo=session.open.tzinfo)
    if session.open <= at < session.close:
        return at
    return max(session.open, session.close - SHORT_SESSION_CUT_OFF)


def load_nse_calendar() -> TradingCalendar:
    """Loads the calendar shipped with the package. It is built on each call, so keep the result."""
    shipped = resources.files("alphapanda.domain").joinpath("data/nse_calendar.json")
    return parse_calendar(json.loads(shipped.read_text(encoding="utf-8")))


def parse_calendar(document: Mapping[str, Any]) -> TradingCalendar:
    """Builds a calendar from a document with the form of `data/nse_calendar.json`.

    A weekday has its segment's regular hours unless it is a holiday. Special sessions replace a day's regular hours in
    every segment.

    Raises:
        ValueError: an entry is wrong; the message names it.
        CalendarNotCovered: a holiday or special session lies outside the covered ranges.
    """
    zone = ZoneInfo(document["time_zone"])
    covered = _covered(document["covered"])
    hours = _hours(document["hours"], zone, covered[0].first)
    special = _special(document["special_sessions"], zone)
    holidays = _holidays(document["holidays"])
    for day in (*special, *holidays):
        if not any(day in within for within in covered):
            raise CalendarNotCovered(day, covered)
    sessions: dict[str, list[Session]] = {segment: [] for segment in hours}
    for day in (day for within in covered for day in _days(within)):
        if day in special:
            for of_segment in sessions.values():
                of_segment.extend(special[day])
        elif day.weekday() < _SATURDAY and day not in holidays:
            for segment, rules in hours.items():
                opens, closes = _in_force(rules, day)
                sessions[segment].append(_session(day, opens, closes, SessionKind.REGULAR, zone))
    return TradingCalendar(zone, covered, sessions)


_Rules = list[tuple[date, time, time]]


def _covered(entries: Sequence[Mapping[str, str]]) -> list[DateRange]:
    ranges = [DateRange(_date(entry["from"], "covered"), _date(entry["to"], "covered")) for entry in entries]
    if not ranges:
        raise ValueError("covered is empty: a calendar needs at least one range of days")
    for covered in ranges:
        if covered.last < covered.first:
            raise ValueError(f"covered {covered.text} ends before it begins")
    for earlier, later in pairwise(ranges):
        if later.first <= earlier.last + _DAY:
            raise ValueError(
                f"covered {later.text} does not lie apart from {earlier.text}: order them, join neighbours"
            )
    return ranges


def _hours(entries: Sequence[Mapping[str, str]], zone: ZoneInfo, first_day: date) -> dict[str, _Rules]:
    hours: dict[str, _Rules] = {}
    for entry in entries:
        segment = entry["segment"]
        since = _date(entry["from"], f"hours of {segment}")
        rules = hours.setdefault(segment, [])
        if rules and since <= rules[-1][0]:
            raise ValueError(f"hours of {segment} from {since} come after those from {rules[-1][0]}")
        opens, closes = (
            _time(entry["open"], f"hours of {segment}"),
            _time(entry["close"], f"hours of {segment}"),
        )
        _session(since, opens, closes, SessionKind.REGULAR, zone)
        rules.append((since, opens, closes))
    for segment, rules in hours.items():
        if rules[0][0] > first_day:
            raise ValueError(
                f"hours of {segment} begin {rules[0][0]}, after the first covered day {first_day}"
            )
    return hours


def _special(entries: Sequence[Mapping[str, Any]], zone: ZoneInfo) -> dict[date, tuple[Session, ...]]:
    special: dict[date, tuple[Session, ...]] = {}
    for entry in entries:
        day = _date(entry["day"], "special_sessions")
        where = f"special_sessions of {day}"
        if day in special:
            raise ValueError(f"special_sessions has {day} twice")
        sessions = tuple(
            _session(day, _time(part["open"], where), _time(part["close"], where), SessionKind.SPECIAL, zone)
            for part in entry["sessions"]
        )
        for earlier, later in pairwise(sessions):
            if later.open < earlier.close:
                raise ValueError(f"special_sessions of {day} overlap or are out of order")
        special[day] = sessions
    return special


def _holidays(groups: Sequence[Mapping[str, Any]]) -> set[date]:
    holidays: set[date] = set()
    for text in (text for group in groups for text in group["days"]):
        day = _date(text, "holidays")
        if day.weekday() >= _SATURDAY or day in holidays:
            raise ValueError(f"holidays has {day} ({day:%A}): each is a weekday, named once")
        holidays.add(day)
    return holidays


def _session(day: date, opens: time, closes: time, kind: SessionKind, zone: ZoneInfo) -> Session:
    if closes <= opens:
        raise ValueError(f"the session of {day} closes at {closes}, not after its open {opens}")
    return Session(day, datetime.combine(day, opens, zone), datetime.combine(day, closes, zone), kind)


def _in_force(rules: _Rules, day: date) -> tuple[time, time]:
    _, opens, closes = rules[bisect_right(rules, day, key=lambda rule: rule[0]) - 1]
    return opens, closes


def _timeline(sessions: Sequence[Session]) -> _Timeline:
    by_day: dict[date, tuple[Session, ...]] = {}
    for session in sessions:
        by_day[session.day] = (*by_day.get(session.day, ()), session)
    opens_ns = tuple(session.open_ns for session in sessions)
    closes_ns = tuple(session.close_ns for session in sessions)
    return _Timeline(tuple(sessions), opens_ns, closes_ns, by_day)


def _days(covered: DateRange) -> Iterator[date]:
    day = covered.first
    while day <= covered.last:
        yield day
        day += _DAY


def _nanoseconds(instant: datetime) -> int:
    _require_aware(instant)
    since = instant - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000


def _require_aware(instant: datetime) -> None:
    if instant.tzinfo is None:
        raise InvalidInput("instant", instant, "the calendar needs an aware datetime")


def _date(text: str, where: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidInput(where, text, "a date is written YYYY-MM-DD") from None


def _time(text: str, where: str) -> time:
    try:
        return time.fromisoformat(text)
    except ValueError:
        raise InvalidInput(where, text, "a time is written HH:MM") from None
