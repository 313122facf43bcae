"""Reads one data file: its rows as whole numbers, put aside in order, and what was recognised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.marketdata.core.recorded.bar_clock import CLOSE_NS, OPEN_NS, BarClock, SessionHours
from alphapanda.marketdata.core.recorded.cells import (
    MISSING,
    YEARS_ALLOWED,
    BadCell,
    Whole,
    by_name,
    prices,
    tokens,
    volumes,
)
from alphapanda.marketdata.core.recorded.columns import PRICES, Layout
from alphapanda.marketdata.core.recorded.merging import Source
from alphapanda.marketdata.core.recorded.options import DAY_NS, IST_NS, ReadingOptions
from alphapanda.marketdata.core.recorded.rows import (
    CLOSE,
    COLUMNS,
    HIGH,
    KNOWN,
    LOW,
    NO_ROWS,
    OPEN,
    PLACE,
    PLACE_BITS,
    STAMP,
    TOKEN,
    VOLUME,
    Rows,
    mend_bars,
    put_in_order,
)
from alphapanda.marketdata.core.recorded.spacing import Spacing
from alphapanda.marketdata.core.recorded.summary import FileSummary
from alphapanda.marketdata.core.recorded.symbols import LEFT_OUT, InstrumentFinder
from alphapanda.marketdata.core.recorded.time_forms import recognised, recognised_dates
from alphapanda.marketdata.core.recorded.times import TimeForm
from alphapanda.marketdata.feeds.files.spool import Run, Spool
from alphapanda.marketdata.feeds.files.table import Block, Table

RUN_ROWS: Final = 1 << 17
"""Rows that are put in order at once."""

_SAMPLE_ROWS: Final = 1_000
_END_NS: Final = (date(2200, 1, 1).toordinal() - date(1970, 1, 1).toordinal()) * DAY_NS
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_UTC: Final = ZoneInfo("UTC")
_AT: Final = {"open": OPEN, "high": HIGH, "low": LOW, "close": CLOSE}


class MalformedRow(InvalidInput):
    """A row can't be read; the error has file, line, column, value and what is allowed."""

    def __init__(self, file: str, place: str, column: str, value: object, allowed: str) -> None:
        super().__init__(f"{file}, {place}, column {column}", value, allowed)


@dataclass(frozen=True, slots=True)
class FileRead:
    """A file that was read.

    Attributes:
        summary: what was recognised.
        sources: makes its rows in the order in which they are known; each is read once.
        place: where a row stands, for messages.
    """

    summary: FileSummary
    sources: Callable[[], list[Source]]
    place: Callable[[int], str]


class FileReader:
    """Reads one file.

    Args:
        table: the file.
        number: its number among the files.
        name: as the user wrote it.
        given: the instrument that the user named for it; None if none.
        directory: the instruments.
        options: what the user says about the files.
        spool: where rows are put aside.
    """

    def __init__(
        self,
        table: Table,
        number: int,
        name: str,
        given: Instrument | None,
        directory: InstrumentDirectory,
        options: ReadingOptions,
        spool: Spool,
    ) -> None:
        self._table = table
        self._number = number
        self._name = name
        self._given = given
        self._options = options
        self._spool = spool
        whole_market = any("series" in layout.at for layout in table.layouts)
        self._finder = InstrumentFinder(directory, given, whole_market=whole_market)
        self._spacing = Spacing(name, OPEN_NS, CLOSE_NS)
        self._form: TimeForm | None = None
        self._runs: list[Run] = []
        self._held = NO_ROWS
        self._filled = 0
        self._last_ns: int | None = None
        self._forwards = self._backwards = True
        self.summary = FileSummary(name, table.form, bars=table.layouts[0].bars)

    def read(self) -> FileSummary:
        """Reads the file; returns what was recognised.

        Raises:
            InvalidInput: a row can't be read, the bars have no length from 1m to 1d, or rows name no instrument.
        """
        summary = self.summary
        needed = sorted({at for layout in self._table.layouts for at in layout.at.values()})
        for block in self._table.blocks(needed):
            for layout in self._table.layouts:
                self._add(self._rows_of(block, layout))
        self._put_aside()
        if not summary.rows and summary.unknown:
            names = ", ".join(self._finder.left_out)
            allowed = "`alphapanda instruments import FILE` or `add` makes instruments known"
            raise InvalidInput(f"{self._name}, symbols", names, f"{allowed}; no row is of a known one")
        summary.taken_for = self._finder.taken_for
        summary.disordered = not self._forwards
        summary.backwards = self._backwards and not self._forwards
        if self._form is not None:
            summary.times = self._form.text
        if summary.bars and summary.rows:
            summary.bar_times = self._spacing.bar_times(self._options.bar_interval_ns, self._options.stamp)
        return summary

    def timed(self, hours: SessionHours) -> FileRead:
        """The file's rows, with the times at which they are known; call it after `read`."""
        if self.summary.bar_times is not None:
            clock = BarClock(self.summary.bar_times, hours)
            for run in self._runs:
                run.set(clock.set_times)
        return FileRead(self.summary, self._sources, self._table.place)

    def _sources(self) -> list[Source]:
        return [Source(run.read, run.rows) for run in self._runs]

    # -- a block ----------------------------------------------------------------------------------------------------------

    def _rows_of(self, block: Block, layout: Layout) -> Rows:
        try:
            return self._rows(block, layout)
        except MalformedRow:
            filled = block.without_headers(layout.names).without_empty_rows()
            if filled is block:
                raise
            return self._rows(filled, layout)

    def _rows(self, block: Block, layout: Layout) -> Rows:
        rows = np.full((block.rows, COLUMNS), MISSING, np.int64)
        stamps = self._times(block, layout)
        self._require_years(block, layout, stamps)
        self._watch_order(stamps, layout)
        rows[:, STAMP] = rows[:, KNOWN] = stamps
        rows[:, PLACE] = block.row_numbers + (self._number << PLACE_BITS)
        rows[:, TOKEN] = self._tokens(block, layout)
        keep = rows[:, TOKEN] != LEFT_OUT
        self.summary.unknown += int((~keep).sum())
        rounded = np.zeros(block.rows, np.bool_)
        for role in PRICES if layout.bars else ("price",):
            column = self._cells(block, layout, role, prices)
            rows[:, _AT.get(role, CLOSE)] = column.paise
            rounded |= column.rounded
        priced = rows[:, CLOSE] != MISSING
        self.summary.without_price += int((keep & ~priced).sum())
        keep &= priced
        if "volume" in layout.at:
            found = self._cells(block, layout, "volume", volumes)
            self.summary.cut_volumes += found.cut
            rows[:, VOLUME] = np.where(found.units == MISSING, 0, found.units) if layout.bars else found.units
        inside = self._inside(stamps)
        if inside is not None:
            self.summary.outside += int((keep & ~inside).sum())
            if len(stamps):
                self.summary.widen(int(stamps.min()), int(stamps.max()))
            keep &= inside
        if not keep.all():
            rows, rounded = rows[keep], rounded[keep]
        if not self.summary.volumes and len(rows):
            self.summary.volumes = bool(rows[:, VOLUME].max() > 0)
        self.summary.rounded += int(rounded.sum())
        if layout.bars and len(rows):
            self.summary.mended += mend_bars(rows)
        return rows

    def _cells(self, block: Block, layout: Layout, role: str, convert: Callable[[Any], Any]) -> Any:
        try:
            return convert(block.columns[layout.at[role]])
        except BadCell as bad:
            raise self._malformed(block, layout.name(role), bad) from None

    def _malformed(self, block: Block, column: str, bad: BadCell) -> MalformedRow:
        place = self._table.place(int(block.row_numbers[bad.at]))
        return MalformedRow(self._name, place, column, "" if bad.value is None else bad.value, bad.allowed)

    def _times(self, block: Block, layout: Layout) -> Whole:
        role = "time" if "time" in layout.at else "date"
        at = layout.at[role]
        try:
            if self._form is None and block.rows:
                recognise = recognised if role == "time" else recognised_dates
                zone = self._options.time_zone or (_UTC if layout.utc else None)
                sample = block.columns[at].slice(0, _SAMPLE_ROWS)
                self._form = recognise(
                    sample,
                    self._options.time_format,
                    zone,
                    lambda: (later.columns[at] for later in self._table.blocks([at])),
                )
            if self._form is None:
                return np.empty(0, np.int64)
            if role == "time":
                return self._form.instants(block.columns[at])
            return self._form.joined(block.columns[at], block.columns[layout.at["clock"]])
        except BadCell as bad:
            raise self._malformed(block, layout.name(role), bad) from None

    def _require_years(self, block: Block, layout: Layout, stamps: Whole) -> None:
        if len(stamps) and not 0 <= stamps.min() <= stamps.max() < _END_NS:
            at = int(((stamps < 0) | (stamps >= _END_NS)).argmax())
            role = "time" if "time" in layout.at else "date"
            value = block.columns[layout.at[role]][at].as_py()
            raise self._malformed(block, layout.name(role), BadCell(at, value, YEARS_ALLOWED))

    def _watch_order(self, stamps: Whole, layout: Layout) -> None:
        """Notices whether rows come in the order of time, or the newest first."""
        if layout is not self._table.layouts[0] or not len(stamps):
            return
        steps = np.diff(stamps, prepend=stamps[0] if self._last_ns is None else self._last_ns)
        self._forwards = self._forwards and bool((steps >= 0).all())
        self._backwards = self._backwards and bool((steps <= 0).all())
        self._last_ns = int(stamps[-1])

    def _tokens(self, block: Block, layout: Layout) -> Whole | int:
        if "instrument_token" in layout.at:
            found: Whole = self._cells(block, layout, "instrument_token", tokens)
            return found
        if layout.fixed_symbol is not None:
            try:
                return self._finder.token(layout.fixed_symbol)
            except ValueError as error:
                raise InvalidInput(f"{self._name}, column header", layout.fixed_symbol, str(error)) from None
        if "symbol" in layout.at:
            more = [
                block.columns[layout.at[role]] if role in layout.at else None
                for role in ("exchange", "series")
            ]
            named: Whole = self._cells(
                block, layout, "symbol", lambda cells: by_name(cells, self._finder.token, *more)
            )
            return named
        if self._given is None:
            raise without_instrument(self._name)
        return self._given.instrument_token

    def _inside(self, stamps: Whole) -> np.ndarray[tuple[int], np.dtype[np.bool_]] | None:
        first, last = self._options.first_day, self._options.last_day
        if first is None and last is None:
            return None
        days = (stamps + IST_NS) // DAY_NS + _EPOCH_ORDINAL
        inside = np.ones(len(days), np.bool_)
        if first is not None:
            inside &= days >= first.toordinal()
        if last is not None:
            inside &= days <= last.toordinal()
        return inside

    # -- putting aside ----------------------------------------------------------------------------------------------------

    def _add(self, rows: Rows) -> None:
        if not len(rows):
            return
        self.summary.include(int(rows[:, STAMP].min()), int(rows[:, STAMP].max()))
        self.summary.rows += len(rows)
        tokens = rows[:, TOKEN]
        one = bool((tokens == tokens[0]).all())
        self.summary.tokens.update([int(tokens[0])] if one else np.unique(tokens).tolist())
        while len(rows):
            if not self._filled:
                self._held = np.empty((RUN_ROWS, COLUMNS), np.int64)
            room = RUN_ROWS - self._filled
            part, rows = rows[:room], rows[room:]
            self._held[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            if self._filled == RUN_ROWS:
                self._put_aside()

    def _put_aside(self) -> None:
        if not self._filled:
            return
        rows = put_in_order(self._held[: self._filled], STAMP)
        if self.summary.bars:
            self._spacing.add(rows)
        self._runs.append(self._spool.add(rows))
        self._held, self._filled = NO_ROWS, 0


def without_instrument(file: str) -> InvalidInput:
    """The error for a file whose rows name no instrument."""
    return InvalidInput(
        "instrument",
        "",
        f"{file} has rows, which don't name their instrument: give one as --instrument NSE:INFY, or NSE:INFY={file}",
    )
