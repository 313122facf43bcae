"""Rows of a recording as whole numbers: one matrix of int64 for many rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from alphapanda.marketdata.core.recorded.cells import MISSING

Rows = NDArray[np.int64]
"""A matrix with a row of COLUMNS numbers for each bar or tick."""

STAMP: Final = 0
"""Column of the time that the file names, nanoseconds since the epoch."""
TOKEN: Final = 1
"""Column of the instrument token."""
OPEN: Final = 2
"""Column of the open in paise; MISSING for a tick."""
HIGH: Final = 3
"""Column of the high in paise; MISSING for a tick."""
LOW: Final = 4
"""Column of the low in paise; MISSING for a tick."""
CLOSE: Final = 5
"""Column of the close or of the tick's price in paise."""
VOLUME: Final = 6
"""Column of the bar's volume, or of the day's volume so far for a tick; MISSING if there is none."""
PLACE: Final = 7
"""Column of the row's place: number of the file << PLACE_BITS, plus number of the row in it, from 0."""
KNOWN: Final = 8
"""Column of the time at which the row is known: a bar's end, a tick's time; 0 until the file's interval is known."""
COLUMNS: Final = 9
PLACE_BITS: Final = 40

NO_ROWS: Final = np.empty((0, COLUMNS), np.int64)


def joined(parts: Sequence[Rows]) -> Rows:
    """Several matrices below one another."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else NO_ROWS


def is_sorted(rows: Rows, first: int) -> bool:
    """Whether rows are in the order of column `first`, then TOKEN."""
    keys, tokens = rows[:, first], rows[:, TOKEN]
    steps = np.diff(keys)
    return bool((steps > 0).all()) or bool(((steps > 0) | ((steps == 0) & (np.diff(tokens) >= 0))).all())


def put_in_order(rows: Rows, first: int) -> Rows:
    """Rows in the order of column `first`, then TOKEN; equal ones stay as they are."""
    return rows if is_sorted(rows, first) else rows[np.lexsort((rows[:, TOKEN], rows[:, first]))]


def mend_bars(rows: Rows) -> int:
    """Gives bars an open, high and low where the file has none, and widens high and low to open and close.

    Returns:
        How many bars were changed.
    """
    close = rows[:, CLOSE]
    changed = np.zeros(len(rows), np.bool_)
    for column in (OPEN, HIGH, LOW):
        empty = (rows[:, column] <= 0) & (close > 0)
        empty |= rows[:, column] == MISSING
        if empty.any():
            rows[empty, column] = close[empty]
            changed |= empty
    high = np.maximum(np.maximum(rows[:, OPEN], close), np.maximum(rows[:, HIGH], rows[:, LOW]))
    low = np.minimum(np.minimum(rows[:, OPEN], close), np.minimum(rows[:, LOW], rows[:, HIGH]))
    wrong = (high != rows[:, HIGH]) | (low != rows[:, LOW])
    if wrong.any():
        changed |= wrong
        rows[:, HIGH], rows[:, LOW] = high, low
    return int(changed.sum())
