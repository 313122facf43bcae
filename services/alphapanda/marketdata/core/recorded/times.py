"""Recognises how times are written, and converts them to nanoseconds since the epoch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
from dateutil import parser as dateutil

from alphapanda.domain.frame import SECOND_NS, nanoseconds
from alphapanda.marketdata.core.recorded.arrow import compute, first_empty, numbers_of, pyarrow
from alphapanda.marketdata.core.recorded.cells import YEARS_ALLOWED, BadCell, Whole, by_name
from alphapanda.marketdata.core.recorded.options import DAY_NS, IST, IST_NS, UNITS

TIME_ALLOWED: Final = (
    "a time such as 2026-11-23 09:15:00, 2026-11-23T09:15:00+05:30, 23-11-2026 09:15 or seconds, ms, µs or ns since the"
    " epoch; --time-format names another form"
)

_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
NUMBER: Final = re.compile(r"-?\d+(\.\d*)?([eE][+-]?\d+)?")
NUMERIC_DATE: Final = re.compile(r"(\d{1,4})[-/. ](\d{1,2})[-/. ](\d{1,4})")
COMPACT: Final = re.compile(
    r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])[T ]?(([01]\d|2[0-3])[0-5]\d([0-5]\d)?)?"
)
_COMPACT_PARTS: Final = r"^\s*(?P<date>\d{8})[T ]?(?P<clock>\d*)\s*$"
DATE_AND_CLOCK: Final = r"^\s*(?P<date>.*?\d.*?)(?:[T ,;]+(?P<clock>\d{1,2}:\d\d.*?))?\s*$"
_CLOCK: Final = re.compile(
    r"(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?\s*([ap]\.?m\.?)?\s*((?:utc|gmt|z|ist)?\s*(?:[+-]\d\d(?::?\d\d)?)?)\s*(?:\(.*\))?",
    re.IGNORECASE,
)
_BARE_CLOCK: Final = re.compile(r"(\d{1,2})(\d\d)(\d\d)?")
_OFFSET: Final = re.compile(r"(z|utc|gmt|ist)?\s*(?:([+-])(\d\d):?(\d\d)?)?", re.IGNORECASE)
NO_ZONE: Final = 1 << 40
_PLACES: Final = {"ymd": (0, 1, 2), "dmy": (2, 1, 0), "mdy": (2, 0, 1)}
_DEFAULTS: Final = (datetime(2000, 1, 1), datetime(2001, 2, 2))  # noqa: DTZ001 - only to see what a text leaves open
UNIT_NAMES: Final = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_MIDNIGHT: Final = time()
_TOO_FAR_NS: Final = 1 << 63
_SIZES: Final = ((1e11, "s"), (1e14, "ms"), (1e17, "us"), (float("inf"), "ns"))


@dataclass(frozen=True, slots=True)
class TimeForm:
    """How a column's times are written.

    Attributes:
        kind: "text", "compact" (20261123 0915), "epoch" or "pattern".
        order: one of ORDERS; "" if the month has a name.
        unit: of an epoch, one of UNITS.
        pattern: a pattern of strptime.
        zone: zone of times that name none.
        naive: whether times name no zone.
        dates: whether cells are days without a time of day.
        given: whether the user named the form.
    """

    kind: str
    order: str = "ymd"
    unit: str = ""
    pattern: str = ""
    zone: ZoneInfo = IST
    naive: bool = False
    dates: bool = False
    given: bool = False

    @property
    def text(self) -> str:
        """The form in words, for the line that says what was recognised."""
        if self.kind == "epoch":
            return f"{UNIT_NAMES[self.unit]} since the epoch"
        shown = {"dmy": "day first", "mdy": "month first"}.get(self.order, "")
        zone = (
            ""
            if not self.naive
            else "times without a zone are IST"
            if self.zone == IST
            else f"times are {self.zone.key}"
        )
        if self.dates and self.zone == IST:
            zone = "days in India"
        return ", ".join(filter(None, (shown, zone)))

    def instants(self, cells: Any) -> Whole:
        """Converts a column of times to nanoseconds since the epoch.

        Raises:
            BadCell: a cell is no time, or can't be read in this form.
        """
        arrow = pyarrow()
        if arrow.types.is_dictionary(cells.type):
            cells = cells.dictionary_decode()
        if cells.null_count:
            raise BadCell(first_empty(cells), "", TIME_ALLOWED)
        if arrow.types.is_timestamp(cells.type) or arrow.types.is_date(cells.type):
            return self._stamps(cells)
        if self.kind == "epoch":
            return self._epoch(cells)
        if self.kind == "pattern":
            return by_name(cells, self._by_pattern)
        if not arrow.types.is_string(cells.type):
            cells = cells.cast(arrow.string())
        if self.kind == "text" and self.order == "ymd":
            try:
                return self._quick(cells)
            except arrow.ArrowInvalid:
                pass
        return self._parts(cells)

    def _stamps(self, cells: Any) -> Whole:
        arrow = pyarrow()
        zone = getattr(cells.type, "tz", None)
        try:
            stamps = cells.cast(arrow.timestamp("ns", zone))
        except arrow.ArrowInvalid:
            far = compute().not_equal(
                cells.cast(arrow.timestamp("ns", zone), safe=False).cast(cells.type, safe=False), cells
            )
            at = far.to_pylist().index(True)
            raise BadCell(at, cells[at].as_py(), YEARS_ALLOWED) from None
        wall = numbers_of(stamps.cast(arrow.int64())).astype(np.int64)
        return wall if zone else self._local(wall)

    def _quick(self, cells: Any) -> Whole:
        arrow = pyarrow()
        if self.naive:
            kind = arrow.timestamp("ns")
            return self._local(numbers_of(cells.cast(kind).cast(arrow.int64())))
        made: Whole = numbers_of(cells.cast(arrow.timestamp("ns", "UTC")).cast(arrow.int64()))
        return made

    def _local(self, wall: Whole) -> Whole:
        """Times of day in `zone` as instants."""
        if self.zone == IST:
            return wall - IST_NS
        arrow, pc = pyarrow(), compute()
        stamps = arrow.array(wall).cast(arrow.timestamp("ns"))
        aware = pc.assume_timezone(stamps, self.zone.key, ambiguous="earliest", nonexistent="earliest")
        made: Whole = numbers_of(aware.cast(arrow.int64()))
        return made

    def _epoch(self, cells: Any) -> Whole:
        arrow = pyarrow()
        try:
            whole = numbers_of(cells.cast(arrow.int64()))
        except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError):
            return by_name(cells, self._by_number)
        for at in () if not len(whole) else (int(whole.argmin()), int(whole.argmax())):
            if unit_of(float(whole[at])) != self.unit and not self.given:
                allowed = f"{UNIT_NAMES[self.unit]} since the epoch, as in the rows above"
                raise BadCell(at, cells[at].as_py(), allowed)
            if abs(int(whole[at])) * UNITS[self.unit] >= _TOO_FAR_NS:
                raise BadCell(
                    at, cells[at].as_py(), f"{YEARS_ALLOWED}, read as {UNIT_NAMES[self.unit]} since the epoch"
                )
        made: Whole = whole.astype(np.int64) * UNITS[self.unit]
        return made

    def _by_number(self, text: str) -> int:
        if not NUMBER.fullmatch(text.strip()):
            raise ValueError(TIME_ALLOWED)
        whole, _, part = text.strip().partition(".")
        if "e" in text.lower():
            return round(float(text)) * UNITS[self.unit]
        return int(whole) * UNITS[self.unit] + round(float(f"0.{part or 0}") * UNITS[self.unit])

    def _by_pattern(self, text: str) -> int:
        try:
            at = datetime.strptime(text.strip(), self.pattern)  # noqa: DTZ007 - the zone follows
        except ValueError:
            raise ValueError(f"a time of the form {self.pattern}, as --time-format says") from None
        return nanoseconds(at if at.tzinfo else at.replace(tzinfo=self.zone))

    def _parts(self, cells: Any) -> Whole:
        pc = compute()
        parts = pc.extract_regex(cells, _COMPACT_PARTS if self.kind == "compact" else DATE_AND_CLOCK)
        if parts.null_count:
            at = first_empty(parts)
            raise BadCell(at, cells[at].as_py(), TIME_ALLOWED)
        date_cells, clock_cells = pc.struct_field(parts, "date"), pc.struct_field(parts, "clock")
        try:
            return self.joined(date_cells, clock_cells)
        except BadCell as bad:
            raise BadCell(bad.at, cells[bad.at].as_py(), bad.allowed) from None

    def joined(self, dates: Any, clocks: Any) -> Whole:
        """Converts a column of dates and one of times of day.

        Raises:
            BadCell: a cell is no date or no time of day.
        """
        arrow = pyarrow()
        if arrow.types.is_timestamp(dates.type) or arrow.types.is_date(dates.type):
            days = self._stamps(dates) + (
                0 if getattr(dates.type, "tz", None) is None and self.zone != IST else IST_NS
            )
            days -= days % DAY_NS
        else:
            days = by_name(dates, partial(day_ns, order=self.order))
        if arrow.types.is_time(clocks.type):
            clocks = clocks.cast(arrow.time64("ns")).cast(arrow.string())
        wall = days + by_name(clocks, clock_ns)
        east = by_name(clocks, zone_seconds)
        naive = east == NO_ZONE
        if naive.all():
            return self._local(wall)
        return np.where(naive, self._local(wall), wall - east * SECOND_NS)


def unit_of(value: float) -> str:
    """The unit of a time since the epoch, by its size."""
    return next(unit for size, unit in _SIZES if abs(value) < size)


def day_ns(text: str, order: str) -> int:
    """Midnight of a date, nanoseconds since the epoch as if in UTC.

    Raises:
        ValueError: it is no date in this order of day, month and year.
    """
    plain = text.strip().strip("\"'")
    found = NUMERIC_DATE.fullmatch(plain)
    try:
        if found is not None:
            year, month, day = (found[1 + place] for place in _PLACES[order or "ymd"])
            at = date(int(year) + (2000 if len(year) <= 2 else 0), int(month), int(day))  # noqa: PLR2004 - two digits
        elif COMPACT.fullmatch(plain):
            at = date(int(plain[:4]), int(plain[4:6]), int(plain[6:8]))
        else:
            one, other = (dateutil.parse(plain, default=default, ignoretz=True) for default in _DEFAULTS)
            at = one.date()
            if one != other or one != datetime.combine(at, _MIDNIGHT) or not re.search(r"[A-Za-z]{3}", plain):
                raise ValueError(TIME_ALLOWED)  # noqa: TRY301 - "5", which dateutil takes for a day; a clock in it
    except (ValueError, OverflowError):
        raise ValueError(TIME_ALLOWED) from None
    return (at.toordinal() - _EPOCH_DAY) * DAY_NS


def clock_ns(text: str) -> int:
    """Nanoseconds from midnight of a time of day such as 09:15, 9:15:30.25 AM, 0915, 091500; 0 for an empty one.

    Raises:
        ValueError: it is none.
    """
    plain = text.strip().strip("\"'")
    if not plain:
        return 0
    found = _CLOCK.fullmatch(plain)
    bare = None if found else _BARE_CLOCK.fullmatch(plain)
    if found is None and bare is None:
        raise ValueError(TIME_ALLOWED)
    hour, minute, second = (int(part or 0) for part in (found or bare or ("",)).group(1, 2, 3))  # type: ignore[union-attr]
    part = 0
    if found is not None:
        part = int((found[4] or "").ljust(9, "0") or 0)
        if found[5]:
            if not 1 <= hour <= 12:  # noqa: PLR2004 - hours on a dial
                raise ValueError(TIME_ALLOWED)
            hour = hour % 12 + (12 if found[5].lower().startswith("p") else 0)
    if hour > 23 or minute > 59 or second > 59:  # noqa: PLR2004 - a day's time
        raise ValueError(TIME_ALLOWED)
    return (hour * 3_600 + minute * 60 + second) * SECOND_NS + part


def zone_seconds(text: str) -> int:
    """Seconds east of Greenwich that a time of day names, such as +05:30, Z or IST; a mark if it names none."""
    found = _CLOCK.fullmatch(text.strip().strip("\"'"))
    zone = _OFFSET.fullmatch(found[6].strip()) if found and found[6].strip() else None
    if zone is None:
        return NO_ZONE
    if zone[2]:
        seconds = int(zone[3]) * 3_600 + int(zone[4] or 0) * 60
        return seconds if zone[2] == "+" else -seconds
    return IST_NS // SECOND_NS if zone[1].lower() == "ist" else 0
