"""Recognises how a column's times are written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final
from zoneinfo import ZoneInfo

from alphapanda.marketdata.core.recorded.arrow import compute, pyarrow
from alphapanda.marketdata.core.recorded.cells import BadCell
from alphapanda.marketdata.core.recorded.options import IST, ORDERS, UNITS
from alphapanda.marketdata.core.recorded.times import (
    COMPACT,
    DATE_AND_CLOCK,
    NO_ZONE,
    NUMBER,
    NUMERIC_DATE,
    TIME_ALLOWED,
    UNIT_NAMES,
    TimeForm,
    day_ns,
    unit_of,
    zone_seconds,
)

_SMALLEST: Final = 1e8
_DAY_ORDERS: Final = ("dmy", "mdy")
AMBIGUOUS: Final = (
    "a date that can be read in one way only; --time-format dmy says that the day is first, mdy the month"
)


def recognised(
    cells: Any, given: str | None, zone: ZoneInfo | None, more: Callable[[], Iterable[Any]] = tuple
) -> TimeForm:
    """Recognises the form of a column of times.

    Args:
        cells: the first cells of the column.
        given: the option --time-format.
        zone: zone of times that name none; None: India's.
        more: the whole column in blocks, which is asked for if the first cells leave open what is the day.

    Raises:
        BadCell: the first cells are no times, or can be read in two ways.
    """
    form = TimeForm("text", zone=zone or IST)
    types = pyarrow().types
    if types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if types.is_timestamp(cells.type) or types.is_date(cells.type):
        dates = types.is_date(cells.type)
        return replace(form, naive=dates or cells.type.tz is None, dates=dates)
    if given is not None and given not in ORDERS:
        return _as_given(form, given)
    return _of_text(form, cells, given, more)


def _as_given(form: TimeForm, given: str) -> TimeForm:
    if given in UNITS:
        return replace(form, kind="epoch", unit=given, given=True)
    return replace(form, kind="pattern", pattern=given, naive="%z" not in given)


def _of_text(form: TimeForm, cells: Any, given: str | None, more: Callable[[], Iterable[Any]]) -> TimeForm:
    texts = _texts(cells)
    numbers = all(NUMBER.fullmatch(text) for text in texts)
    if texts and numbers and (given in _DAY_ORDERS or _too_small(texts)):
        raise BadCell(0, cells[0].as_py(), TIME_ALLOWED)
    if texts and all(COMPACT.fullmatch(text) for text in texts):
        return replace(form, kind="compact", naive=True, dates=all(len(text) == 8 for text in texts))  # noqa: PLR2004
    if texts and numbers:
        units = {unit_of(float(text)) for text in texts}
        if len(units) > 1:
            raise _several_units(cells)
        return replace(form, kind="epoch", unit=units.pop())
    parts = re.compile(DATE_AND_CLOCK)
    split = [parts.fullmatch(text) for text in texts]
    order = given or _order([found["date"] for found in split if found], cells, more)
    clocks = [found["clock"] or "" for found in split if found]
    return replace(
        form,
        order=order,
        naive=all(zone_seconds(clock) == NO_ZONE for clock in clocks),
        dates=not any(clocks),
    )


def recognised_dates(
    cells: Any, given: str | None, zone: ZoneInfo | None, more: Callable[[], Iterable[Any]] = tuple
) -> TimeForm:
    """Recognises the form of a column of dates, beside one of times of day.

    Raises:
        BadCell: raised as by `recognised`.
    """
    found = recognised(cells, given, zone, more)
    return replace(found, kind="text", naive=True, dates=False)


def _texts(cells: Any) -> list[str]:
    """The different cells as text, without empty ones."""
    values = compute().unique(cells).to_pylist()
    texts = (
        f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)
        for value in values
        if value is not None
    )
    return [plain for text in texts if (plain := text.strip().strip("\"'"))]


def _too_small(texts: Iterable[str]) -> bool:
    """Whether numbers are no time since the epoch: a spreadsheet's days, a counter, a clock without its colons."""
    return all(abs(float(text)) < _SMALLEST and not COMPACT.fullmatch(text) for text in texts)


def _several_units(cells: Any) -> BadCell:
    values = [str(value) for value in cells.to_pylist()]
    first = unit_of(float(values[0]))
    at = next(at for at, value in enumerate(values) if unit_of(float(value)) != first)
    return BadCell(at, values[at], f"{UNIT_NAMES[first]} since the epoch, as in the rows above")


def _order(dates: Iterable[str], cells: Any, more: Callable[[], Iterable[Any]]) -> str:
    """Which of day, month and year comes first; looks at the whole column if the first cells can't say."""
    numeric = {found.groups() for text in dates if (found := NUMERIC_DATE.fullmatch(text.strip()))}
    if not numeric:
        return ""
    if all(len(one[0]) == 4 for one in numeric):  # noqa: PLR2004 - a year
        return "ymd"
    if any(len(one[0]) == 4 for one in numeric):  # noqa: PLR2004 - a year
        raise _several_orders(cells)
    possible = _possible(numeric)
    if len(possible) == len(_DAY_ORDERS):
        parts = re.compile(DATE_AND_CLOCK)
        for block in more():
            later = (parts.fullmatch(text) for text in _texts(block))
            numeric |= {
                found.groups() for text in later if text and (found := NUMERIC_DATE.fullmatch(text["date"]))
            }
            possible = [order for order in possible if order in _possible(numeric)]
            if len(possible) < len(_DAY_ORDERS):
                break
    if len(possible) > 1 and all(one[0] == one[1] for one in numeric):
        return possible[0]
    if len(possible) != 1:
        value = cells[0].as_py()
        raise BadCell(0, value, AMBIGUOUS)
    return possible[0]


def _several_orders(cells: Any) -> BadCell:
    values = [str(value) for value in cells.to_pylist()]
    first = re.match(r"\s*\d{4}", values[0]) is None
    at = next(at for at, value in enumerate(values) if (re.match(r"\s*\d{4}", value) is None) is not first)
    return BadCell(at, values[at], "a date of the same form as in the rows above")


def _possible(numeric: Iterable[Sequence[str]]) -> list[str]:
    return [order for order in _DAY_ORDERS if all(_is_date(one, order) for one in numeric)]


def _is_date(numbers: Sequence[str], order: str) -> bool:
    try:
        day_ns("-".join(numbers), order)
    except ValueError:
        return False
    return True
