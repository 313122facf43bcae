"""The clocks of a process, and India's time zone: on their own, because a replay starts without adapters."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from typing import Final
from zoneinfo import ZoneInfo

IST: Final = ZoneInfo("Asia/Kolkata")


def wall_clock() -> datetime:
    """Returns wall time, aware."""
    return datetime.now(UTC)


def today() -> date:
    """Returns the day in India."""
    return wall_clock().astimezone(IST).date()


def boot_clock() -> float:
    """Returns the seconds since boot, including suspension."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
