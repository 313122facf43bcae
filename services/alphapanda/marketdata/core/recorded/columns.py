"""Finds what the columns of a data file mean, by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from alphapanda.domain.errors import InvalidInput

ROLES: Final = (
    "time",
    "date",
    "clock",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "price",
    "symbol",
    "exchange",
    "series",
    "instrument_token",
)
PRICES: Final = ("open", "high", "low", "close")
_UNIT: Final = re.compile(
    r"[\[(]\s*(₹|rs\.?|inr|rupees?|shares|nos?\.?|ist|utc|gmt)\s*[\])]\s*$", re.IGNORECASE
)
NAMELESS: Final = re.compile(r"|unnamed\d*|index|indexlevel\d+")

_KNOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "time": (
        "datetimeist", "datetime", "datetimeutc", "timestamp", "timestampist", "ts", "candletime", "time", "date", "traddt", "tradedate",
        "tradingdate", "date1", "bizdt", "opentime", "starttime", "barstart", "start", "datetimestamp", "localtime", "gmttime", "timeutc",
        "timeist", "exchangetimestamp", "exchangetime", "lasttradetime", "dt", "dtyyyymmdd", "day", "indexdate", "t", "ssboe",
    ),
    "open": ("open", "openprice", "opnpric", "o", "into", "openingprice", "openindexvalue", "op"),
    "high": ("high", "highprice", "hghpric", "h", "inth", "dayhigh", "highindexvalue"),
    "low": ("low", "lowprice", "lwpric", "l", "intl", "daylow", "lowindexvalue"),
    "close": ("close", "closeprice", "clspric", "c", "intc", "closingprice", "closingindexvalue", "price", "ltp", "lastprice", "last", "adjclose"),
    "volume": (
        "volume", "vol", "intv", "v", "tottrdqty", "ttltradgvol", "ttltrdqnty", "volumetraded", "totaltradedquantity", "totaltradedqty",
        "sharestraded", "noofshares", "tradedquantity", "tradedqty", "quantity", "qty",
    ),
    "price": ("lastprice", "ltp", "price", "lasttradedprice", "tradeprice", "last", "lp", "rate"),
    "symbol": (
        "symbol", "ticker", "tradingsymbol", "instrument", "tckrsymb", "symbolname", "scrip", "scripname", "stock", "security", "stockname",
        "instrumentkey", "indexname",
    ),
    "exchange": ("exchange", "exch", "src", "exchangecode"),
    "series": ("series", "sctysrs"),
    "instrument_token": ("instrumenttoken",),
}  # fmt: skip
_TICK_VOLUMES: Final = ("volume", "volumetraded", "vol", "v", "dayvolume", "cumulativevolume", "vtt")
_CLOCKS: Final = ("time", "clock", "timehhmmss", "tradetime", "timeofday", "timestamp", "datetime")
_DATES: Final = (
    "date",
    "tradedate",
    "traddt",
    "day",
    "dtyyyymmdd",
    "dateyyyymmdd",
    "yyyymmdd",
    "tradingdate",
)

COLUMNS_WANTED: Final = (
    "a time (date, datetime, timestamp …) with open, high, low and close for bars, or with last_price and symbol or"
    " instrument_token for ticks; --columns time=…,open=…,high=…,low=…,close=… names them"
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Which column has which role, by position.

    Attributes:
        at: position of a column by role; "time", or "date" and "clock"; PRICES for bars, "price" for ticks.
        bars: whether the rows are bars; otherwise ticks.
        names: names of all columns, for messages.
        fixed_symbol: symbol of all rows, where a second header line names it; None elsewhere.
        utc: whether the time column's name says UTC.
    """

    at: Mapping[str, int]
    bars: bool
    names: Sequence[str]
    fixed_symbol: str | None = None
    utc: bool = False

    @property
    def names_instrument(self) -> bool:
        """Whether the rows name their instrument."""
        return self.fixed_symbol is not None or "symbol" in self.at or "instrument_token" in self.at

    def name(self, role: str) -> str:
        """Name of the column with a role, for messages."""
        return self.names[self.at[role]].strip() or f"number {self.at[role] + 1}"


def plain(name: str) -> str:
    """A column's name in lower case, without anything but letters and digits."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _role_name(name: str) -> str:
    """A column's name without its unit: "close" for "Close (Rs.)"; the zone of a time stays if the name is known with it."""
    whole = plain(name)
    if any(whole in known for known in _KNOWN.values()):
        return whole
    return plain(_UNIT.sub("", name.strip().strip("\"'").strip()))


def roles_known(names: Sequence[str]) -> int:
    """How many of these names are known; tells a header from data and one separator from another."""
    plains = {_role_name(name) for name in names}
    return sum(1 for known in _KNOWN.values() if plains & set(known))


def layout_of(
    file: str, names: Sequence[str], given: Mapping[str, str], *, clock_in: Sequence[str] | None = None
) -> Layout:
    """Finds the roles of columns.

    Args:
        file: name of the file, for errors.
        names: names of the columns.
        given: column name or number by role, as the user says.
        clock_in: the cells of the first row, to tell a column of times of day from one of times; None: not known.

    Raises:
        InvalidInput: a column that was given isn't there, or the columns don't make bars or ticks.
    """
    at = {role: _given(file, names, role, column) for role, column in given.items()}
    plains = [_role_name(name) for name in names]
    for role, known in _KNOWN.items():
        if (
            role not in at
            and role not in {"price", "time"}
            and (found := _first(plains, known, at)) is not None
        ):
            at[role] = found
    _find_time(plains, at, clock_in)
    bars = all(role in at for role in PRICES)
    if not bars:
        for role in PRICES:
            if role not in given:
                at.pop(role, None)
        if "price" not in at and (found := _first(plains, _KNOWN["price"], at)) is not None:
            at["price"] = found
        if "volume" not in given:
            at.pop("volume", None)
            if (found := _first(plains, _TICK_VOLUMES, at)) is not None:
                at["volume"] = found
    else:
        at.pop("price", None)
        _refuse_twice(file, names, plains, at, given)
    timed = "time" in at or {"date", "clock"} <= at.keys()
    if not timed or not (bars or "price" in at) or any(role in at for role in PRICES) > bars:
        raise InvalidInput(f"{file}, line 1, column header", ", ".join(names), COLUMNS_WANTED)
    timing = plain(names[at["time"] if "time" in at else at["clock"]])
    return Layout(at, bars, tuple(names), utc=timing.endswith("utc") or "gmt" in timing)


def _refuse_twice(
    file: str, names: Sequence[str], plains: Sequence[str], at: Mapping[str, int], given: Mapping[str, str]
) -> None:
    """Refuses two columns of one name for a price: which is meant can't be seen."""
    for role in PRICES:
        numbers = [number for number, name in enumerate(plains, 1) if name == plains[at[role]]]
        if role not in given and len(numbers) > 1:
            allowed = " or ".join(f"{role}={number}" for number in numbers)
            raise InvalidInput(
                f"{file}, line 1, column header",
                names[at[role]],
                f"one column of this name; --columns {allowed} says which",
            )


def _find_time(plains: Sequence[str], at: dict[str, int], first_row: Sequence[str] | None) -> None:
    """Adds the columns of time: one of times, or one of dates and one of times of day."""
    if "time" in at or {"date", "clock"} <= at.keys():
        return
    date = at.get("date", _first(plains, _DATES, at))
    clock = at.get("clock", _first(plains, _CLOCKS, at))
    if date is not None and clock is not None and date != clock and _is_clock(first_row, clock):
        at["date"], at["clock"] = date, clock
        return
    at.pop("date", None)
    at.pop("clock", None)
    found = _first(plains, _KNOWN["time"], at)
    if found is None:
        nameless = (place for place, name in enumerate(plains) if NAMELESS.fullmatch(name))
        found = next((place for place in nameless if place not in at.values()), None)
    if found is None and date is not None:
        found = date
    if found is not None:
        at["time"] = found


def _is_clock(first_row: Sequence[str] | None, at: int) -> bool:
    if first_row is None:
        return True
    cell = first_row[at].strip().strip('"') if at < len(first_row) else ""
    return bool(re.fullmatch(r"\d{1,2}(:\d\d){1,2}(\.\d+)?\s*([AaPp][Mm])?|\d{3,6}", cell))


def _first(plains: Sequence[str], known: Sequence[str], at: Mapping[str, int]) -> int | None:
    """Position of the first known name among the columns that have no role yet."""
    taken = set(at.values())
    for name in known:
        for position, column in enumerate(plains):
            if column == name and position not in taken:
                return position
    return None


def _given(file: str, names: Sequence[str], role: str, column: str) -> int:
    for at, name in enumerate(names):
        if name.strip() == column:
            return at
    for at, name in enumerate(names):
        if plain(name) == plain(column) != "":
            return at
    if column.isdigit() and 0 < int(column) <= len(names):
        return int(column) - 1
    listed = ", ".join(name.strip() or "(nameless)" for name in names)
    raise InvalidInput(f"--columns {role}", column, f"a column of {file} or its number: {listed}")
