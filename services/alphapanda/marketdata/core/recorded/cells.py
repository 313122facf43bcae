"""Converts cells of text or numbers to whole numbers: prices in paise, volumes, names of instruments."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphapanda.marketdata.core.recorded.arrow import compute, numbers_of, pyarrow
from alphapanda.marketdata.core.ticks import PRICE_SCALE

Whole = NDArray[np.int64]
Flags = NDArray[np.bool_]

MISSING: Final = -(2**62)
"""Stands for an empty cell."""

PRICE_ALLOWED: Final = "rupees as a decimal number, such as 182.65"
VOLUME_ALLOWED: Final = "a number, 0 or more"
INSTRUMENT_ALLOWED: Final = "an instrument token, 1 to 4294967295"

BETWEEN: Final = "\x1f"
"""Between a name and the cells that are joined to it; no name has it in it."""

_LARGEST_PRICE: Final = 1e13
_LARGEST_VOLUME: Final = 2.0**53
YEARS_ALLOWED: Final = "a time in the years 1970 to 2199"
_EMPTY: Final = ("", "nan", "null", "none", "na", "n/a", "-", "nil", "<na>", "nat", "#n/a")
_CURRENCY: Final = r"^(₹|rs\.?|inr)\s*"
_THOUSANDS: Final = r"^-?\d{1,3}(,\d{2,3})*,\d{3}(\.\d*)?$"
_DECIMAL_COMMA: Final = r"^-?(\d+|\d{1,3}(\.\d{3})+),\d{1,2}$"
_FLOAT: Final = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?")
_SUFFIXED: Final = re.compile(r"(\d+(?:\.\d+)?)(k|m|b|l|cr)", re.IGNORECASE)
_SUFFIXES: Final = {"k": 10**3, "m": 10**6, "b": 10**9, "l": 10**5, "cr": 10**7}


class BadCell(Exception):
    """A cell can't be used; `at` is its index in the block."""

    def __init__(self, at: int, value: object, allowed: str) -> None:
        super().__init__(allowed)
        self.at = at
        self.value = value
        self.allowed = allowed


class Prices(NamedTuple):
    """A column of prices.

    Attributes:
        paise: in 1/PRICE_SCALE rupees, each rounded to the nearest; MISSING for an empty cell.
        rounded: where rounding changed the value.
    """

    paise: Whole
    rounded: Flags


def prices(cells: Any) -> Prices:
    """Converts a column of prices in rupees: text, floats, decimals or whole numbers.

    Raises:
        BadCell: a cell is no price.
    """
    values = _numbers(cells, PRICE_ALLOWED)
    missing = np.isnan(values)
    bad = ~missing & ~(np.abs(values) < _LARGEST_PRICE)
    if bad.any():
        at = int(bad.argmax())
        raise BadCell(at, cells[at].as_py(), PRICE_ALLOWED)
    scaled = np.rint(values * PRICE_SCALE)
    rounded = (scaled / PRICE_SCALE != values) & ~missing
    if missing.any():
        scaled[missing] = MISSING
    return Prices(scaled.astype(np.int64), rounded)


class Volumes(NamedTuple):
    """A column of volumes.

    Attributes:
        units: whole units, rounded down; MISSING for an empty cell.
        cut: cells that had a fraction.
    """

    units: Whole
    cut: int = 0


def volumes(cells: Any) -> Volumes:
    """Converts a column of volumes.

    Raises:
        BadCell: a cell is no volume.
    """
    types = pyarrow().types
    if types.is_integer(cells.type) and not cells.null_count:
        whole: Whole = numbers_of(cells).astype(np.int64)
        _require(whole >= 0, cells, VOLUME_ALLOWED)
        return Volumes(whole)
    values = _numbers(cells, VOLUME_ALLOWED, suffixes=True)
    missing = np.isnan(values)
    _require(missing | ((values >= 0) & (values < _LARGEST_VOLUME)), cells, VOLUME_ALLOWED)
    units = np.where(missing, 0, values)
    whole = np.floor(units)
    return Volumes(np.where(missing, MISSING, whole.astype(np.int64)), int((whole != units).sum()))


def tokens(cells: Any) -> Whole:
    """Converts a column of instrument tokens.

    Raises:
        BadCell: a cell is no token.
    """
    values = _numbers(cells, INSTRUMENT_ALLOWED)
    _require((values > 0) & (values < 2**32) & (np.rint(values) == values), cells, INSTRUMENT_ALLOWED)
    return values.astype(np.int64)


def by_name(cells: Any, find: Callable[[str], int], *more: Any) -> Whole:
    """Converts a column of names, each different one once.

    Args:
        cells: the names.
        find: returns a name's number.
        more: further columns, such as the exchange, or None for one that isn't there; their cells are joined to the name's
            by BETWEEN.

    Raises:
        BadCell: raised as by `find`, which raises ValueError with what is allowed.
    """
    arrow, pc = pyarrow(), compute()
    joined = _text(cells)
    if any(column is not None for column in more):
        columns = [arrow.scalar("") if column is None else _text(column) for column in more]
        joined = pc.binary_join_element_wise(joined, *columns, BETWEEN)
    coded = joined.dictionary_encode()
    indices = numbers_of(coded.indices)
    found = np.empty(len(coded.dictionary), np.int64)
    for code, name in enumerate(coded.dictionary.to_pylist()):
        try:
            found[code] = find(name)
        except (ValueError, OverflowError) as error:
            at = int((indices == code).argmax())
            allowed = str(error) if isinstance(error, ValueError) else YEARS_ALLOWED
            raise BadCell(at, cells[at].as_py(), allowed) from None
    return found[indices] if len(indices) else np.empty(0, np.int64)


def empty_cells(cells: Any) -> Flags:
    """Where cells are empty."""
    return np.array([cell is None or not str(cell).strip() for cell in cells.to_pylist()], np.bool_)


def _text(cells: Any) -> Any:
    arrow, pc = pyarrow(), compute()
    if arrow.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if not arrow.types.is_string(cells.type):
        cells = cells.cast(arrow.string())
    return pc.fill_null(cells, "")


def _require(good: Flags, cells: Any, allowed: str) -> None:
    if not good.all():
        at = int((~good).argmax())
        value = cells[at].as_py()
        raise BadCell(at, "" if value is None else value, allowed)


def _numbers(cells: Any, allowed: str, *, suffixes: bool = False) -> NDArray[np.float64]:
    """A column as floats; an empty cell is NaN."""
    arrow = pyarrow()
    if arrow.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    try:
        converted = cells.cast(arrow.float64())
    except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError):
        converted = _written_out(cells, allowed, suffixes=suffixes)
    return numbers_of(converted if not converted.null_count else compute().fill_null(converted, float("nan")))


def _written_out(cells: Any, allowed: str, *, suffixes: bool) -> Any:
    """Numbers as people and spreadsheets write them: empty, in quotes, with a currency, thousands, a decimal comma."""
    arrow, pc = pyarrow(), compute()
    try:
        plain = pc.utf8_trim(pc.utf8_lower(_text(cells)), " \t\"'\u00a0\u2007\u2009\u202f")
    except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError):
        raise BadCell(0, f"type {cells.type}", allowed) from None
    plain = pc.replace_substring_regex(plain, _CURRENCY, "")
    plain = pc.if_else(pc.is_in(plain, value_set=arrow.array(_EMPTY)), None, plain)
    plain = pc.if_else(
        pc.match_substring_regex(plain, _THOUSANDS), pc.replace_substring(plain, ",", ""), plain
    )
    european = pc.match_substring_regex(plain, _DECIMAL_COMMA)
    without = pc.replace_substring(pc.replace_substring(plain, ".", ""), ",", ".")
    plain = pc.if_else(european, without, plain)
    if suffixes:
        plain = arrow.array([_without_suffix(text) for text in plain.to_pylist()], arrow.string())
    try:
        return plain.cast(arrow.float64())
    except arrow.ArrowInvalid:
        raise _first_bad(cells, plain, allowed) from None


def _without_suffix(text: str | None) -> str | None:
    found = _SUFFIXED.fullmatch(text) if text else None
    return f"{float(found[1]) * _SUFFIXES[found[2].lower()]:.0f}" if found else text


def _first_bad(cells: Any, plain: Any, allowed: str) -> BadCell:
    for at, text in enumerate(plain.to_pylist()):
        if text is not None and not _FLOAT.fullmatch(text):
            return BadCell(at, cells[at].as_py(), allowed)
    return BadCell(0, cells[0].as_py(), allowed)
