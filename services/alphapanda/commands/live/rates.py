"""Rates of counters that are looked at now and then."""

from __future__ import annotations

from collections import deque
from typing import Final

LEAST_SHARE: Final = 0.2
"""Of the window: a rate over less says nothing."""


class Rates:
    """Counters' totals over time, and how fast they grew lately.

    Args:
        window_seconds: how far back a rate looks.
    """

    def __init__(self, window_seconds: float) -> None:
        self._window = window_seconds
        self._seen: dict[str, deque[tuple[float, int]]] = {}

    def observe(self, name: str, at: float, total: int) -> None:
        """A counter's total at a time (seconds, any origin). One that fell has begun anew."""
        seen = self._seen.setdefault(name, deque())
        if seen and total < seen[-1][1]:
            seen.clear()
        seen.append((at, total))
        # The newest that is older than the window stays, so that a rate covers the whole of it.
        while len(seen) > 1 and seen[1][0] <= at - self._window:
            seen.popleft()

    def per_second(self, name: str) -> float | None:
        """How much it grew a second; None while that isn't known."""
        seen = self._seen.get(name)
        if not seen:
            return None
        (began, first), (ended, last) = seen[0], seen[-1]
        if ended - began < LEAST_SHARE * self._window:
            return None
        return (last - first) / (ended - began)
