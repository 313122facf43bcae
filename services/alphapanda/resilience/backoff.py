"""Exponential back-off with jitter."""

from __future__ import annotations

import random
from collections.abc import Callable

_MOST_DOUBLINGS = 30


class Backoff:
    """Computes waits that double from failure to failure up to a maximum; random jitter takes away up to half.

    Args:
        initial: seconds after the first failure, before jitter.
        longest: longest wait in seconds.
        chance: returns random numbers in [0, 1). Jitter keeps callers that failed together from retrying together.
    """

    def __init__(self, initial: float, longest: float, chance: Callable[[], float] = random.random) -> None:
        self._initial = initial
        self._longest = longest
        self._chance = chance

    def seconds(self, failures: int) -> float:
        """Returns the wait in seconds after this many failures in a row (1 or more)."""
        whole = min(self._longest, self._initial * (1 << min(failures - 1, _MOST_DOUBLINGS)))
        return whole * (0.5 + 0.5 * self._chance())
