"""Limits the time in which the parts of a process stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

LEAST_SECONDS = 0.25
"""Time that each part gets even after the limit has passed; most need no more."""

CANCEL_SECONDS = 0.5
"""How long to wait for a cancelled part; the clients of PostgreSQL and Redis may delay its end."""

_log = structlog.get_logger(__name__)


class StopBound:
    """One time limit for parts that stop one after the other. A part that exceeds it is cancelled and named in the log.

    Nothing is lost: records that aren't committed are delivered again at the next start.

    Args:
        seconds: limit for all parts together, from the first `end` on.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: float | None = None
        self._ending: list[str] = []

    @property
    def ending(self) -> Sequence[str]:
        """Names of the parts that are being stopped now."""
        return tuple(self._ending)

    async def end(self, name: str, stop: Callable[[], Awaitable[object]]) -> None:
        """Stops a part, or cancels it at the limit; raises the part's own error."""
        now = asyncio.get_running_loop().time()
        if self._until is None:
            self._until = now + self._seconds
        task = asyncio.ensure_future(stop())
        self._ending.append(name)
        try:
            await asyncio.wait([task], timeout=max(self._until - now, LEAST_SECONDS))
            if task.done():
                task.result()
                return
            _log.error("part.cut_off", part=name, bound_seconds=self._seconds)
        finally:  # this call may itself be cancelled
            task.cancel()
            self._ending.remove(name)
        await asyncio.wait([task], timeout=CANCEL_SECONDS)
