"""The pace at which a simulated or replayed feed delivers ticks."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import SECOND_NS

REAL: Final = 1.0
MAX: Final = math.inf

_MAX_BEHIND_SECONDS: Final = 1.0
_IST_NS: Final = 19_800 * SECOND_NS
_DAY_NS: Final = 86_400 * SECOND_NS


def parsed_speed(text: str) -> float:
    """Parses `--speed`: market seconds per wall second, or "max" (MAX: no waits).

    Raises:
        InvalidInput: it is neither a number above 0 nor max.
    """
    allowed = "market seconds in a wall second, above 0, or max"
    if text == "max":
        return MAX
    try:
        speed = float(text)
    except ValueError:
        raise InvalidInput("--speed", text, allowed) from None
    if not 0 < speed < MAX:
        raise InvalidInput("--speed", text, allowed)
    return speed


class Pacer:
    """Waits until a step is due; it doesn't catch up after a long delay.

    Args:
        speed: market seconds per wall second, > 0.
        sleep: waits a number of wall seconds.
        monotonic: returns seconds of a monotonic clock.

    Attributes:
        resting: whether it is waiting now, so that no frame is due.
    """

    def __init__(
        self,
        speed: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = lambda: asyncio.get_running_loop().time(),
    ) -> None:
        self.resting = False
        self._speed = speed
        self._sleep = sleep
        self._monotonic = monotonic
        self._due = 0.0
        self._reached_ns = 0

    def begin_at(self, market_time_ns: int) -> None:
        """Sets the market time up to which it doesn't wait."""
        self._reached_ns = market_time_ns
        self._due = self._monotonic()

    async def reach(self, market_time_ns: int) -> None:
        """Waits until this market time is due; nights are skipped."""
        gap_ns = market_time_ns - self._reached_ns
        if gap_ns > 0:
            same_day = _ist_day(market_time_ns) == _ist_day(self._reached_ns)
            self._reached_ns = market_time_ns
            await self.step(gap_ns / SECOND_NS if same_day else 0)

    async def step(self, market_seconds: float) -> None:
        """Waits for a step that is this much market time after the previous one."""
        if self._speed == MAX:
            return
        now = self._monotonic()
        self._due += market_seconds / self._speed
        if self._due < now - _MAX_BEHIND_SECONDS:
            self._due = now
        elif self._due > now:
            self.resting = True
            try:
                await self._sleep(self._due - now)
            finally:
                self.resting = False


def _ist_day(market_time_ns: int) -> int:
    return (market_time_ns + _IST_NS) // _DAY_NS
