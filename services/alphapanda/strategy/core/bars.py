"""Builds bars from ticks, on event time.

A bar covers [start, end). Bars shorter than a day are counted from the session's open, as on the exchange's charts. The
session's close ends the last bar, however short it is, so half days and special sessions need no special rule. A bar of a
day covers the trading day, from the open of its first session to the close of its last one.

A bar is closed by the first of these: a tick of its instrument at or after its end, or a frame of the instrument's shard,
heartbeats included, whose market time is after its end (not equal to it: other ticks of that moment may still belong to
the bar). A tick that arrives after its bar was closed is dropped. An interval without a tick has no bar.

A bar of a recording arrives as one tick at its end and belongs to the bar that contains its start. It brings its open, high
and low, so longer bars have the true ones; where a recording has closes alone, bars are built from these. A bar that ends after
the one that contains its start (a 15m bar in a 5m one, or across two of them) can't be used: `serves` says so.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple, Protocol

from pydantic import JsonValue

from alphapanda.strategy.core.day_volume import DayVolume, older_state

_SECOND: Final = 1_000_000_000
_DAY: Final = 0
_WHOLE_DAY: Final = 86_400 * _SECOND
_INDIA: Final = 19_800 * _SECOND
_BY_CLOCK: Final = ("30m", "1h", "2h")
"""Intervals whose bars lie on the clock differently than on the session."""
_OLDER_STATE: Final = 12
"""Length of a state that an earlier version stored."""

Interval = Literal[
    "1s",
    "5s",
    "10s",
    "15s",
    "30s",
    "1m",
    "2m",
    "3m",
    "5m",
    "10m",
    "15m",
    "30m",
    "1h",
    "75m",
    "2h",
    "125m",
    "1d",
]
"""The allowed intervals of bars."""

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
    "75m": 4500 * _SECOND,
    "2h": 7200 * _SECOND,
    "125m": 7500 * _SECOND,
    "1d": _DAY,
}
"""Length of each interval in nanoseconds; 0 for the trading day, whose length the calendar defines."""


class Bar(NamedTuple):
    """A closed bar; a tuple, because a replay makes millions.

    Attributes:
        start_ns: start, nanoseconds since the epoch, inclusive.
        end_ns: end, nanoseconds since the epoch, exclusive.
        day_open_ns: open of the trading day's first session, nanoseconds since the epoch.
        open: price of the first tick, rupees.
        high: highest price, rupees.
        low: lowest price, rupees.
        close: price of the last tick, rupees.
        volume: units traded; 0 if the feed has no volumes.
        ticks: number of ticks, > 0.
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


OpenHighLow = tuple[float, float, float]
"""Open, high and low of a recorded bar, rupees."""


class Hours(Protocol):
    """The session of a tick and its trading day; each [open, close) in nanoseconds since the epoch."""

    open_ns: int
    close_ns: int
    day_open_ns: int
    day_close_ns: int


def by_clock(length_ns: int, at_ns: int, ends_ns: int, hours: Hours) -> bool:
    """Whether a recorded bar lies on the clock in India and not on the session, such as 10:00 to 11:00 where that opens at 09:15.

    The session's first one is told by its odd length: the 45 minutes until 10:00 divide no hour.

    Args:
        length_ns: length of the bars to be made of it.
        at_ns: its start.
        ends_ns: its end.
        hours: the session.
    """
    own, open_ns = ends_ns - at_ns, hours.open_ns + _INDIA
    if not length_ns or _WHOLE_DAY % length_ns or open_ns % length_ns == 0 or open_ns % own == 0:
        return False
    if at_ns == hours.open_ns:
        return (ends_ns + _INDIA) % length_ns == 0 and own < length_ns and length_ns % own > 0
    return (at_ns + _INDIA) % own == 0 and length_ns % own == 0


def recorded_length(at_ns: int, ends_ns: int, hours: Hours) -> int:
    """The length of recorded bars by one of them: of a session's first one by the clock, which is shorter, that of the others."""
    if at_ns == hours.open_ns:
        for name in _BY_CLOCK:
            if by_clock(INTERVALS[name], at_ns, ends_ns, hours):
                return INTERVALS[name]
    return ends_ns - at_ns


class BarBuilder:
    """Builds the bars of one interval of one instrument.

    Its behaviour depends only on its state and the ticks, so two builders with the same state stay equal.

    Args:
        interval: one of INTERVALS.

    Attributes:
        end_ns: end of the open bar; 0 if no bar is open.
        shard: shard of the ticks; -1 before the first tick.
        late: number of ticks dropped because their bar was closed.
    """

    __slots__ = (
        "_close",
        "_closed_until_ns",
        "_day_open_ns",
        "_high",
        "_length",
        "_low",
        "_open",
        "_start_ns",
        "_ticks",
        "_volume",
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
        self._ticks = 0
        self._volume = DayVolume()

    def add(
        self,
        price: float,
        at_ns: int,
        volume: int | None,
        hours: Hours,
        shard: int,
        prices: OpenHighLow | None = None,
        ends_ns: int = 0,
    ) -> None:
        """Adds a tick, or a recorded bar. A bar that ends at or before `at_ns` must have been closed.

        Args:
            price: rupees; a recorded bar's close.
            at_ns: the time that decides to which bar the tick belongs; inside `hours`.
            volume: units traded in the day so far; None if the feed has no volumes.
            hours: the session.
            shard: shard of the tick's frame.
            prices: open, high and low of a recorded bar; None: it has traded at `price` alone.
            ends_ns: end of a recorded bar; 0 for a tick.
        """
        self.shard = shard
        if at_ns < (self._start_ns if self.end_ns else self._closed_until_ns):
            self.late += 1
            return
        if prices is not None:
            first, high, low = prices
            if not self.end_ns:
                self._begin(first, at_ns, hours, ends_ns)
            self._high = max(self._high, high)
            self._low = min(self._low, low)
        elif not self.end_ns:
            self._begin(price, at_ns, hours, ends_ns)
        elif price > self._high:
            self._high = price
        elif price < self._low:
            self._low = price
        self._close = price
        self._ticks += 1
        if volume is not None:
            self._volume.add(volume, self._start_ns == self._day_open_ns, ends_ns > 0)

    def outside(self, volume: int, at_ns: int) -> None:
        """Takes the day's volume at a tick outside of sessions: what the pre-open traded is no bar's."""
        self._volume.outside(volume, at_ns)

    def serves(self, ends_ns: int, hours: Hours) -> bool:
        """Whether the recorded bar just added, which ends at `ends_ns`, lies in the open bar; the session's close cuts both."""
        if ends_ns <= self.end_ns or not self.end_ns:
            return True
        return self.end_ns == hours.close_ns and not hours.close_ns < hours.day_close_ns <= ends_ns

    def ends_before(self, at_ns: int, time_ns: int, hours: Hours) -> bool:
        """Whether the open bar ends before a tick, or a recorded bar from `at_ns` to `time_ns`.

        So does one in which a recorded bar by the clock begins: it was a session's first.
        """
        if at_ns >= self.end_ns:
            return True
        return self._start_ns < at_ns < time_ns and by_clock(self._length, at_ns, time_ns, hours)

    def close(self) -> Bar:
        """Closes the open bar and returns it."""
        bar = Bar(
            self._start_ns,
            self.end_ns,
            self._day_open_ns,
            self._open,
            self._high,
            self._low,
            self._close,
            self._volume.taken(),
            self._ticks,
        )
        self._closed_until_ns = self.end_ns
        self.end_ns = self._start_ns = self._ticks = 0
        self._open = self._high = self._low = self._close = 0.0
        return bar

    def state(self) -> list[JsonValue]:
        """The state: everything on which later bars depend; exact in JSON."""
        return [
            self._start_ns,
            self.end_ns,
            self._day_open_ns,
            self._open,
            self._high,
            self._low,
            self._close,
            self._volume.state(),
            self._ticks,
            self._closed_until_ns,
            self.shard,
        ]

    def restore(self, state: Any) -> None:
        """Restores what `state` returned for this interval."""
        if len(state) == _OLDER_STATE:
            before, traded = state[7:9]
            state = [*state[:7], older_state(before, traded), *state[9:]]
        *head, volume, ticks, closed_until_ns, shard = state
        self._volume.restore(volume)
        self._start_ns, self.end_ns, self._day_open_ns = head[:3]
        self._open, self._high, self._low, self._close = head[3:7]
        self._ticks, self._closed_until_ns, self.shard = ticks, closed_until_ns, shard

    def _begin(self, price: float, at_ns: int, hours: Hours, ends_ns: int) -> None:
        if self._length == _DAY:
            self._start_ns, self.end_ns = hours.day_open_ns, hours.day_close_ns
        elif ends_ns > at_ns and by_clock(self._length, at_ns, ends_ns, hours):
            begins = at_ns - (at_ns + _INDIA) % self._length
            self._start_ns = max(begins, hours.open_ns)
            self.end_ns = min(begins + self._length, hours.close_ns)
        else:
            self._start_ns = at_ns - (at_ns - hours.open_ns) % self._length
            self.end_ns = min(self._start_ns + self._length, hours.close_ns)
        if hours.day_open_ns != self._day_open_ns:
            self._volume.begin_day(hours.day_open_ns, first=not self._day_open_ns)
            self._day_open_ns = hours.day_open_ns
        self._open = self._high = self._low = price


def unserved_interval(interval: str, length_ns: int) -> str:
    """Says that bars of an interval can't be made from recorded bars of this length, and what to do."""
    if INTERVALS[interval] == _DAY:
        return (
            "what a bar of a day decides is known at the close, and bars of 1d fill it at the next open alone: set"
            " paper_trading.fill (--fill) to next_open, or give it finer data"
        )
    recorded = next((name for name, length in INTERVALS.items() if length == length_ns), "")
    recorded = recorded or (
        f"{length_ns // 60 / _SECOND:g} minutes" if length_ns < 4 * 3600 * _SECOND else "1d"
    )
    fitting = [
        name
        for name, length in INTERVALS.items()
        if length and length >= length_ns and not length % length_ns
    ]
    return (
        f"bars of {interval} can't be made from recorded bars of {recorded}: set its interval to"
        f" {' or '.join([*fitting, '1d'][:3])}, or give it finer data"
    )
