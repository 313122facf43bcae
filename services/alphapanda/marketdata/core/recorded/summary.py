"""What was recognised in a data file, and what was left out or changed, in a line."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from alphapanda.domain.frame import instant
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.marketdata.core.recorded.options import DAY_NS, IST, interval_text
from alphapanda.marketdata.core.recorded.spacing import BarTimes

_MOST_SYMBOLS: Final = 3


@dataclass(slots=True)
class FileSummary:
    """What was recognised in a file.

    Attributes:
        name: as the user wrote it.
        form: what the file is: "CSV".
        times: how its times are written; empty if nothing is to be said.
        bars: whether its rows are bars.
        bar_times: length of the bars; None for ticks.
        tokens: tokens of its instruments.
        rows: rows that are used, repeated ones among them.
        first_ns: first time, nanoseconds since the epoch.
        last_ns: last time.
        backwards: whether its rows begin with the newest.
        disordered: whether its rows were put in order.
        volumes: whether a row has a volume above 0.
        cut_volumes: rows whose volume was rounded down to whole units.
        rounded: rows with a price that was rounded to the nearest paisa.
        mended: bars without an open, high or low, or whose high or low lay between the others.
        without_price: rows without a price, left out.
        unknown: rows of other series or of unknown instruments, left out.
        outside: rows before --from or after --to, left out.
        whole: first and last time of all rows, those outside --from and --to among them; None if no days were chosen.
        taken_for: name in the file that was taken for the given instrument; None if there is none.
    """

    name: str
    form: str
    times: str = ""
    bars: bool = True
    bar_times: BarTimes | None = None
    tokens: set[int] = field(default_factory=set)
    rows: int = 0
    first_ns: int = 0
    last_ns: int = 0
    backwards: bool = False
    disordered: bool = False
    volumes: bool = False
    cut_volumes: int = 0
    rounded: int = 0
    mended: int = 0
    without_price: int = 0
    unknown: int = 0
    outside: int = 0
    whole: tuple[int, int] | None = None
    taken_for: str | None = None

    def widen(self, first_ns: int, last_ns: int) -> None:
        """Widens the period of all rows."""
        first, last = self.whole or (first_ns, last_ns)
        self.whole = (min(first, first_ns), max(last, last_ns))

    def include(self, first_ns: int, last_ns: int) -> None:
        """Widens the period."""
        self.first_ns = min(self.first_ns, first_ns) if self.rows else first_ns
        self.last_ns = max(self.last_ns, last_ns) if self.rows else last_ns

    def line(self, directory: InstrumentDirectory) -> str:
        """One line: format, interval, instrument, rows, period, what was done."""
        kind = "bars" if self.bars else "ticks"
        if self.bar_times is not None:
            kind = f"{interval_text(self.bar_times.interval_ns)} {kind}"
        about = f"{self.name}: {self.form}, {kind} of {self._symbols(directory)}, {rows_in_words(self.rows)}"
        parts = [f"{about}, {self._period()}" if self.rows else about, self.times]
        if self.bar_times is not None:
            parts += ["times are the bars' ends" if self.bar_times.ends else "", self.bar_times.remark]
        parts.append(
            "" if self.volumes or not self.rows else "no volumes, so strategies that weigh by them do nothing"
        )
        counted = (
            (self.rounded, "with prices rounded to paise"),
            (self.cut_volumes, "with volumes rounded down to whole units"),
            (self.mended, "with open, high or low mended"),
            (self.without_price, "without a price left out"),
            (self.unknown, "of unknown instruments or other series left out"),
            (self.outside, "outside --from and --to left out"),
        )
        parts += [f"{rows_in_words(count)} {what}" for count, what in counted if count]
        if self.mended > self.rows / 2:
            parts.append("are the columns right? --columns open=…,high=…,low=…,close=… names them")
        parts.append("rows were put in order" if self.disordered else "")
        if self.taken_for is not None:
            parts.append(f"{self.taken_for!r} is taken for the given instrument")
        return "; ".join(filter(None, parts))

    def _symbols(self, directory: InstrumentDirectory) -> str:
        found = [directory.by_token(token) for token in sorted(self.tokens)]
        names = [one.symbol for one in found if one is not None][:_MOST_SYMBOLS]
        more = len(self.tokens) - len(names)
        return ", ".join(names) + (
            f" and {more} more" if names and more else "" if names else f"{more} instruments"
        )

    def _period(self) -> str:
        first, last = (_india(ns) for ns in (self.first_ns, self.last_ns))
        if self.bar_times is not None and self.bar_times.interval_ns == DAY_NS:
            return f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
        same = first.date() == last.date()
        return f"{first:%Y-%m-%d %H:%M} to {last:{'%H:%M' if same else '%Y-%m-%d %H:%M'}}"


def rows_in_words(count: int) -> str:
    """A number of rows."""
    return f"{count:,} {'row' if count == 1 else 'rows'}"


def _india(ns: int) -> datetime:
    return instant(ns).astimezone(IST)
