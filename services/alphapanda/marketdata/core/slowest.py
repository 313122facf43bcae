"""The slowest of what was measured since the last look."""

from __future__ import annotations


class Slowest:
    """Remembers the longest duration until somebody takes it."""

    def __init__(self) -> None:
        self._seconds: float | None = None

    def note(self, seconds: float) -> None:
        """Notes a duration in seconds."""
        if self._seconds is None or seconds > self._seconds:
            self._seconds = seconds

    def take(self) -> float | None:
        """Returns the longest duration since the last call; None where there was none."""
        seconds, self._seconds = self._seconds, None
        return seconds
