"""What a bar traded, from the day's volume so far as a feed gives it.

A day's volume only rises. Feeds give it otherwise: it dips for a moment, falls to zero and comes back, falls to zero and is
counted anew, is missing in the morning, or has the pre-open auction in it. None of it may make a bar's volume
negative, nothing by accident, or a whole day's:

- A volume below the highest one so far counts nothing; what it rises from there is counted, and taken off again when the
  highest one is passed.
- The day begins at the volume of the last tick before its first session, where there was one; at 0 where the first tick of
  its first bar has a volume; else, joined later, at the first volume that comes.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import JsonValue

_BEFORE_OPEN_NS: Final = 12 * 3600 * 1_000_000_000
"""Ticks this long before the day's first session are its pre-open."""
_UNKNOWN: Final = -1
_JOINED: Final = -2
_NO_DIP: Final = -1


class DayVolume:
    """Turns the day's volume into what was traded since the last bar.

    Attributes:
        traded: units traded since `taken` was called.
    """

    __slots__ = ("_dip", "_peak", "_pre_open", "_pre_open_ns", "_regained", "traded")

    def __init__(self) -> None:
        self.traded = 0
        self._peak = _JOINED
        self._dip = _NO_DIP
        self._regained = self._pre_open = self._pre_open_ns = 0

    def outside(self, volume: int, at_ns: int) -> None:
        """Takes the volume of a tick outside of sessions."""
        self._pre_open, self._pre_open_ns = volume, at_ns

    def begin_day(self, day_open_ns: int, *, first: bool) -> None:
        """Begins a trading day; `first`: no day came before it, so the builder may have joined within the day."""
        self._dip, self._regained = _NO_DIP, 0
        if day_open_ns - _BEFORE_OPEN_NS < self._pre_open_ns < day_open_ns:
            self._peak = self._pre_open
        else:
            self._peak = _JOINED if first else _UNKNOWN

    def add(self, volume: int, opens: bool, recorded: bool) -> None:
        """Adds the volume of a tick or a recorded bar in a session.

        Args:
            volume: units traded in the day so far, >= 0.
            opens: whether its bar begins with the day.
            recorded: whether it is a recorded bar.
        """
        peak = self._peak
        if peak < 0:
            counts = opens or (recorded and peak == _UNKNOWN)
            self.traded += volume if counts else 0
            self._peak = volume
        elif volume >= peak:
            if self._dip == _NO_DIP:
                self.traded += volume - peak
            else:
                self.traded += max(0, volume - peak - self._regained)
                self._dip, self._regained = _NO_DIP, 0
            self._peak = volume
        else:
            if 0 <= self._dip < volume:
                self.traded += volume - self._dip
                self._regained += volume - self._dip
            self._dip = volume

    def taken(self) -> int:
        """What was traded since this was called last."""
        traded, self.traded = self.traded, 0
        return traded

    def state(self) -> list[JsonValue]:
        """The state: everything on which later volumes depend."""
        return [self.traded, self._peak, self._dip, self._regained, self._pre_open, self._pre_open_ns]

    def restore(self, state: Any) -> None:
        """Restores what `state` returned."""
        self.traded, self._peak, self._dip, self._regained, self._pre_open, self._pre_open_ns = state


def older_state(before: int, traded: int) -> list[JsonValue]:
    """The state of a builder that an earlier version stored: the day's volume before the bar, and so far."""
    return [max(0, traded - before), traded, _NO_DIP, 0, 0, 0]
