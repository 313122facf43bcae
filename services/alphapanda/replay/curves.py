"""Samples of equity and prices for a report: as close as it can show them, and never more than it can hold."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

MINUTE_NS: Final = 60_000_000_000
MOST_SAMPLES: Final = 24_000
"""Samples of one curve: a year of minutes is then sampled every four minutes."""
MOST_VALUES: Final = 200_000
"""Values of all curves together."""


class Curves:
    """Samples at a step of market time, which doubles whenever there would be too many.

    Attributes:
        times_ns: market times, nanoseconds since the epoch.
        equity: rupees.
        prices: rupees by token; None before an instrument's first price.
    """

    def __init__(self) -> None:
        self._step_ns = MINUTE_NS
        self.times_ns: list[int] = []
        self.equity: list[float] = []
        self.prices: dict[int, list[float | None]] = {}

    def next_ns(self, now_ns: int) -> int:
        """When the next sample is to be taken."""
        return now_ns - now_ns % self._step_ns + self._step_ns

    def add(self, at_ns: int, equity: Decimal, prices: Mapping[int, Decimal | None]) -> None:
        """Adds a sample."""
        for token, price in prices.items():
            values = self.prices.setdefault(token, [None] * len(self.times_ns))
            values.append(None if price is None else float(price))
        self.times_ns.append(at_ns)
        self.equity.append(float(equity))
        if len(self.times_ns) >= min(MOST_SAMPLES, MOST_VALUES // (1 + len(self.prices))):
            self._thin_out()

    def _thin_out(self) -> None:
        """Keeps every second sample, the last one among them."""
        self._step_ns *= 2
        first = (len(self.times_ns) + 1) % 2
        self.times_ns = self.times_ns[first::2]
        self.equity = self.equity[first::2]
        self.prices = {token: values[first::2] for token, values in self.prices.items()}
