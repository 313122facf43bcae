"""Counts each bar once: a repeated row is left out, and rows that disagree about one bar are settled or refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alphapanda.marketdata.core.recorded.cells import MISSING, Flags
from alphapanda.marketdata.core.recorded.rows import (
    CLOSE,
    KNOWN,
    OPEN,
    PLACE,
    PLACE_BITS,
    STAMP,
    TOKEN,
    VOLUME,
    Rows,
)


class RowsDisagree(Exception):
    """Two rows say different things about one bar."""

    def __init__(self, one: Sequence[int], other: Sequence[int]) -> None:
        super().__init__("two rows disagree about one bar")
        self.one = one
        self.other = other


@dataclass(slots=True)
class Settled:
    """Counts of rows that were left out.

    Attributes:
        repeated: rows that said the same as another one.
        replaced: rows that disagreed with the one that was used.
    """

    repeated: int = 0
    replaced: int = 0


def in_order(rows: Rows, backwards: Sequence[int] = ()) -> Rows:
    """Rows in the order in which they are known; at one time by token, start and place.

    Args:
        rows: with KNOWN set.
        backwards: numbers of the files whose rows begin with the newest, so that their places count backwards.
    """
    known, tokens, stamps, places = rows[:, KNOWN], rows[:, TOKEN], rows[:, STAMP], rows[:, PLACE]
    steps = np.diff(known)
    if (steps > 0).all():
        return rows
    if backwards:
        places = np.where(np.isin(places >> PLACE_BITS, backwards), -places, places)
    return rows[np.lexsort((places, stamps, tokens, known))]


def once(rows: Rows, on_conflict: str, counts: Settled) -> Rows:
    """Leaves out repeated rows of bars and ticks.

    Args:
        rows: in order; all rows of a bar are among them.
        on_conflict: "refuse", "first" or "last", by the order of files and rows.
        counts: counts what is left out.

    Raises:
        RowsDisagree: two rows disagree about one bar, and on_conflict is "refuse".
    """
    same = (np.diff(rows[:, KNOWN]) == 0) & (np.diff(rows[:, TOKEN]) == 0) & (np.diff(rows[:, STAMP]) == 0)
    if not same.any():
        return rows
    begins = np.concatenate(([True], ~same))
    bars = rows[:, OPEN] != MISSING
    keep = _bars_once(rows, begins, on_conflict, counts) if bars.any() else np.ones(len(rows), np.bool_)
    if not bars.all():
        keep &= bars | _ticks_once(rows, counts)
    return rows[keep]


def _bars_once(rows: Rows, begins: Flags, on_conflict: str, counts: Settled) -> Flags:
    groups = np.cumsum(begins) - 1
    firsts = np.flatnonzero(begins)
    lasts = np.concatenate((firsts[1:], [len(rows)])) - 1
    chosen = lasts if on_conflict == "last" else firsts
    bars = rows[:, OPEN] != MISSING
    other = np.ones(len(rows), np.bool_)
    other[chosen] = False
    other &= bars
    differs = other & (rows[:, OPEN : VOLUME + 1] != rows[chosen][groups][:, OPEN : VOLUME + 1]).any(axis=1)
    if differs.any() and on_conflict == "refuse":
        at = int(differs.argmax())
        raise RowsDisagree(rows[firsts[groups[at]]].tolist(), rows[at].tolist())
    counts.replaced += int(differs.sum())
    counts.repeated += int((other & ~differs).sum())
    return ~other


def _ticks_once(rows: Rows, counts: Settled) -> Flags:
    """A tick is a repeated one if another has its time, price and day's volume.

    Without a volume two ticks of one file may be two trades at one price, so only those of another file repeat them.
    """
    keys = (rows[:, VOLUME], rows[:, CLOSE], rows[:, TOKEN], rows[:, KNOWN])
    files = rows[:, PLACE] >> PLACE_BITS
    order = np.lexsort((rows[:, PLACE], *keys))
    new = np.any([np.diff(key[order], prepend=-1) != 0 for key in (*keys, files)], axis=0)
    new[:1] = True
    firsts = np.flatnonzero(new)
    times = np.empty(len(rows), np.int64)  # how often the tick was in its file before
    times[order] = np.arange(len(rows)) - firsts[np.cumsum(new) - 1]
    times[rows[:, VOLUME] != MISSING] = 0
    order = np.lexsort((rows[:, PLACE], times, *keys))
    same = np.all([np.diff(key[order]) == 0 for key in (times, *keys)], axis=0)
    same &= (rows[order[1:], OPEN] == MISSING) & (rows[order[:-1], OPEN] == MISSING)
    keep = np.ones(len(rows), np.bool_)
    keep[order[1:][same]] = False
    counts.repeated += int(same.sum())
    return keep
