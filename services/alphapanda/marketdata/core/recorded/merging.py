"""Merges sorted sources of rows, of any size, with a bounded number of rows in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np

from alphapanda.marketdata.core.recorded.rows import KNOWN, NO_ROWS, Rows, joined

MERGED_ROWS: Final = 1 << 19
"""About how many rows are in memory while sources are merged."""
_FEWEST: Final = 1 << 12


class Source:
    """Rows in the order of KNOWN, read in parts.

    Args:
        read: returns the rows from one number to another, at most to the last; they aren't changed.
        rows: how many there are, at least one.
    """

    def __init__(self, read: Callable[[int, int], Rows], rows: int) -> None:
        self._read = read
        self._rows = rows
        self._at = 0
        self.held = NO_ROWS

    @property
    def ended(self) -> bool:
        """Whether all rows were read."""
        return self._at >= self._rows

    @property
    def first_known(self) -> int:
        """When its first row is known."""
        return int(self._read(0, 1)[0, KNOWN])

    @property
    def last_held(self) -> int:
        """When the last row that was read is known."""
        return int(self.held[-1, KNOWN])

    def more(self, size: int) -> None:
        """Reads further rows."""
        part = self._read(self._at, min(self._at + size, self._rows))
        self._at += len(part)
        self.held = joined([self.held, part]) if len(self.held) else part

    def take_before(self, known: int | None) -> Rows:
        """Takes the held rows that are known before a time; None: all."""
        at = len(self.held) if known is None else int(np.searchsorted(self.held[:, KNOWN], known))
        taken, rest = self.held[:at], self.held[at:]
        self.held = rest if len(rest) else NO_ROWS  # an empty view would keep all rows alive
        return taken


def merged(sources: Sequence[Source], rows_in_memory: int = MERGED_ROWS) -> Iterator[Rows]:
    """Merges sources into blocks of rows; all rows that are known at one time are in one block.

    The rows within a block are not in order yet. A source is read when its first row is due, so sources that follow one
    another are read one by one.
    """
    waiting = sorted(((source.first_known, at) for at, source in enumerate(sources)), reverse=True)
    due: list[Source] = []
    while due or waiting:
        size = max(rows_in_memory // (len(due) + 1), _FEWEST)
        for source in due:
            if not len(source.held):
                source.more(size)
        limit = _limit(due, waiting)
        block = joined([part for source in due if len(part := source.take_before(limit))])
        if len(block):
            yield block
        elif waiting and waiting[-1][0] == limit:
            due.append(sources[waiting.pop()[1]])
        else:
            for source in due:
                if not source.ended and source.last_held == limit:
                    source.more(size)
        due = [source for source in due if len(source.held) or not source.ended]


def _limit(due: Sequence[Source], waiting: Sequence[tuple[int, int]]) -> int | None:
    """The time before which all rows were read; None: all were."""
    limits = [source.last_held for source in due if not source.ended]
    return min([*limits, *(first for first, _ in waiting[-1:])], default=None)
