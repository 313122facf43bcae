"""The market's time on a live feed: it follows the exchange's timestamps, checked against the wall clock."""

from __future__ import annotations

from typing import Final

from alphapanda.domain.frame import SECOND_NS

AHEAD_NS: Final = 2 * SECOND_NS
"""A timestamp may be so far ahead of the wall clock; timestamps are whole seconds."""
BEHIND_NS: Final = 30 * SECOND_NS
"""The newest timestamp may be so far behind the wall clock during a session."""
LONGEST_SILENCE_NS: Final = 10 * SECOND_NS
"""During a session market time goes on so long without a timestamp: a wall clock that jumps takes it no further."""
JUDGED_NS: Final = 10 * SECOND_NS
"""The clocks are apart if everything in so long a time says so."""


class LiveClock:
    """Tells market time from timestamps and the time that passed since they came. It never goes back.

    A timestamp ahead of the wall clock isn't believed, because one wrong one would move market time for good. Where for ten
    seconds nothing but such timestamps come, or during a session nothing but old ones, the clocks are apart: one of them is
    wrong, or the prices are old.

    Args:
        market_time_ns: market time so far, nanoseconds since the epoch.
        owns_time: whether the exchange is a simulated one, whose timestamps alone are market time: nothing is compared with the
            wall clock, and there is no market time before the first of them.
    """

    def __init__(self, market_time_ns: int = 0, *, owns_time: bool = False) -> None:
        self._now = market_time_ns
        self._owns_time = owns_time
        self._stamp = 0
        self._stamped_at = 0
        self._newest = 0
        self._fine_at: int | None = None

    @property
    def now_ns(self) -> int:
        """Market time, nanoseconds since the epoch; 0 before the first message."""
        return self._now

    def advance(self, wall_ns: int, newest_s: int, *, open_now: bool) -> int:
        """Takes a message's arrival and moves market time; returns it.

        Args:
            wall_ns: wall time at which it came, nanoseconds since the epoch.
            newest_s: its newest timestamp, seconds since the epoch; 0: it has none.
            open_now: whether a session is on.
        """
        stamp = newest_s * SECOND_NS
        if self._owns_time:
            return self._followed(wall_ns, stamp)
        if self._fine_at is None or wall_ns < self._fine_at:
            self._fine_at = wall_ns
        if stamp:
            self._newest = stamp
            believed = stamp <= wall_ns + AHEAD_NS
            fresh = self._stamped_at or stamp >= wall_ns - BEHIND_NS
            if believed and fresh and stamp > self._stamp:
                self._stamp, self._stamped_at = stamp, wall_ns
            if believed and (not open_now or stamp >= wall_ns - BEHIND_NS):
                self._fine_at = wall_ns
        else:
            behind = self._newest and self._newest > wall_ns + AHEAD_NS
            if not behind and (not open_now or not self._newest or self._newest >= wall_ns - BEHIND_NS):
                self._fine_at = wall_ns
        self._now = max(self._now, self._running(wall_ns, open_now=open_now))
        return self._now

    def _followed(self, wall_ns: int, stamp: int) -> int:
        """Market time of an exchange that owns it; 0 before its first timestamp."""
        if stamp > self._stamp:
            self._stamp, self._stamped_at = stamp, wall_ns
        if self._stamp:
            self._now = max(self._now, self._running(wall_ns, open_now=False))
        return self._now if self._stamp else 0

    def apart_seconds(self, wall_ns: int) -> int:
        """How far the exchange's clock is ahead of (> 0) or behind (< 0) the wall clock, where that is too far; else 0."""
        if self._fine_at is None or wall_ns - self._fine_at < JUDGED_NS or not self._newest:
            return 0
        return (self._newest - wall_ns) // SECOND_NS

    def _running(self, wall_ns: int, *, open_now: bool) -> int:
        """Market time as far as it is known: the newest timestamp and the time since; the wall's before the first one."""
        if not self._stamped_at:
            return wall_ns
        passed = max(wall_ns - self._stamped_at, 0)
        return self._stamp + (min(passed, LONGEST_SILENCE_NS) if open_now else passed)
