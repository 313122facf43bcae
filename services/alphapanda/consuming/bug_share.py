"""Notices that the handler is broken, not single records: a version that fails on everything must not empty a topic."""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW: Final = 200
"""How many of the last outcomes count."""


class BugShare:
    """The share of handler bugs among the last records that decode and are valid.

    Records that can't be decoded or are invalid aren't counted, and neither are those that wait for a parked key.

    Args:
        percent: the share at which the consumer stops, in percent.
        least: the bugs that it takes at least.
    """

    def __init__(self, percent: float, least: int) -> None:
        self._percent = percent
        self._least = least
        self._bugs: deque[bool] = deque(maxlen=max(WINDOW, least))

    def handled(self, records: int) -> None:
        """Counts handled records."""
        self._bugs.extend([False] * min(records, WINDOW))

    def failed(self) -> str:
        """Counts a record that a bug keeps from being handled; returns why the consumer has to stop, or an empty text."""
        self._bugs.append(True)
        bugs, of = sum(self._bugs), len(self._bugs)
        if bugs < self._least or bugs * 100 < self._percent * of:
            return ""
        return f"{bugs} of the last {of} valid records failed as bugs"
