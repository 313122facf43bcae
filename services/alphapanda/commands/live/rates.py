"""Rates of counters that are sampled at irregular times."""

from __future__ import annotations

from collections import deque
from typing import Final

LEAST_SHARE: Final = 0.2
"""Part of the window that samples must span for a rate."""


class Rates:
    """Samples of counters over time, and their rates over a window.

    Args:
        window_seconds: how far back a rate looks.
    """

    def __init__(self, window_seconds: float) -> None:
        self._window = window_seconds
        self._seen: dict[str, deque[tuple[float, int]]] = {}

    def observe(self, name: str, at: float, total: int) -> None:
        """Adds a sample of a counter at a time (seconds, any origin). A smaller total than before restarts the counter."""
        seen = self._seen.setdefault(name, deque())
        if seen and total < seen[-1][1]:
            seen.clear()
        seen.append((at, total))
        # The newest sample older than the window is kept, so that a rate covers the whole window.
        while len(seen) > 1 and seen[1][0] <= at - self._window:
            seen.popleft()

    def per_second(self, name: str) -> float | None:
        """The counter's rate a second; None while there are too few samples."""
        seen = self._seen.get(name)
        if not seen:
            return None
        (began, first), (ended, last) = seen[0], seen[-1]
        if ended - began < LEAST_SHARE * self._window:
            return None
        return (last - first) / (ended - began)
