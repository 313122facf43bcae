"""How long the parts of a process may take to end, all together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

LEAST_SECONDS = 0.25
"""What a part is given although the time is over: most need no more."""

CANCEL_SECONDS = 0.5
"""How long a cancelled part is waited for; the clients of PostgreSQL and Redis may keep it longer."""

_log = structlog.get_logger(__name__)


class StopBound:
    """One span of time for everything that ends one after the other; what outlasts it is cancelled and named in the log.

    Nothing is lost by that: what isn't committed is delivered again at the next start.

    Args:
        seconds: for all of it, from the first `end` on.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: float | None = None

    async def end(self, name: str, stop: Callable[[], Awaitable[object]]) -> None:
        """Ends a part, or cuts it off; its own error is raised."""
        now = asyncio.get_running_loop().time()
        if self._until is None:
            self._until = now + self._seconds
        task = asyncio.ensure_future(stop())
        try:
            await asyncio.wait([task], timeout=max(self._until - now, LEAST_SECONDS))
            if task.done():
                task.result()
                return
            _log.error("part.cut_off", part=name, bound_seconds=self._seconds)
        finally:  # it may itself be part of what is cut off
            task.cancel()
        await asyncio.wait([task], timeout=CANCEL_SECONDS)
