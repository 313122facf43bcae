"""Finds first prices of a recording that the next ones deny: nothing before them tells that they are wild."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from alphapanda.marketdata.core.recorded.options import DAY_NS, IST_NS
from alphapanda.marketdata.core.recorded.rows import CLOSE, KNOWN, TOKEN, Rows

_JUDGED: Final = 3
_NEARER: Final = 4
"""The second and third price are so many times nearer to one another than the first one is to them."""


class FirstPrices:
    """Collects the first rows of each instrument.

    Args:
        tokens: tokens of the instruments that the recording has.
    """

    def __init__(self, tokens: Iterable[int]) -> None:
        self._found: dict[int, list[tuple[int, int]]] = {token: [] for token in tokens}
        self._missing = set(self._found)

    def add(self, rows: Rows) -> None:
        """Adds rows in the order of time."""
        for token in sorted(self._missing):
            found = self._found[token]
            for at in np.flatnonzero(rows[:, TOKEN] == token)[: _JUDGED - len(found)].tolist():
                found.append((int(rows[at, CLOSE]), int(rows[at, KNOWN] + IST_NS) // DAY_NS))
            if len(found) == _JUDGED:
                self._missing.remove(token)

    def denied(self) -> Mapping[int, int]:
        """The second price of each instrument whose first one lies apart from the next two of that day."""
        denied = {}
        for token, found in self._found.items():
            if len(found) < _JUDGED or len({day for _, day in found}) > 1:
                continue
            (first, _), (second, _), (third, _) = found
            if abs(second - third) * _NEARER < abs(first - second):
                denied[token] = second
        return denied
