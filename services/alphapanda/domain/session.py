"""Values of the trading calendar: ranges of days, sessions, and how sure a day is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Final

from alphapanda.domain.errors import InvalidInput

DEFAULT_MIS_CUT_OFF: Final = time(15, 0)
SHORT_SESSION_CUT_OFF: Final = timedelta(minutes=15)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class SessionKind(StrEnum):
    """Regular hours of the segment, or hours announced for one day."""

    REGULAR = "regular"
    SPECIAL = "special"


class Sureness(StrEnum):
    """How sure a day or its hours are."""

    CIRCULAR = "circular"
    RECORDING = "recording"
    PRESS = "press"
    LIBRARY = "library"
    SINGLE = "single"
    OWN = "own file"
    DISPUTED = "disputed"
    PROVISIONAL = "provisional"


@dataclass(frozen=True, slots=True)
class DayNote:
    """What a day is, how sure that is, and where it comes from.

    Attributes:
        name: "weekday", "weekend", or the name of the holiday or the special session.
        sureness: how sure it is.
        source: where it comes from, for people.
    """

    name: str
    sureness: Sureness
    source: str


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
        remedy = (
            "; give the days beyond it in a file of your own (`alphapanda calendar import FILE`) or set"
            " calendar.provisional_weekdays"
            if day > self.ranges[-1].last
            else ""
        )
        super().__init__(f"the trading calendar has no data for {day}; it covers {covered}{remedy}")


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
        return nanoseconds_of(self.open)

    @property
    def close_ns(self) -> int:
        """The close in nanoseconds since the Unix epoch."""
        return nanoseconds_of(self.close)


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


def nanoseconds_of(instant: datetime) -> int:
    """Nanoseconds since the Unix epoch.

    Raises:
        InvalidInput: the datetime is naive.
    """
    require_aware(instant)
    since = instant - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000


def require_aware(instant: datetime) -> None:
    """Raises InvalidInput for a naive datetime."""
    if instant.tzinfo is None:
        raise InvalidInput("instant", instant, "the calendar needs an aware datetime")
