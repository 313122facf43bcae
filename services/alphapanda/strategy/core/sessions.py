"""Checks whether a tick is in a session of the exchange, in two comparisons."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from alphapanda.domain.calendar import CalendarNotCovered, TradingCalendar
from alphapanda.domain.frame import instant


class SessionSpan(NamedTuple):
    """The part of many ascending times that is in one session.

    Attributes:
        end: number of times up to the session's end.
        close_ns: close of the session, nanoseconds since the epoch.
        close: the same as a datetime.
        day_open_ns: open of the trading day's first session, nanoseconds since the epoch.
    """

    end: int
    close_ns: int
    close: datetime
    day_open_ns: int


class SessionWindow:
    """The session that contained a segment's last tick.

    The hot path compares with `open_ns` and `close_ns` itself and calls `move_to` only if that fails. On a day that the
    calendar doesn't cover no tick is in a session; `not_covered` keeps the error of the first such day. `day_open_ns`
    and `day_close_ns` are those of the session's trading day. All are nanoseconds since the epoch.
    """

    __slots__ = (
        "_calendar",
        "_segment",
        "close",
        "close_ns",
        "day_close_ns",
        "day_open_ns",
        "not_covered",
        "open_ns",
    )

    def __init__(self, calendar: TradingCalendar, segment: str) -> None:
        self._calendar = calendar
        self._segment = segment
        self.open_ns = 0
        self.close_ns = 0
        self.day_open_ns = 0
        self.day_close_ns = 0
        self.close: datetime = instant(0)
        self.not_covered: CalendarNotCovered | None = None

    def spans(self, belongs_at: Sequence[int]) -> list[SessionSpan] | None:
        """Finds the sessions of many ascending times; the window stays as it is.

        Returns:
            The sessions in their order. None if a time is in no session, or the times aren't ascending.
        """
        found: list[SessionSpan] = []
        begin = 0
        while begin < len(belongs_at):
            try:
                session = self._calendar.session_at_ns(belongs_at[begin], self._segment)
            except CalendarNotCovered:
                return None
            if session is None:
                return None
            close_ns = session.close_ns
            begin = bisect_left(belongs_at, close_ns, begin)
            day_open_ns = self._calendar.sessions(session.day, self._segment)[0].open_ns
            found.append(SessionSpan(begin, close_ns, instant(close_ns), day_open_ns))
        return found if sorted(belongs_at) == list(belongs_at) else None

    def move_to(self, at_ns: int) -> bool:
        """Moves the window to the session that contains the time; False if there is none, and the window stays."""
        try:
            session = self._calendar.session_at_ns(at_ns, self._segment)
        except CalendarNotCovered as error:
            self.not_covered = self.not_covered or error
            return False
        if session is None:
            return False
        self.open_ns = session.open_ns
        self.close_ns = session.close_ns
        self.close = instant(session.close_ns)
        of_day = self._calendar.sessions(session.day, self._segment)
        self.day_open_ns = of_day[0].open_ns
        self.day_close_ns = of_day[-1].close_ns
        return True
