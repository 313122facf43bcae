"""How long to wait before trying again."""

from __future__ import annotations

import random
from collections.abc import Callable

_MOST_DOUBLINGS = 30


class Backoff:
    """Waits that double from failure to failure up to a longest one, each cut by chance to half at most.

    Args:
        initial: seconds after the first failure.
        longest: seconds at most.
        chance: numbers in [0, 1); many that failed together must not come back together.
    """

    def __init__(self, initial: float, longest: float, chance: Callable[[], float] = random.random) -> None:
        self._initial = initial
        self._longest = longest
        self._chance = chance

    def seconds(self, failures: int) -> float:
        """The wait after so many failures in a row, 1 or more."""
        whole = min(self._longest, self._initial * (1 << min(failures - 1, _MOST_DOUBLINGS)))
        return whole * (0.5 + 0.5 * self._chance())
