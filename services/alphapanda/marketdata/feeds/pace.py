"""The pace of a feed that owns its market time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import SECOND_NS

REAL: Final = 1.0
MAX: Final = math.inf

_MOST_BEHIND_SECONDS: Final = 1.0
_IST_NS: Final = 19_800 * SECOND_NS
_DAY_NS: Final = 86_400 * SECOND_NS


def parsed_speed(text: str) -> float:
    """Parses `--speed`: market seconds in a wall second; "max" is MAX, without any wait.

    Raises:
        InvalidInput: it isn't a number above 0, nor max.
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
    """Waits until a step is due; after a long delay it doesn't catch up.

    Args:
        speed: market seconds in a wall second, > 0.
        sleep: waits that many wall seconds.
        monotonic: wall seconds from an arbitrary start, never decreasing.

    Attributes:
        resting: whether it is waiting, so that no frame is due.
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
        """Sets the market time up to which there is no wait."""
        self._reached_ns = market_time_ns
        self._due = self._monotonic()

    async def reach(self, market_time_ns: int) -> None:
        """Waits until this market time is due; a night is skipped."""
        gap_ns = market_time_ns - self._reached_ns
        if gap_ns > 0:
            same_day = _ist_day(market_time_ns) == _ist_day(self._reached_ns)
            self._reached_ns = market_time_ns
            await self.step(gap_ns / SECOND_NS if same_day else 0)

    async def step(self, market_seconds: float) -> None:
        """Waits for a step that is that much market time after the one before."""
        if self._speed == MAX:
            return
        now = self._monotonic()
        self._due += market_seconds / self._speed
        if self._due < now - _MOST_BEHIND_SECONDS:
            self._due = now
        elif self._due > now:
            self.resting = True
            try:
                await self._sleep(self._due - now)
            finally:
                self.resting = False


def _ist_day(market_time_ns: int) -> int:
    return (market_time_ns + _IST_NS) // _DAY_NS
