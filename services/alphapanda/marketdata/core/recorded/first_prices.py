"""Finds first prices of a recording that the next ones deny: nothing before them tells that they are wild."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Final

import numpy as np

from alphapanda.marketdata.core.recorded.options import DAY_NS, IST_NS
from alphapanda.marketdata.core.recorded.rows import CLOSE, KNOWN, TOKEN, Rows
from alphapanda.marketdata.core.wild_prints import AGREEMENT, DEFAULT_PERCENT

_JUDGED: Final = 6
_NEAR: Final = AGREEMENT * DEFAULT_PERCENT / 100


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
        """The first price that the next one agrees with, of each instrument that has another one before it on that day."""
        denied = {}
        for token, found in self._found.items():
            prices = [price for price, day in found if day == found[0][1]]
            agreed = next((at for at, two in enumerate(pairwise(prices)) if _agree(*two)), 0)
            if agreed:
                denied[token] = prices[agreed]
        return denied


def _agree(one: int, other: int) -> bool:
    return abs(one - other) <= _NEAR * one
