"""Makes ticks of rows: a bar is a tick at its end, with the day's volume so far."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat

import numpy as np

from alphapanda.marketdata.core.recorded.cells import MISSING, Whole
from alphapanda.marketdata.core.recorded.options import DAY_NS, IST_NS
from alphapanda.marketdata.core.recorded.rows import CLOSE, HIGH, KNOWN, LOW, OPEN, STAMP, TOKEN, VOLUME, Rows
from alphapanda.marketdata.core.ticks import Tick, new_tick


def ticks_of(blocks: Iterable[Rows]) -> Iterator[Tick]:
    """Makes the ticks of rows, which are in order, each bar once."""
    volumes = DayVolumes()
    for rows in blocks:
        traded = volumes.so_far(rows)
        bars = rows[:, OPEN] != MISSING
        columns = (
            rows[:, TOKEN].tolist(),
            rows[:, CLOSE].tolist(),
            rows[:, KNOWN].tolist(),
            _or_none(traded, traded == MISSING),
            *(_or_none(rows[:, column], ~bars) for column in (STAMP, OPEN, HIGH, LOW)),
        )
        yield from map(new_tick, zip(*columns, strict=False))


def _or_none(values: Whole, none: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Iterable[int | None]:
    if none.all():
        return repeat(None)
    if not none.any():
        made: list[int] = values.tolist()
        return made
    return [None if empty else value for value, empty in zip(values.tolist(), none.tolist(), strict=True)]


class DayVolumes:
    """Adds up the volumes of bars by instrument and day of market time."""

    def __init__(self) -> None:
        self._totals: dict[int, tuple[int, int]] = {}

    def so_far(self, rows: Rows) -> Whole:
        """The day's volume so far with each row; a tick's is its own, MISSING stays MISSING."""
        volumes = rows[:, VOLUME]
        bars = (rows[:, OPEN] != MISSING) & (volumes != MISSING)
        if not bars.any():
            return volumes
        if bars.all():
            return self._added_up(rows)
        made: Whole = volumes.copy()
        made[bars] = self._added_up(rows[bars])
        return made

    def _added_up(self, rows: Rows) -> Whole:
        tokens, volumes = rows[:, TOKEN], rows[:, VOLUME]
        days = (rows[:, STAMP] + IST_NS) // DAY_NS
        order = None if (tokens == tokens[0]).all() else np.argsort(tokens, kind="stable")
        if order is not None:
            tokens, volumes, days = tokens[order], volumes[order], days[order]
        begins = np.flatnonzero(np.concatenate(([True], (np.diff(tokens) != 0) | (np.diff(days) != 0))))
        added = np.cumsum(volumes)
        before = np.empty(len(begins), np.int64)
        ends = [*begins[1:].tolist(), len(rows)]
        for at, (begin, end) in enumerate(zip(begins.tolist(), ends, strict=True)):
            token, day = int(tokens[begin]), int(days[begin])
            last_day, total = self._totals.get(token, (day, 0))
            carried = total if last_day == day else 0
            before[at] = int(added[begin]) - int(volumes[begin]) - carried
            self._totals[token] = (day, int(added[end - 1]) - int(before[at]))
        added -= np.repeat(before, np.diff([*begins.tolist(), len(rows)]))
        if order is None:
            return added
        made: Whole = np.empty_like(added)
        made[order] = added
        return made
