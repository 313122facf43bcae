"""How far a value is from the mean of the last ones, in standard deviations; compared exactly."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from math import sqrt


class ZScore:
    """The z-score of the newest of the last values: (value - mean) / standard deviation of the population.

    Args:
        length: number of values.
    """

    __slots__ = ("_length", "_off", "_squares", "_sum", "_values", "_variance")

    def __init__(self, length: int) -> None:
        self._length = length
        self._values: deque[int] = deque()
        self._sum = self._squares = self._off = self._variance = 0

    def __iter__(self) -> Iterator[int]:
        """The values, the oldest first."""
        return iter(self._values)

    def replace(self, values: Iterable[int]) -> None:
        """Begins anew with these values."""
        self._values.clear()
        self._sum = self._squares = 0
        for value in values:
            self.add(value)

    def add(self, value: int) -> None:
        """Adds a value, in whole units; the oldest one leaves."""
        if len(self._values) == self._length:
            gone = self._values.popleft()
            self._sum -= gone
            self._squares -= gone**2
        self._values.append(value)
        self._sum += value
        self._squares += value**2
        # With n values of sum s and squares q, z is off / sqrt(variance), where:
        self._off = self._length * value - self._sum
        self._variance = self._length * self._squares - self._sum**2

    @property
    def exists(self) -> bool:
        """Whether there are enough values; values that are all the same have no z-score."""
        return len(self._values) == self._length and bool(self._variance)

    @property
    def above(self) -> bool:
        """Whether the newest value is above the mean."""
        return self._off > 0

    def against(self, level: tuple[int, int]) -> int:
        """The sign of |z| - level: > 0 beyond it, 0 at it, < 0 within it; `level` is (numerator, denominator)."""
        numerator, denominator = level
        beyond = (self._off * denominator) ** 2 - numerator**2 * self._variance
        return (beyond > 0) - (beyond < 0)

    def __float__(self) -> float:
        """The z-score, to be shown."""
        return self._off / sqrt(self._variance)
