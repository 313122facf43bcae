"""Finds the header of a text file: the separator, lines above it, names of columns, or that there is none."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from alphapanda.domain.errors import InvalidInput
from alphapanda.marketdata.core.recorded.columns import (
    COLUMNS_WANTED,
    PRICES,
    Layout,
    layout_of,
    plain,
    roles_known,
)

_SEPARATORS: Final = (",", ";", "\t", "|")
_MOST_TITLES: Final = 20
_FEWEST_KNOWN: Final = 2
_SURE_KNOWN: Final = 4
_SAMPLE_ROWS: Final = 50
_SEPARATOR_LINE: Final = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
_NUMBER: Final = re.compile(r"-?[\d,]*\.?\d+")
_CLOCK: Final = re.compile(r"\d{1,2}:\d\d(:\d\d(\.\d+)?)?")
_DATE: Final = re.compile(r"(19|20)\d{6}|\d{1,4}[-/.]\w{1,3}[-/.]\d{1,4}([T ].*)?|\d{10,19}")


@dataclass(frozen=True, slots=True)
class Header:
    """How the text of a file is laid out.

    Attributes:
        separator: between cells.
        names: names of the columns, as many as a row has cells.
        layouts: the roles of columns; several if a second header line names instruments, one for each.
        skipped: lines before the first row.
        remark: what is unusual, for the line that says what was recognised.
    """

    separator: str
    names: Sequence[str]
    layouts: Sequence[Layout]
    skipped: int
    remark: str = ""


def header_of(file: str, lines: Sequence[str], given: Mapping[str, str]) -> Header:
    """Finds the header among the first lines of a file.

    Args:
        file: name of the file, for errors.
        lines: the first lines, without their ends; the last may be cut off.
        given: column name or number by role, as the user says.

    Raises:
        InvalidInput: there is no header, and the first row is none of bars; or columns can't be used.
    """
    at = next((at for at, line in enumerate(lines) if line.strip() and not line.startswith("#")), None)
    if at is None:
        raise InvalidInput(f"{file}, line 1, column header", lines[0] if lines else "", COLUMNS_WANTED)
    separators: Sequence[str] = _SEPARATORS
    if found := _SEPARATOR_LINE.fullmatch(lines[at]):
        separators, at = (found[1],), at + 1
    if at + 1 < len(lines) and (several := _two_lines(file, lines, at, separators, given)):
        return several
    best = _named(lines, at, separators, given)
    if best is None:
        return _nameless(file, lines, at, separators, given)
    at, separator = best
    names = cells_of(lines[at], separator)
    rows = _rows(lines, at + 1, separator)
    names = _with_index(names, rows)
    first = rows[0] if rows else None
    return Header(separator, names, (layout_of(file, names, given, clock_in=first),), at + 1)


def cells_of(line: str, separator: str) -> list[str]:
    """The cells of a line."""
    return next(csv.reader([line.rstrip("\r\n")], delimiter=separator), [])


def _named(
    lines: Sequence[str], at: int, separators: Sequence[str], given: Mapping[str, str]
) -> tuple[int, str] | None:
    """The header's line and separator; None if no line looks like one."""

    def known(line: int, separator: str) -> int:
        cells = cells_of(lines[line], separator)
        wanted = {plain(column) for column in given.values()} - {""}
        return roles_known(cells) + sum(1 for cell in cells if plain(cell) in wanted)

    for line in range(at, min(at + _MOST_TITLES, len(lines))):
        count, separator = max(((known(line, one), one) for one in separators), key=lambda pair: pair[0])
        if count >= (_FEWEST_KNOWN if line == at else _SURE_KNOWN):
            return line, separator
    return None


def _rows(lines: Sequence[str], at: int, separator: str) -> list[list[str]]:
    """The first rows, without blank lines and the last line, which may be cut off."""
    held = [line for line in lines[at : at + _SAMPLE_ROWS] if line.strip()]
    return [cells_of(line, separator) for line in (held[:-1] or held)]


def _with_index(names: list[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Adds a name for a cell that every row has and the header has not: an index in front, or nothing behind."""
    if not rows or any(len(row) != len(names) + 1 for row in rows):
        return names
    return [*names, ""] if all(not row[-1].strip() for row in rows) else ["", *names]


def _two_lines(
    file: str, lines: Sequence[str], at: int, separators: Sequence[str], given: Mapping[str, str]
) -> Header | None:
    """Yfinance's header: prices in one line, tickers in the other, then a line with the index's name alone."""
    for separator in separators:
        rows = [cells_of(line, separator) for line in lines[at : at + 3]]
        if len(rows[0]) != len(rows[1]) or len(rows[0]) < len(PRICES):
            continue
        labels = (plain(rows[0][0]), plain(rows[1][0]))
        prices, tickers = rows[0], rows[1]
        if labels[0] == "ticker" or (labels[1] in {"price", ""} and roles_known(rows[1][1:]) >= len(PRICES)):
            prices, tickers = tickers, prices
        elif labels[1] not in {"ticker", "symbol", "symbols"} and (
            labels[0] not in {"price", "attributes", ""} or labels[1]
        ):
            continue
        if roles_known(prices[1:]) < len(PRICES) or roles_known(tickers[1:]) > 1:
            continue
        if labels == ("", "") and not all(re.search("[A-Za-z]", ticker) for ticker in tickers[1:]):
            continue
        more = len(rows) > 2 and bool(rows[2][0].strip()) and not any(cell.strip() for cell in rows[2][1:])  # noqa: PLR2004
        names = ["date", *prices[1:]]
        layouts = []
        for ticker in dict.fromkeys(tickers[1:]):
            of_one = [
                "date",
                *(name if one == ticker else "" for name, one in zip(prices[1:], tickers[1:], strict=True)),
            ]
            layout = layout_of(file, of_one, given)
            layouts.append(Layout(layout.at, layout.bars, names, ticker.strip(), layout.utc))
        return Header(separator, names, layouts, at + 2 + more, "yfinance")
    return None


def _nameless(
    file: str, lines: Sequence[str], at: int, separators: Sequence[str], given: Mapping[str, str]
) -> Header:
    """A file without a header: [symbol,] time or date and time of day, open, high, low, close[, volume]."""
    for separator in separators:
        cells = [cell.strip() for cell in cells_of(lines[at], separator)]
        names = _guessed(cells)
        if given and all(column.isdigit() and int(column) <= len(cells) for column in given.values()):
            time = cells[int(given.get("time", given.get("date", "1"))) - 1]
            if not _DATE.fullmatch(time):
                return Header(separator, cells, (layout_of(file, cells, given),), at + 1)
            names = [str(number) for number in range(1, len(cells) + 1)]
        if names is None:
            continue
        remark = f"no header, read as {', '.join(filter(None, names))}"
        return Header(separator, names, (layout_of(file, names, given, clock_in=cells),), at, remark)
    raise InvalidInput(f"{file}, line {at + 1}, column header", lines[at], COLUMNS_WANTED)


def _guessed(cells: Sequence[str]) -> list[str] | None:
    """Names for the cells of a first row, if they make a bar."""
    rest = list(cells)
    names: list[str] = []
    if rest and not _DATE.fullmatch(rest[0]) and not _NUMBER.fullmatch(rest[0]):
        names.append("symbol")
        rest = rest[1:]
    if not rest or not _DATE.fullmatch(rest[0]):
        return None
    names.append("date")
    rest = rest[1:]
    if rest and _CLOCK.fullmatch(rest[0]):
        names.append("time")
        rest = rest[1:]
    if len(rest) < len(PRICES) or not all(_NUMBER.fullmatch(cell) for cell in rest[:4]):
        return None
    open_, high, low, close = (float(cell.replace(",", "")) for cell in rest[:4])
    if not low <= min(open_, close) <= max(open_, close) <= high:
        return None
    names += PRICES
    rest = rest[4:]
    return [*names, *["volume"][: len(rest)], *[""] * (len(rest) - 1)]


def expected(header: Header) -> str:
    """What a row looks like, for messages."""
    return f"{len(header.names)} cells: {header.separator.join(header.names)}"
