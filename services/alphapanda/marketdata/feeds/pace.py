"""How fast a feed that owns its market time moves."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final

from alphapanda.domain.errors import InvalidInput

REAL: Final = 1.0
MAX: Final = math.inf

_MOST_BEHIND_SECONDS: Final = 1.0


def parsed_speed(text: str) -> float:
    """Market seconds in a wall second, of `--speed`; "max" is MAX: nothing is waited for.

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
    """Waits until it is a step's turn; one who is far behind doesn't hurry to catch up.

    Args:
        speed: market seconds in a wall second, > 0.
        sleep: waits so many wall seconds.
        monotonic: wall seconds from anywhere, never back.
    """

    def __init__(
        self,
        speed: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = lambda: asyncio.get_running_loop().time(),
    ) -> None:
        self._speed = speed
        self._sleep = sleep
        self._monotonic = monotonic
        self._due = 0.0

    async def step(self, market_seconds: float) -> None:
        """Waits for a step that is so much market time after the one before."""
        if self._speed == MAX:
            return
        now = self._monotonic()
        self._due += market_seconds / self._speed
        if self._due < now - _MOST_BEHIND_SECONDS:
            self._due = now
        elif self._due > now:
            await self._sleep(self._due - now)
