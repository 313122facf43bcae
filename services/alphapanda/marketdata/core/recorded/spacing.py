"""Reads the length of a file's bars from their spacing, and which end of a bar its time names."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import reduce
from math import gcd
from typing import Final

import numpy as np

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import SECOND_NS, instant
from alphapanda.marketdata.core.recorded.cells import Flags
from alphapanda.marketdata.core.recorded.options import DAY_NS, IST, IST_NS, MINUTE_NS, interval_text
from alphapanda.marketdata.core.recorded.rows import HIGH, LOW, STAMP, TOKEN, Rows

MOST_COUNTED: Final = 2_000
"""Different values of one kind that are counted; bars of one length have few."""

_MOST_SECONDS: Final = 86_400
_RARE: Final = 0.005
_MOSTLY: Final = 3
_SURE_ROWS: Final = 20
_WEEKLY_DAYS: Final = 5
_WEEKLY_ROWS: Final = 3
_MOST_DAYS: Final = 0.6
_DAILY_ROWS: Final = 10
_LONGEST_NS: Final = 375 * MINUTE_NS
_FEWEST_OF_DAY: Final = 5
_ALONE_DAYS: Final = 5
_CHANCE: Final = 1e-9
"""How likely it may be that the bars of a day lie on a wider grid by chance: below it, they are longer."""
_END_ALLOWED: Final = "--stamp end if the times are the bars' ends, --stamp start if they are their starts"


@dataclass(frozen=True, slots=True)
class BarTimes:
    """The length of a file's bars, and what their times name.

    Attributes:
        interval_ns: nanoseconds.
        ends: whether times are the ends of bars.
        by_clock: whether bars end with the clock, such as at 10:00 and 11:00, so that a session's first one is shorter.
        remark: what was assumed; empty if nothing was.
    """

    interval_ns: int
    ends: bool = False
    remark: str = ""
    by_clock: bool = False


class Spacing:
    """Collects the spacing of one file's bars.

    Args:
        file: name of the file, for errors.
        open_ns: the regular session's open, nanoseconds from midnight in India.
        close_ns: its close.
    """

    def __init__(self, file: str, open_ns: int, close_ns: int) -> None:
        self._file = file
        self._open_ns = open_ns
        self._close_ns = close_ns
        self._steps: Counter[int] = Counter()
        self._all_steps: Counter[int] = Counter()
        self._day_steps: Counter[int] = Counter()
        self._times: Counter[int] = Counter()
        self._firsts: Counter[int] = Counter()
        self._lasts: Counter[int] = Counter()
        self._wider: dict[int, tuple[int, int]] = {}
        self._alone: dict[int, tuple[int, int]] = {}
        self._rows = 0

    def add(self, rows: Rows) -> None:
        """Adds bars in the order of time."""
        if not len(rows):
            return
        stamps, tokens = rows[:, STAMP], rows[:, TOKEN]
        if (tokens != tokens[0]).any():
            rows = rows[np.lexsort((stamps, tokens))]
            stamps, tokens = rows[:, STAMP], rows[:, TOKEN]
        days, times = np.divmod(stamps + IST_NS, DAY_NS)
        steps = np.diff(stamps)
        same = np.diff(tokens) == 0
        within = same & (np.diff(days) == 0)
        apart = within & (steps > 0)
        _count(self._all_steps, steps[apart])
        _count(self._steps, steps[apart & (times[:-1] >= self._open_ns) & (times[1:] < self._close_ns)])
        _count(self._day_steps, np.diff(days)[same & ~within])
        self._measure_days(steps, within, rows)
        _count(self._firsts, times[np.concatenate(([True], ~within))])
        _count(self._lasts, times[np.concatenate((~within, [True]))])
        _count(self._times, times)
        self._rows += len(rows)

    def _measure_days(self, steps: Rows, within: Flags, rows: Rows) -> None:
        """Notes for each grid on which all bars of a day lie how many bars the fullest day had, and when it began.

        A day's only bar that isn't of one price is counted by instrument and time of day.
        """
        of_days = np.where(within, steps, 0)
        firsts = np.flatnonzero(np.concatenate(([True], ~within)))
        lengths = np.add.reduceat(np.concatenate((of_days > 0, [False])), firsts, dtype=np.int64) + 1
        alone = firsts[lengths == 1]
        alone = alone[rows[alone, HIGH] > rows[alone, LOW]]
        stamps = rows[alone, STAMP]
        keys = rows[alone, TOKEN] * _MOST_SECONDS + (stamps + IST_NS) % DAY_NS // SECOND_NS
        found, at, counts = np.unique(keys, return_index=True, return_counts=True)
        for key, stamp, days in zip(found.tolist(), stamps[at].tolist(), counts.tolist(), strict=True):
            if key in self._alone or len(self._alone) < MOST_COUNTED:
                first, before = self._alone.get(key, (stamp, 0))
                self._alone[key] = (first, before + days)
        full = lengths >= _FEWEST_OF_DAY
        if not full.any():
            return
        grids = np.gcd.reduceat(np.concatenate((of_days, [0])), firsts)[full]
        lengths, begins = lengths[full], rows[firsts[full], STAMP]
        for grid in np.unique(grids).tolist():
            of_grid = np.flatnonzero(grids == grid)
            at = of_grid[lengths[of_grid].argmax()]
            if int(lengths[at]) > self._wider.get(grid, (0, 0))[0]:
                self._wider[grid] = (int(lengths[at]), int(begins[at]))

    def bar_times(self, given_ns: int | None, stamp: str | None) -> BarTimes:
        """Decides the length of the bars and what their times name.

        Args:
            given_ns: the option --bar-interval.
            stamp: the option --stamp.

        Raises:
            InvalidInput: the spacing has no length from 1m to 1d, denies the given one, or times seem to be ends.
        """
        if (by_clock := self._by_clock(given_ns)) is not None:
            return self._clock_times(by_clock, stamp)
        found, remark = self._found(given_ns)
        interval = self._checked(given_ns, found)
        if given_ns is None:
            self._refuse_wider(interval)
        if interval == DAY_NS:
            return BarTimes(interval, stamp == "end" and 0 in self._times, remark)
        seconds = {time % MINUTE_NS for time in self._times}
        last_second = seconds == {59 * SECOND_NS}
        if seconds != {0} and not last_second:
            odd = next(time for time in self._times if time % MINUTE_NS)
            raise InvalidInput(f"{self._file}, time", _clock(odd), "bars whose times are whole minutes")
        if stamp is None and (last_second or self._looks_like_ends(interval)):
            raise self._named_by_ends(interval)
        return BarTimes(interval, stamp == "end", remark)

    def _by_clock(self, given_ns: int | None) -> int | None:
        """The length of bars that lie on the clock and not on the session, such as 09:15, 10:00, 11:00; None if they don't."""
        if not self._all_steps:
            return None
        interval = given_ns or self._all_steps.most_common(1)[0][0]
        several = self._all_steps.total() > self._rows / _MOSTLY  # of a day
        if not several or interval >= DAY_NS or DAY_NS % interval or self._open_ns % interval == 0:
            return None
        edges = (self._open_ns, self._close_ns)
        odd = sum(often for time, often in self._times.items() if time % interval and time not in edges)
        on_clock = sum(often for time, often in self._times.items() if time % interval == 0)
        return interval if on_clock > odd / _RARE and self._all_steps[interval] else None

    def _clock_times(self, interval: int, stamp: str | None) -> BarTimes:
        first = self._open_ns // interval * interval
        begins = self._firsts.most_common(1)[0][0]
        if stamp is None and begins > self._open_ns and self._lasts.most_common(1)[0][0] >= self._close_ns:
            raise self._named_by_ends(interval)
        ends = stamp == "end"
        what = "bars end with the clock, so a session's first one is shorter"
        if not ends and begins == first:
            what += f" and begins with the session, not at {_clock(first)[:5]}"
        return BarTimes(interval, ends, what, by_clock=True)

    def _named_by_ends(self, interval: int) -> InvalidInput:
        first, last = self._firsts.most_common(1)[0][0], self._lasts.most_common(1)[0][0]
        return InvalidInput(
            f"{self._file}, time",
            f"{_clock(first)} to {_clock(last)}",
            f"bars of {interval_text(interval)} that seem to be named by their ends; {_END_ALLOWED}",
        )

    def _found(self, given_ns: int | None) -> tuple[int, str]:
        steps = (
            self._steps or self._all_steps
        )  # pre-open and closing prices say nothing about the session's bars
        if not steps or (
            given_ns is None and self._day_steps.total() > _DAILY_ROWS * self._all_steps.total()
        ):
            return self._without_steps(given_ns)
        total = steps.total()
        common = sorted(step for step, count in steps.items() if count >= max(1.0, _RARE * total))
        smallest = common[0]
        if sum(count for step, count in steps.items() if step % smallest) > _RARE * total:
            smallest = reduce(gcd, common)
        mode, often = steps.most_common(1)[0]
        if given_ns is None and mode > smallest and often >= _MOSTLY * max(steps[smallest], 1) and often > 1:
            raise InvalidInput(
                f"{self._file}, spacing of bars",
                interval_text(smallest),
                f"bars of one length; most are {interval_text(mode)} apart: leave out the others",
            )
        return smallest, ""

    def _without_steps(self, given_ns: int | None) -> tuple[int, str]:
        """No instrument has two bars on a day: bars of days, or too few rows to say."""
        ones = len(self._times) == 1
        time = next(iter(self._times), 0)
        days = +self._day_steps
        weekly = ones and days.total() + 1 >= _WEEKLY_ROWS and min(days) >= _WEEKLY_DAYS
        if given_ns is None and weekly:
            raise InvalidInput(f"{self._file}, spacing of bars", f"{min(days)} days", "bars from 1m to 1d")
        if ones and (days or time in {0, IST_NS}):
            return DAY_NS, ""
        usual = self._times.most_common(1)[0][1] if self._times else 0
        if given_ns is None and days.total() >= _WEEKLY_ROWS and usual > _MOST_DAYS * self._rows:
            return (
                DAY_NS,
                "",
            )  # one row a day, some with a time of their own: a short session, the day that isn't over
        if given_ns is not None:
            return given_ns, ""
        return MINUTE_NS, "1m is assumed: too few rows to read it from; --bar-interval says it"

    def _checked(self, given_ns: int | None, found: int) -> int:
        """The length of the bars, after comparing what was given with what was found."""
        if given_ns is None:
            if not MINUTE_NS <= found <= DAY_NS or found % MINUTE_NS or _LONGEST_NS < found < DAY_NS:
                raise InvalidInput(
                    f"{self._file}, spacing of bars", interval_text(found), "bars from 1m to 1d"
                )
            return found
        if given_ns > found:
            raise InvalidInput(
                "--bar-interval",
                interval_text(given_ns),
                f"{interval_text(found)}, which is the spacing of the bars of {self._file}",
            )
        steps = self._steps or self._all_steps or self._day_steps
        sure = steps[found] if found in steps else steps.total()
        if given_ns < found and sure >= _SURE_ROWS:
            raise InvalidInput(
                "--bar-interval",
                interval_text(given_ns),
                f"{interval_text(found)}, as the bars of {self._file} are spaced",
            )
        return given_ns

    def _refuse_wider(self, interval: int) -> None:
        """Refuses a file that has longer bars on some days: they would be known before they end."""
        wider = [
            (grid, first_ns)
            for grid, (bars, first_ns) in sorted(self._wider.items())
            if grid > interval and (interval / grid) ** (bars - 1) < _CHANCE
        ]
        if interval < DAY_NS:
            wider += [(DAY_NS, first_ns) for first_ns, days in self._alone.values() if days >= _ALONE_DAYS]
        if wider:
            grid, first_ns = wider[0]
            raise InvalidInput(
                f"{self._file}, spacing of bars",
                f"{interval_text(interval)}, but {interval_text(grid)} on {instant(first_ns).astimezone(IST):%Y-%m-%d}",
                "bars of one length: leave out the others or put them into a file of their own;"
                f" --bar-interval {interval_text(interval)} if all are so long",
            )

    def _looks_like_ends(self, interval: int) -> bool:
        """Whether most days begin one bar after the open and end with the close, and none begins with the open."""
        days = self._firsts.total()
        return (
            self._firsts[self._open_ns + interval] > _MOST_DAYS * days
            and self._lasts[self._close_ns] > _MOST_DAYS * days
            and not self._firsts[self._open_ns]
        )


def _count(counter: Counter[int], values: Rows) -> None:
    seconds, rest = np.divmod(values, SECOND_NS)
    if len(values) and not rest.any() and seconds.min() >= 0 and seconds.max() < _MOST_SECONDS:
        counts = np.bincount(seconds)
        found = np.flatnonzero(counts)
        counts, found = counts[found], found * SECOND_NS
    else:
        found, counts = np.unique(values, return_counts=True)
    for value, count in zip(found.tolist(), counts.tolist(), strict=True):
        if value in counter or len(counter) < MOST_COUNTED:
            counter[value] += count


def _clock(time_ns: int) -> str:
    seconds = time_ns // SECOND_NS
    return f"{seconds // 3600:02}:{seconds % 3600 // 60:02}:{seconds % 60:02}"
