"""The pace at which a simulated or replayed feed delivers ticks."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import SECOND_NS
from alphapanda.domain.pace import MAX, MISSED

_MAX_BEHIND_SECONDS: Final = 1.0
_MEASURED_SECONDS: Final = 10.0
SAID_EVERY_SECONDS: Final = 60.0
_IST_NS: Final = 19_800 * SECOND_NS
_DAY_NS: Final = 86_400 * SECOND_NS
_log: Final = structlog.get_logger(__name__)


def parsed_speed(text: str) -> float:
    """Parses `--speed`: market seconds per wall second; "0" or "max" is MAX: no waits.

    Raises:
        InvalidInput: it is neither a number from 0 on nor max.
    """
    allowed = "market seconds in a wall second, above 0; 0 or max for as fast as it goes"
    if text in {"max", "0"}:
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
        speed: market seconds per wall second; MAX: it doesn't wait.
        reached: market seconds per wall second in the last full 10 s; None before.
    """

    def __init__(
        self,
        speed: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = lambda: asyncio.get_running_loop().time(),
    ) -> None:
        self.resting = False
        self.speed: Final = speed
        self.reached: float | None = None
        self._sleep = sleep
        self._monotonic = monotonic
        self._due = 0.0
        self._reached_ns = 0
        self._measured_from: float | None = None
        self._advanced = 0.0
        self._said_at = -math.inf

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
        self._measure(market_seconds)
        if self.speed == MAX:
            return
        now = self._monotonic()
        self._due += market_seconds / self.speed
        if self._due < now - _MAX_BEHIND_SECONDS:
            self._due = now
        elif self._due > now:
            self.resting = True
            try:
                await self._sleep(self._due - now)
            finally:
                self.resting = False

    def _measure(self, market_seconds: float) -> None:
        now = self._monotonic()
        if self._measured_from is None:
            self._measured_from = now
            return
        self._advanced += market_seconds
        passed = now - self._measured_from
        if passed < _MEASURED_SECONDS:
            return
        self.reached = self._advanced / passed
        self._measured_from, self._advanced = now, 0.0
        if self.reached < MISSED * self.speed < MAX and now - self._said_at >= SAID_EVERY_SECONDS:
            self._said_at = now
            _log.warning("feed.pace_missed", speed=self.speed, reached=round(self.reached, 2))


def _ist_day(market_time_ns: int) -> int:
    return (market_time_ns + _IST_NS) // _DAY_NS
