"""Walk-forward windows: a number of trading days to choose by, then a number of days out of sample, and again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, NamedTuple

from alphapanda.domain.errors import InvalidInput

MOST_DAYS: Final = 10_000
_WINDOWS: Final = re.compile(r"(\d{1,5})d?/(\d{1,5})d?")


class Window(NamedTuple):
    """Trading days by their numbers: chosen by [train, test), tried out of sample on [test, end)."""

    train: int
    test: int
    end: int


@dataclass(frozen=True, slots=True)
class WalkForward:
    """Lengths of windows in trading days, each above 0."""

    train: int
    test: int

    def windows(self, days: int) -> Iterator[Window]:
        """The windows over a number of trading days; the last one may have fewer days out of sample."""
        for begin in range(0, days - self.train, self.test):
            test = begin + self.train
            yield Window(begin, test, min(test + self.test, days))

    def require_enough(self, days: Sequence[date]) -> None:
        """Raises InvalidInput where not even one window fits."""
        if len(days) <= self.train:
            raise InvalidInput(
                "--walk-forward",
                f"{self.train}d/{self.test}d",
                f"the data has {len(days)} trading days; a window needs at least {self.train + 1} of them",
            )


def parse_walk_forward(text: str) -> WalkForward:
    """Windows from `60d/20d`: 60 trading days to choose by, 20 out of sample.

    Raises:
        InvalidInput: it doesn't read so.
    """
    found = _WINDOWS.fullmatch(text)
    if found is None or not all(0 < int(days) <= MOST_DAYS for days in found.groups()):
        raise InvalidInput(
            "--walk-forward",
            text,
            f"allowed: TRAINd/TESTd in trading days, such as 60d/20d, each 1 to {MOST_DAYS:,}",
        )
    return WalkForward(int(found[1]), int(found[2]))
