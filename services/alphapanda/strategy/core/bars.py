"""Bars from ticks, on event time.

A bar is [start, end). Bars of less than a day are counted from their session's open, as the exchange's charts count
them, and the session's close ends the last one however short it is, so half days and special sessions need no rule of
their own. A bar of a day is the trading day, from its first session's open to its last one's close.

A bar closes with the first of these: a tick of its instrument at or past its end, or a frame of the instrument's shard,
heartbeats included, whose market time is past its end (not at its end: other ticks of that moment may still belong to
it). A tick that arrives after its bar closed is dropped. An interval without a tick has no bar.

A minute bar of a recording arrives as one tick, its close, which belongs to the bar that holds its start. So a 1m bar
built from it has that close as open, high and low too, and a longer bar is made of the minutes' closes.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple, Protocol

from pydantic import JsonValue

_SECOND: Final = 1_000_000_000
_DAY: Final = 0

Interval = Literal[
    "1s", "5s", "10s", "15s", "30s", "1m", "2m", "3m", "5m", "10m", "15m", "30m", "1h", "2h", "1d"
]
"""The intervals of bars."""

INTERVALS: Final[dict[str, int]] = {
    "1s": _SECOND,
    "5s": 5 * _SECOND,
    "10s": 10 * _SECOND,
    "15s": 15 * _SECOND,
    "30s": 30 * _SECOND,
    "1m": 60 * _SECOND,
    "2m": 120 * _SECOND,
    "3m": 180 * _SECOND,
    "5m": 300 * _SECOND,
    "10m": 600 * _SECOND,
    "15m": 900 * _SECOND,
    "30m": 1800 * _SECOND,
    "1h": 3600 * _SECOND,
    "2h": 7200 * _SECOND,
    "1d": _DAY,
}
"""Nanoseconds of each; 0 for the trading day, whose length the calendar knows."""


class Bar(NamedTuple):
    """A closed bar; a tuple, because a replay makes millions.

    Attributes:
        start_ns: its start, nanoseconds since the epoch.
        end_ns: its end, which is no longer in it.
        day_open_ns: open of the trading day's first session.
        open: rupees, of its first tick.
        high: rupees.
        low: rupees.
        close: rupees, of its last tick.
        volume: units traded; 0 where the feed has no volumes.
        ticks: ticks in it, > 0.
    """

    start_ns: int
    end_ns: int
    day_open_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: int
    ticks: int


class Hours(Protocol):
    """The session that holds a tick, and its trading day; [open, close) in nanoseconds since the epoch."""

    open_ns: int
    close_ns: int
    day_open_ns: int
    day_close_ns: int


class BarBuilder:
    """Bars of one interval of one instrument.

    Its behaviour depends on its state and its ticks alone, so two builders with the same state stay the same.

    Args:
        interval: one of INTERVALS.

    Attributes:
        end_ns: end of the open bar; 0 where none is open.
        shard: of its ticks; -1 where it has seen none.
        late: ticks dropped because their bar was closed.
    """

    __slots__ = (
        "_before",
        "_close",
        "_closed_until_ns",
        "_day_open_ns",
        "_high",
        "_length",
        "_low",
        "_open",
        "_start_ns",
        "_ticks",
        "_traded",
        "end_ns",
        "interval",
        "late",
        "shard",
    )

    def __init__(self, interval: str) -> None:
        self.interval = interval
        self._length = INTERVALS[interval]
        self.late = 0
        self.shard = -1
        self.end_ns = self._start_ns = self._day_open_ns = self._closed_until_ns = 0
        self._open = self._high = self._low = self._close = 0.0
        self._before = self._traded = self._ticks = 0

    def add(self, price: float, at_ns: int, volume: int | None, hours: Hours, shard: int) -> None:
        """Adds a tick. A bar that ends at or before `at_ns` must have been closed.

        Args:
            price: rupees.
            at_ns: the time that decides its bar, inside `hours`.
            volume: units traded in the day so far; None where the feed has no volumes.
            hours: the session.
            shard: of the frame it came in.
        """
        self.shard = shard
        if at_ns < (self._start_ns if self.end_ns else self._closed_until_ns):
            self.late += 1
            return
        if not self.end_ns:
            self._begin(price, at_ns, volume, hours)
        elif price > self._high:
            self._high = price
        elif price < self._low:
            self._low = price
        self._close = price
        self._ticks += 1
        if volume is not None:
            self._traded = volume

    def close(self) -> Bar:
        """Closes the open bar."""
        bar = Bar(
            self._start_ns,
            self.end_ns,
            self._day_open_ns,
            self._open,
            self._high,
            self._low,
            self._close,
            max(0, self._traded - self._before),
            self._ticks,
        )
        self._closed_until_ns = self.end_ns
        self.end_ns = self._start_ns = self._ticks = 0
        self._open = self._high = self._low = self._close = 0.0
        self._before = self._traded
        return bar

    def state(self) -> list[JsonValue]:
        """Everything that later bars depend on; exact in JSON."""
        return [
            self._start_ns,
            self.end_ns,
            self._day_open_ns,
            self._open,
            self._high,
            self._low,
            self._close,
            self._before,
            self._traded,
            self._ticks,
            self._closed_until_ns,
            self.shard,
        ]

    def restore(self, state: Any) -> None:
        """Restores what `state` returned for this interval."""
        (
            self._start_ns,
            self.end_ns,
            self._day_open_ns,
            self._open,
            self._high,
            self._low,
            self._close,
            self._before,
            self._traded,
            self._ticks,
            self._closed_until_ns,
            self.shard,
        ) = state

    def _begin(self, price: float, at_ns: int, volume: int | None, hours: Hours) -> None:
        if self._length == _DAY:
            self._start_ns, self.end_ns = hours.day_open_ns, hours.day_close_ns
        else:
            self._start_ns = at_ns - (at_ns - hours.open_ns) % self._length
            self.end_ns = min(self._start_ns + self._length, hours.close_ns)
        if hours.day_open_ns != self._day_open_ns:
            # A day's volume begins at 0, but a builder that joins later doesn't know what was traded before.
            joined_later = not self._day_open_ns and self._start_ns > hours.day_open_ns
            self._before = self._traded = volume if joined_later and volume is not None else 0
            self._day_open_ns = hours.day_open_ns
        self._open = self._high = self._low = price
