"""Limits how many requests a second a caller makes. A core: no I/O, no clock, no await."""

from __future__ import annotations

from typing import Final

from alphapanda.mesh.errors import TooMany

BURST_SECONDS: Final = 2.0
"""A caller that was quiet may make this many seconds' requests at once."""
MOST_CALLERS: Final = 10_000
"""Callers that are remembered; beyond, those that were quiet are forgotten."""


class CallerRates:
    """The requests of each caller: a bucket of BURST_SECONDS that fills by `a_second`.

    Args:
        a_second: requests a second; 0 for no limit.
    """

    def __init__(self, a_second: int) -> None:
        self._a_second = a_second
        self._most = a_second * BURST_SECONDS
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, caller: str, now: float) -> None:
        """Counts a request.

        Args:
            caller: who makes it.
            now: seconds of a clock that never goes back.

        Raises:
            TooMany: the caller has made too many.
        """
        if not self._a_second:
            return
        left, at = self._left.get(caller, (self._most, now))
        left = min(left + (now - at) * self._a_second, self._most)
        if left < 1:
            self._left[caller] = left, now
            raise TooMany(
                "TOO_MANY_REQUESTS",
                f"{caller} makes more than {self._a_second} requests a second (api.max_requests_per_second); ask less often",
            )
        if caller not in self._left and len(self._left) >= MOST_CALLERS:
            self._forget(now)
        self._left[caller] = left - 1, now

    def _forget(self, now: float) -> None:
        """Forgets who has a full bucket again; where nobody has, the one that was seen first."""
        full = [
            who for who, (left, at) in self._left.items() if left + (now - at) * self._a_second >= self._most
        ]
        for who in full or [next(iter(self._left))]:
            del self._left[who]
