"""What trading asks of its surroundings besides its store and the traders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.order import TradingState

Instruments = Callable[[], InstrumentDirectory]
"""The instruments of today; asked anew each time, because the directory is replaced as a whole."""

BootClock = Callable[[], float]
"""Seconds since boot, suspension included, so that a frozen process sees how long it was away (CLOCK_BOOTTIME)."""

Step = Callable[[str], None]
"""Told of each step an order takes; tests stop the process in it."""


def no_step(_: str) -> None:
    """Nobody watches."""


class KillSwitchShown(Protocol):
    """The kill switch as Redis shows it."""

    async def state(self, broker: str) -> TradingState:
        """What may be traded; REDUCING where it is missing or can't be read."""
