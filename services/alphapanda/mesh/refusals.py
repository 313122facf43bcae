"""Answers refused calls: at once, or, while refusals come faster than a server can afford, after the wait they ask for.

A refusal costs a quarter of a millisecond. A client that repeats refused calls at once, against RetryInfo, would take the
time of all others; its refusals are sent when it should have asked again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Final, Never

from structlog.typing import FilteringBoundLogger

from alphapanda.mesh.abort import Context, abort_with
from alphapanda.mesh.errors import ApiError
from alphapanda.mesh.failures import RETRY_AFTER_SECONDS, failure_of

AT_ONCE: Final = 500
"""Refusals in a burst that are sent at once."""
A_SECOND: Final = 100
"""Refusals a second that are sent at once for as long as they come."""
MOST_WAITING: Final = 4000
"""Refusals that wait; more are sent at once, because a waiting call takes memory."""
LOG_EVERY_SECONDS: Final = 10.0
_STEP: Final = 0.618
"""Waits of refusals that follow each other are far apart, so that their callers don't come back all at once."""


class RefusalPace:
    """Says how long each refusal waits. A core: a bucket of AT_ONCE that fills by A_SECOND a second.

    Args:
        now: the current time, seconds of any clock.
    """

    def __init__(self, now: float) -> None:
        self._left = float(AT_ONCE)
        self._at = now
        self._spread = 0.0

    def wait(self, now: float) -> float:
        """Returns the seconds that a refusal waits before it is sent: 0 while the bucket holds out."""
        self._left = min(self._left + (now - self._at) * A_SECOND, AT_ONCE)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        self._spread = (self._spread + _STEP) % 1
        return RETRY_AFTER_SECONDS * (0.75 + self._spread / 2)


class Refusals:
    """Sends refusals and logs their number, one line in LOG_EVERY_SECONDS.

    Args:
        log: gets the line.
        clock: seconds of a clock that never goes back.
    """

    def __init__(self, log: FilteringBoundLogger, clock: Callable[[], float] = monotonic) -> None:
        self._log = log
        self._clock = clock
        self._pace = RefusalPace(clock())
        self._waiting = 0
        self._unlogged: Counter[str] = Counter()
        self._logged_at: float | None = None

    async def send(self, refusal: ApiError, method: str, context: Context) -> Never:
        """Answers a call that was not admitted."""
        now = self._clock()
        self._count(refusal.reason, method, now)
        wait = self._pace.wait(now)
        if wait and self._waiting < MOST_WAITING:
            self._waiting += 1
            try:
                await asyncio.sleep(wait)
            finally:
                self._waiting -= 1
        await abort_with(failure_of(refusal), context)

    def _count(self, reason: str, method: str, now: float) -> None:
        self._unlogged[f"{reason} {method}"] += 1
        if self._logged_at is not None and now - self._logged_at < LOG_EVERY_SECONDS:
            return
        self._log.warning("calls.refused", reason=reason, method=method, counts=dict(self._unlogged))
        self._logged_at = now
        self._unlogged.clear()
