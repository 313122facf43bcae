"""Reads all files of a recording as one: in order, each bar once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import instant
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.marketdata.core.recorded.bar_clock import SessionHours
from alphapanda.marketdata.core.recorded.cells import MISSING
from alphapanda.marketdata.core.recorded.first_prices import FirstPrices
from alphapanda.marketdata.core.recorded.identity import RowsDisagree, Settled, in_order, once
from alphapanda.marketdata.core.recorded.merging import merged
from alphapanda.marketdata.core.recorded.options import IST, ReadingOptions, interval_text
from alphapanda.marketdata.core.recorded.rows import (
    CLOSE,
    HIGH,
    KNOWN,
    LOW,
    OPEN,
    PLACE,
    PLACE_BITS,
    STAMP,
    TOKEN,
    VOLUME,
    Rows,
)
from alphapanda.marketdata.core.recorded.summary import FileSummary, rows_in_words
from alphapanda.marketdata.core.recorded.ticks_of import ticks_of
from alphapanda.marketdata.core.ticks import PRICE_SCALE, Tick
from alphapanda.marketdata.feeds.extent import Extent
from alphapanda.marketdata.feeds.files.json_table import JsonTable, is_json
from alphapanda.marketdata.feeds.files.opening import head_of, readable
from alphapanda.marketdata.feeds.files.parquet_table import ParquetTable
from alphapanda.marketdata.feeds.files.reading import FileRead, FileReader
from alphapanda.marketdata.feeds.files.spool import ROWS_IN_MEMORY, Spool
from alphapanda.marketdata.feeds.files.table import Table
from alphapanda.marketdata.feeds.files.text import TextTable

_PARQUET: Final = b"PAR1"
_PART_ROWS: Final = 1 << 13
_NUMBER_MASK: Final = (1 << PLACE_BITS) - 1


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file of a recording.

    Attributes:
        path: the file.
        instrument: the instrument that the user named for it; None if none.
    """

    path: Path
    instrument: Instrument | None


@dataclass(slots=True)
class Recording:
    """The rows of all files.

    Attributes:
        summaries: what was recognised, by file.
        settled: counts of repeated and replaced rows.
        rows: rows that are used.
        begins_ns: when the first one is known; 0 if there is none.
        denied_firsts: as `FirstPrices.denied` says, in paise.
    """

    summaries: Sequence[FileSummary]
    settled: Settled
    rows: int
    begins_ns: int
    denied_firsts: Mapping[int, int]
    _files: Sequence[FileRead]
    _paths: Sequence[Path]
    _options: ReadingOptions
    _held: list[Rows] | None

    def ticks(self, extent: Extent) -> Iterator[Tick]:
        """The ticks, in order of time; at one time by instrument.

        Args:
            extent: counts the bytes of the files and those that were read.
        """
        done = 0
        for path in self._paths:
            extent.begin(path, lambda: done / max(self.rows, 1))
        blocks = _blocks(self._files, self._options, Settled()) if self._held is None else self._held

        def parts() -> Iterator[Rows]:
            nonlocal done
            for block in blocks:
                for at in range(0, len(block), _PART_ROWS):
                    part = block[at : at + _PART_ROWS]
                    yield part
                    done += len(part)

        yield from ticks_of(parts())

    def lines(self, directory: InstrumentDirectory) -> list[str]:
        """What was recognised: a line a file, and one for rows that were left out."""
        lines = [summary.line(directory) for summary in self.summaries]
        if self.settled.repeated:
            lines.append(f"{rows_in_words(self.settled.repeated)} repeated another one and counted once")
        if self.settled.replaced:
            which = f"the {self._options.on_conflict} one was used"
            lines.append(
                f"{rows_in_words(self.settled.replaced)} disagreed with another one of the same bar: {which}"
            )
        return lines

    @property
    def lengths_ns(self) -> set[int]:
        """Lengths of the bars; empty for ticks."""
        return {one.bar_times.interval_ns for one in self.summaries if one.bar_times is not None}

    def counts(self) -> dict[str, int]:
        """Counts of rows that were changed or left out, by reason; zeros are left out."""
        names = ("rounded", "mended", "without_price", "unknown", "outside")
        counts = {name: sum(getattr(one, name) for one in self.summaries) for name in names}
        counts["put_in_order"] = sum(one.rows for one in self.summaries if one.disordered)
        counts |= {"repeated": self.settled.repeated, "replaced": self.settled.replaced}
        return {name: count for name, count in counts.items() if count}


def read_recording(
    files: Sequence[NamedFile],
    directory: InstrumentDirectory,
    calendar: TradingCalendar,
    options: ReadingOptions,
    rows_in_memory: int = ROWS_IN_MEMORY,
) -> Recording:
    """Reads all files of a recording, and checks every row before the first tick.

    Args:
        files: at least one.
        directory: the instruments, to look up symbols.
        calendar: trading days and sessions; a bar ends with its session.
        options: what the user says about the files.
        rows_in_memory: rows that are held in memory; more are put in a temporary file.

    Raises:
        InvalidInput: a file or a row can't be read, rows disagree about a bar, or bars have no instrument.
    """
    hours, spool = SessionHours(calendar, directory), Spool(rows_in_memory)
    readers, summaries = [], []
    for number, file in enumerate(files):
        table = open_table(file.path, options)
        reader = FileReader(table, number, str(file.path), file.instrument, directory, options, spool)
        summaries.append(reader.read())
        readers.append(reader)
    _assume_length_of_others(summaries)
    _require_one_length(summaries, directory)
    _require_a_day(summaries, options)
    read = [reader.timed(hours) for reader in readers]
    settled = Settled()
    held: list[Rows] | None = [] if sum(one.rows for one in summaries) <= rows_in_memory else None
    rows, begins_ns = 0, 0
    firsts = FirstPrices(token for one in summaries for token in one.tokens)
    try:
        for block in _blocks(read, options, settled):
            begins_ns = begins_ns or int(block[0, KNOWN])
            rows += len(block)
            firsts.add(block)
            if held is not None:
                held.append(block)
    except RowsDisagree as two:
        raise _disagree(two, read, directory) from None
    paths = [file.path for file in files]
    return Recording(summaries, settled, rows, begins_ns, firsts.denied(), read, paths, options, held)


def open_table(file: Path, options: ReadingOptions) -> Table:
    """Opens a file of any form.

    Raises:
        InvalidInput: it can't be read, or its columns can't be used.
    """
    head = head_of(file)
    name = str(file)
    if head.startswith(_PARQUET) or file.suffix == ".parquet":
        return ParquetTable(file, name, options.columns)
    with readable(file):
        as_json = is_json(head)
    if as_json:
        return JsonTable(file, name, head, options.columns)
    return TextTable(file, name, head, options.columns)


def _blocks(files: Sequence[FileRead], options: ReadingOptions, settled: Settled) -> Iterator[Rows]:
    """The rows of all files in order, each bar once."""
    backwards = [number for number, one in enumerate(files) if one.summary.backwards]
    sources = [source for one in files for source in one.sources()]
    for block in merged(sources):
        yield once(in_order(block, backwards), options.on_conflict, settled)


def _assume_length_of_others(summaries: Sequence[FileSummary]) -> None:
    """Gives bars whose length can't be read from a few rows the length of the instrument's bars in the other files."""
    read = {
        token: one.bar_times
        for one in summaries
        if one.bar_times is not None and not one.bar_times.remark
        for token in one.tokens
    }
    for summary in summaries:
        others = {read[token] for token in summary.tokens if token in read}
        if summary.bar_times is not None and summary.bar_times.remark and len(others) == 1:
            summary.bar_times = others.pop()


def _require_a_day(summaries: Sequence[FileSummary], options: ReadingOptions) -> None:
    """Checks that the chosen days have a row.

    Raises:
        InvalidInput: they have none.
    """
    whole = [summary.whole for summary in summaries if summary.whole is not None]
    if whole and not any(summary.rows for summary in summaries):
        first, last = (
            instant(ns).astimezone(IST) for ns in (min(w[0] for w in whole), max(w[1] for w in whole))
        )
        chosen = f"{options.first_day or '…'} to {options.last_day or '…'}"
        raise InvalidInput(
            "--from, --to", chosen, f"days of the files, which have {first:%Y-%m-%d} to {last:%Y-%m-%d}"
        )


def _require_one_length(summaries: Sequence[FileSummary], directory: InstrumentDirectory) -> None:
    """Checks that all bars of an instrument have one length, over all files.

    Raises:
        InvalidInput: they haven't.
    """
    known: dict[int, FileSummary] = {}
    for summary in summaries:
        for token in summary.tokens:
            other = known.setdefault(token, summary)
            if _kind(other) != _kind(summary):
                found = directory.by_token(token)
                raise InvalidInput(
                    "files",
                    f"{other.name}, {summary.name}",
                    f"bars of one length for an instrument; {found.symbol if found else token} has {_kind(other)} in one"
                    f" and {_kind(summary)} in the other",
                )


def _kind(summary: FileSummary) -> str:
    return "ticks" if summary.bar_times is None else f"{interval_text(summary.bar_times.interval_ns)} bars"


def _disagree(two: RowsDisagree, files: Sequence[FileRead], directory: InstrumentDirectory) -> InvalidInput:
    names, places = zip(*(_place(row, files) for row in (two.one, two.other)), strict=True)
    if names[0] == names[1]:
        lines = f"{names[0]}, {places[0]} and {places[1]}"
    else:
        lines = f"{names[0]}, {places[0]} and {names[1]}, {places[1]}"
    found = directory.by_token(two.one[TOKEN])
    start = instant(two.one[STAMP]).astimezone(IST)
    return InvalidInput(
        f"{lines}, bar of {found.symbol if found else two.one[TOKEN]} at {start:%Y-%m-%d %H:%M}",
        f"{_shown(two.one)} and {_shown(two.other)}",
        "one row for a bar; --on-conflict last uses the later row, first the earlier one",
    )


def _place(row: Sequence[int], files: Sequence[FileRead]) -> tuple[str, str]:
    """The file of a row, and where in it the row stands."""
    file = files[row[PLACE] >> PLACE_BITS]
    return file.summary.name, file.place(row[PLACE] & _NUMBER_MASK)


def _shown(row: Sequence[int]) -> str:
    prices = "/".join(f"{row[at] / PRICE_SCALE:.2f}" for at in (OPEN, HIGH, LOW, CLOSE))
    return prices if row[VOLUME] == MISSING else f"{prices}, {row[VOLUME]}"
