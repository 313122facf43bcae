"""Computes when each bar of a file begins and when it is known."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Final

import numpy as np

from alphapanda.domain.calendar import CalendarNotCovered, TradingCalendar
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.marketdata.core.recorded.cells import Whole
from alphapanda.marketdata.core.recorded.options import DAY_NS, IST_NS, MINUTE_NS
from alphapanda.marketdata.core.recorded.rows import KNOWN, STAMP, TOKEN, Rows
from alphapanda.marketdata.core.recorded.spacing import BarTimes

OPEN_NS: Final = (9 * 60 + 15) * MINUTE_NS
CLOSE_NS: Final = (15 * 60 + 30) * MINUTE_NS
AUCTION_NS: Final = (15 * 60 + 15) * MINUTE_NS
"""Regular hours, from midnight in India; used for days without a session, whose bars are of no session anyway."""

_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()


class SessionHours:
    """Open and close of the days of an instrument's segment, by day since the epoch in India."""

    def __init__(self, calendar: TradingCalendar, directory: InstrumentDirectory) -> None:
        self._calendar = calendar
        self._directory = directory
        self._known: dict[tuple[str, int], tuple[tuple[int, int], ...]] = {}

    def of(self, token: int, day: int) -> tuple[tuple[int, int], ...]:
        """Open and close of each session of a day, nanoseconds since the epoch; empty if there is none or none known."""
        instrument = self._directory.by_token(token)
        segment = instrument.session_segment if instrument else ""
        asked = (segment, day)
        if asked not in self._known:
            self._known[asked] = self._looked_up(segment, day)
        return self._known[asked]

    def _looked_up(self, segment: str, day: int) -> tuple[tuple[int, int], ...]:
        if segment not in self._calendar.segments:
            return ()
        try:
            sessions = self._calendar.sessions(date.fromordinal(day + _EPOCH_DAY), segment)
        except CalendarNotCovered:
            return ()
        return tuple((session.open_ns, session.close_ns) for session in sessions)


def _day_close(sessions: tuple[tuple[int, int], ...], midnight: int) -> int:
    """When a day's bar is known: at the last close, or at 15:30 if a closing auction follows from 15:15 on."""
    if not sessions:
        return midnight + CLOSE_NS
    close = sessions[-1][1]
    return midnight + CLOSE_NS if midnight + AUCTION_NS <= close < midnight + CLOSE_NS else close


class BarClock:
    """Computes the start of each bar, and its end, at which it is known: at most its session's close."""

    def __init__(self, times: BarTimes, hours: SessionHours) -> None:
        self._times = times
        self._hours = hours

    def set_times(self, rows: Rows) -> None:
        """Replaces the stamps of bars by their starts, and sets when they are known."""
        stamps = rows[:, STAMP]
        interval = self._times.interval_ns
        if interval == DAY_NS:
            days = (stamps + IST_NS - (1 if self._times.ends else 0)) // DAY_NS
            rows[:, STAMP] = self._by_day(
                rows, days, lambda found, midnight: found[0][0] if found else midnight + OPEN_NS
            )
            rows[:, KNOWN] = self._by_day(rows, days, _day_close)
            return
        if self._times.by_clock:
            local = stamps + IST_NS - (1 if self._times.ends else 0)
            starts = local // interval * interval - IST_NS
            rows[:, KNOWN] = starts + interval
            rows[:, STAMP] = self._from_open(rows, starts)
            self._clip(rows, rows[:, STAMP])
            return
        if self._times.ends:
            stamps = -(-stamps // MINUTE_NS) * MINUTE_NS - interval
            rows[:, STAMP] = stamps
        rows[:, KNOWN] = stamps + interval
        if interval > MINUTE_NS:
            self._clip(rows, stamps)

    def _by_day(
        self, rows: Rows, days: Whole, choose: Callable[[tuple[tuple[int, int], ...], int], int]
    ) -> Whole:
        pairs, at = np.unique(np.stack((rows[:, TOKEN], days)), axis=1, return_inverse=True)
        chosen = [
            choose(self._hours.of(token, day), day * DAY_NS - IST_NS)
            for token, day in zip(*pairs.tolist(), strict=True)
        ]
        return np.array(chosen, np.int64)[at.ravel()]

    def _from_open(self, rows: Rows, starts: Whole) -> Whole:
        """The starts of bars; one in whose time a session opens begins with it."""
        days, ends = (starts + IST_NS) // DAY_NS, rows[:, KNOWN]
        for at in (0, -1):
            opens = self._by_day(rows, days, lambda found, _: found[at][0] if found else 0)  # noqa: B023 - called at once
            starts = np.where((starts < opens) & (opens < ends), opens, starts)
        return starts

    def _clip(self, rows: Rows, starts: Whole) -> None:
        """The last bar of a session ends with it: one of 60m that begins at 15:15 is known at 15:30."""
        days = (starts + IST_NS) // DAY_NS
        far = np.iinfo(np.int64).max
        first = self._by_day(rows, days, lambda found, _: found[0][1] if found else far)
        second = self._by_day(rows, days, lambda found, _: found[-1][1] if found else far)
        close = np.where(starts < first, first, np.where(starts < second, second, far))
        rows[:, KNOWN] = np.minimum(rows[:, KNOWN], close)
