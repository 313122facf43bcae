import tomllib
from datetime import date

import pytest

from alphapanda.domain.calendar import Sureness, TradingCalendar, parse_calendar, shipped_calendar
from alphapanda.domain.calendar_overlay import overlaid
from alphapanda.domain.errors import InvalidInput

NEXT_YEAR = """
source = "NSE circular of 12 Dec 2026"
covered_to = 2027-12-31

[holidays]
2027-01-26 = "Republic Day"
2027-03-27 = "a Saturday, as the exchange lists them, too"
2026-12-24 = "an election"

[trading_days]
2026-12-25 = "open after all"

[[special_sessions]]
day = 2027-10-29
name = "Muhurat"
sessions = ["18:15-19:15"]

[[special_sessions]]
day = 2027-02-07
name = "Union Budget"
sessions = ["09:15 - 15:30"]
segments = ["NSE_EQ"]

[[hours]]
segment = "NSE_EQ"
from = 2027-04-01
open = "09:00"
close = 16:00:00
"""


def with_own(text: str) -> TradingCalendar:
    return parse_calendar(overlaid(shipped_calendar(), tomllib.loads(text)))


def hours(calendar: TradingCalendar, day: date, segment: str = "NSE_EQ") -> list[str]:
    return [f"{one.open:%H:%M}-{one.close:%H:%M}" for one in calendar.sessions(day, segment)]


def test_own_days_are_laid_over_the_shipped_ones():
    """A file of one's own adds a year, closes and opens days, and has sessions and hours of its own."""
    calendar = with_own(NEXT_YEAR)
    assert calendar.last_covered_day == calendar.last_announced_day == date(2027, 12, 31)
    assert hours(calendar, date(2027, 1, 1)) == ["09:15-15:30"]
    assert hours(calendar, date(2027, 1, 26)) == hours(calendar, date(2026, 12, 24)) == []
    assert hours(calendar, date(2026, 12, 25)) == ["09:15-15:30"]
    assert (
        hours(calendar, date(2027, 10, 29))
        == hours(calendar, date(2027, 10, 29), "NSE_FO")
        == ["18:15-19:15"]
    )
    assert hours(calendar, date(2027, 2, 7)) == ["09:15-15:30"]
    assert hours(calendar, date(2027, 2, 7), "NSE_FO") == []
    assert hours(calendar, date(2027, 4, 1)) == ["09:00-16:00"]
    assert hours(calendar, date(2027, 4, 1), "NSE_EQ_CAS") == ["09:15-15:30"]
    assert calendar.note(date(2027, 1, 26), "NSE_EQ").sureness is Sureness.OWN
    assert calendar.note(date(2027, 1, 26), "NSE_EQ").source == "NSE circular of 12 Dec 2026"


def test_a_listed_day_replaces_what_is_shipped():
    """A special session that is shipped gives way to one's own, and to a holiday; holidays may be a plain list."""
    moved = with_own('[[special_sessions]]\nday = 2024-05-18\nsessions = ["11:45-12:40"]')
    assert hours(moved, date(2024, 5, 18)) == ["11:45-12:40"]
    assert hours(with_own("holidays = [2024-05-18, 2025-10-21]"), date(2025, 10, 21)) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("holiday = 1", "'holiday' is not allowed; did you mean 'holidays'"),
        (
            "[holidays]\n2027-13-01 = 'x'",
            "holidays: '2027-13-01' is not allowed; a date is written YYYY-MM-DD",
        ),
        ("holidays = 3", "holidays: '3' is not allowed; a table of days and names"),
        ("covered_to = 2026-06-30", "covered_to: '2026-06-30' is not allowed; a day after 2026-12-31"),
        ("[[special_sessions]]\nday = 2026-12-26", "sessions is missing"),
        ("[[special_sessions]]\nday = 2026-12-26\nsessions = ['18:15']", "a session is written HH:MM-HH:MM"),
        ("[[special_sessions]]\nday = 2026-12-26\nsessions = ['19:15-18:15']", "closes at 18:15:00"),
        (
            "[[special_sessions]]\nday = 2026-12-26\nsessions = ['18:15-19:15']\nsegments = ['NSE_EQU']",
            "did you mean 'NSE_EQ'",
        ),
        ("[[special_sessions]]\nday = 2026-12-26\nsessions = []\nhours = 1", "'hours' is not allowed"),
        ("[[hours]]\nsegment = 'NSE_EQU'\nfrom = 2027-01-01\nopen = 1\nclose = 2", "did you mean 'NSE_EQ'"),
        ("special_sessions = 3", "tables, each begun with [[special_sessions]]"),
        ("holidays = [2026-12-24]\ntrading_days = [2026-12-24]", "not in both"),
    ],
)
def test_a_mistake_in_an_own_file_is_named(text, message):
    """Each mistake is refused by the name of its entry and what is allowed."""
    with pytest.raises(ValueError) as caught:
        with_own(text)
    assert message in str(caught.value)


def test_a_day_beyond_the_end_is_refused_by_name():
    """A holiday after the last day that the calendar knows needs covered_to."""
    with pytest.raises(LookupError, match="no data for 2027-01-26"):
        with_own("holidays = [2027-01-26]")
    with pytest.raises(InvalidInput, match="covered_to"):
        with_own("covered_to = 3")
