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
        read: returns the rows from one number to another, at most to the last.
        rows: how many there are.
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

    def more(self, size: int) -> None:
        """Reads further rows."""
        part = self._read(self._at, min(self._at + size, self._rows))
        self._at += len(part)
        self.held = joined([self.held, part]) if len(self.held) else part

    def take_before(self, known: int | None) -> Rows:
        """Takes the held rows that are known before a time; None: all."""
        at = len(self.held) if known is None else int(np.searchsorted(self.held[:, KNOWN], known))
        taken, self.held = self.held[:at], self.held[at:]
        return taken


def merged(sources: Sequence[Source], rows_in_memory: int = MERGED_ROWS) -> Iterator[Rows]:
    """Merges sources into blocks of rows; all rows that are known at one time are in one block.

    The rows within a block are not in order yet.
    """
    size = max(rows_in_memory // max(len(sources), 1), _FEWEST)
    open_sources = list(sources)
    while open_sources:
        for source in open_sources:
            if not len(source.held) and not source.ended:
                source.more(size)
        unread = [source for source in open_sources if not source.ended]
        limit = min((int(source.held[-1, KNOWN]) for source in unread), default=None)
        block = joined([part for source in open_sources if len(part := source.take_before(limit))])
        if len(block):
            yield block
        else:
            for source in unread:
                if int(source.held[-1, KNOWN]) == limit:
                    source.more(size)
        open_sources = [source for source in open_sources if len(source.held) or not source.ended]
