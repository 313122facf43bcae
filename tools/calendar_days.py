"""Writes the weekday holidays of past years into the shipped calendar, where packages agree on them.

A weekday is a holiday if at least two of three packages say so: exchange_calendars (BSE), pandas_market_calendars (NSE) and,
from 2001, holidays (NSE). A weekday that only one of the first two has closed is listed as disputed and trades. DECIDED
holds the days that a source decides against the count. Years that have their own list from circulars or a recording are
left as they are. Special sessions are no part of this: they are written by hand, each with its source.

Run it with packages that the project doesn't need otherwise:
    .venv/bin/python -m pip install pandas-market-calendars==5.5.0 holidays==0.109   # in a virtualenv of its own
    python tools/calendar_days.py
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

CALENDAR: Final = Path("services/alphapanda/domain/data/nse_calendar.json")
YEARS: Final = (*range(2000, 2019), *range(2020, 2024))
SATURDAY: Final = 5
AGREED: Final = 2
PACKAGES: Final = ("exchange_calendars", "pandas_market_calendars", "holidays")
LINE: Final = 180
GENERATED: Final = "at least two agree: "
DECIDED: Final = {
    date(2013, 11, 14): (False, ""),
    date(2013, 11, 15): (True, "Moharram, moved from 14 November by both exchanges"),
}
"""Days that a source decides: whether it is a holiday, and its name."""
NAMES: Final = {
    date(2003, 3, 14): "Moharram",
    date(2004, 4, 26): "General election in Mumbai",
    date(2004, 10, 13): "Assembly election in Maharashtra",
    date(2005, 7, 28): "Flood in Mumbai",
    date(2005, 11, 4): "Id-ul-Fitr",
    date(2008, 11, 27): "Attacks on Mumbai",
    date(2009, 4, 30): "General election in Mumbai",
    date(2009, 10, 13): "Assembly election in Maharashtra",
    date(2014, 4, 24): "General election in Mumbai",
    date(2014, 10, 15): "Assembly election in Maharashtra",
    date(2023, 6, 29): "Bakri Id, moved from 28 June",
}

NATIONAL: Final = {
    (1, 26): "Republic Day",
    (5, 1): "Maharashtra Day",
    (8, 15): "Independence Day",
    (10, 2): "Gandhi Jayanti",
    (12, 25): "Christmas",
}


def main() -> int:
    """Rewrites the generated part of the calendar; says how many days it holds."""
    xbom = import_module("exchange_calendars").get_calendar("XBOM", start="2000-01-03", end="2023-12-31")
    nse = import_module("pandas_market_calendars").get_calendar("NSE")
    named = import_module("holidays").financial_holidays("XNSE", years=range(2000, 2024))
    open_days: list[set[date]] = [
        {stamp.date() for stamp in xbom.sessions},
        {stamp.date() for stamp in nse.valid_days("2000-01-01", "2023-12-31")},
    ]
    document: dict[str, Any] = json.loads(CALENDAR.read_text(encoding="utf-8"))
    special = {entry["day"] for entry in document["special_sessions"]}
    agreed: dict[str, str] = {}
    disputed: dict[str, str] = {}
    for day in _weekdays():
        closed = [day not in days for days in open_days]
        votes = sum(closed) + (day in named)
        holiday, name = DECIDED.get(day, (votes >= AGREED, ""))
        if holiday:
            agreed[str(day)] = name or NAMES.get(day) or _plain(day, named.get(day))
        elif any(closed) and day not in DECIDED:
            disputed[str(day)] = f"closed in {PACKAGES[closed.index(True)]}"
        elif "Diwali" in named.get(day, "") and str(day) not in special:
            disputed[str(day)] = "Muhurat in the evening, hours not found; the packages have a full day"
    kept = [group for group in document["holidays"] if not group["source"].startswith(GENERATED)]
    source = GENERATED + ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    document["holidays"] = [{"sureness": "library", "source": source, "days": agreed}, *kept]
    document["disputed"] = disputed
    CALENDAR.write_text(_json(document) + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(agreed)} holidays, {len(disputed)} disputed days\n")
    return 0


def _weekdays() -> Iterator[date]:
    for year in YEARS:
        day = date(year, 1, 1)
        while day.year == year:
            if day.weekday() < SATURDAY and day != date(2000, 1, 1):
                yield day
            day += timedelta(days=1)


def _plain(day: date, name: str | None) -> str:
    return NATIONAL.get((day.month, day.day)) or (name or "holiday").replace(" (estimated)", "")


def _json(value: object, indent: str = "") -> str:
    """JSON with an entry that fits on one line."""
    line = json.dumps(value, ensure_ascii=False)
    if len(line) <= LINE or not isinstance(value, dict | list):
        return line
    deeper = indent + "  "
    if isinstance(value, dict):
        rows = [f"{json.dumps(name)}: {_json(each, deeper)}" for name, each in value.items()]
        return "{\n" + ",\n".join(deeper + row for row in rows) + f"\n{indent}}}"
    return "[\n" + ",\n".join(deeper + _json(each, deeper) for each in value) + f"\n{indent}]"


if __name__ == "__main__":
    raise SystemExit(main())
