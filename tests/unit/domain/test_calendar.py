import copy
import csv
import gzip
import json
from datetime import UTC, date, datetime, time, timedelta
from importlib import resources
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.calendar import (
    CalendarNotCovered,
    DateRange,
    SessionKind,
    Sureness,
    load_nse_calendar,
    mis_cut_off,
    parse_calendar,
)

IST = ZoneInfo("Asia/Kolkata")
CALENDAR = load_nse_calendar()
DOCUMENT = json.loads(
    resources.files("alphapanda.domain").joinpath("data/nse_calendar.json").read_text(encoding="utf-8")
)
SEGMENTS = ("NSE_EQ", "NSE_EQ_CAS", "NSE_FO", "BSE_EQ")
YEARS = range(2000, 2027)

segments = st.sampled_from(SEGMENTS)
covered_days = st.sampled_from(YEARS).flatmap(lambda year: st.dates(date(year, 1, 1), date(year, 12, 31)))
trading_days = covered_days.filter(CALENDAR.is_trading_day)
covered_instants = st.builds(
    lambda day, second: datetime.combine(day, time(), IST) + timedelta(seconds=second),
    covered_days,
    st.integers(0, 86_399),
)


def ist(day: str, at: str) -> datetime:
    return datetime.fromisoformat(f"{day}T{at}").replace(tzinfo=IST)


def hours(day: str, segment: str = "NSE_EQ") -> list[tuple[str, str]]:
    sessions = CALENDAR.sessions(date.fromisoformat(day), segment)
    return [(f"{session.open:%H:%M}", f"{session.close:%H:%M}") for session in sessions]


@pytest.mark.parametrize(
    ("day", "stocks", "closing_auction_stocks"),
    [
        ("2019-01-01", "15:30", "15:30"),
        ("2026-07-31", "15:30", "15:30"),
        ("2026-08-03", "15:30", "15:15"),
        ("2026-12-04", "15:30", "15:15"),
        ("2026-12-07", "15:30", "15:30"),
    ],
)
def test_hours_change_on_their_day(day, stocks, closing_auction_stocks):
    """Stocks with derivatives trade to 15:15 while their closing auction begins there, the others to 15:30."""
    assert hours(day) == [("09:15", stocks)]
    assert hours(day, "NSE_EQ_CAS") == [("09:15", closing_auction_stocks)]


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ("2012-11-13", [("15:45", "17:00")]),
        ("2015-02-28", [("09:15", "15:30")]),
        ("2019-10-27", [("18:15", "19:15")]),
        ("2023-11-12", [("18:15", "19:15")]),
        ("2024-01-20", [("09:15", "15:30")]),
        ("2024-03-02", [("09:15", "10:00"), ("11:30", "12:30")]),
        ("2024-05-18", [("09:15", "10:00"), ("11:30", "12:30")]),
        ("2024-11-01", [("18:00", "19:00")]),
        ("2025-02-01", [("09:15", "15:30")]),
        ("2025-10-21", [("13:45", "14:45")]),
        ("2026-02-01", [("09:15", "15:30")]),
        ("2026-11-08", [("18:15", "19:15")]),
    ],
)
@pytest.mark.parametrize("segment", SEGMENTS)
def test_special_sessions_replace_the_day(day, expected, segment):
    """A special day has its announced hours in every segment, on a weekend and on a holiday alike."""
    assert hours(day, segment) == expected
    sessions = CALENDAR.sessions(date.fromisoformat(day), segment)
    assert {session.kind for session in sessions} == {SessionKind.SPECIAL}


def test_weekdays_agree_with_exchange_calendars():
    """The weekdays that trade are those of exchange_calendars' XBOM, apart from Muhurat and the few that a source decides."""
    import exchange_calendars  # here, for it takes pandas with it: a third of a second in each worker

    xbom = exchange_calendars.get_calendar("XBOM", start="2000-01-03", end="2026-12-31")
    theirs = {stamp.date() for stamp in xbom.sessions}
    ours = {
        day
        for covered in CALENDAR.covered
        for day in (covered.first + timedelta(n) for n in range((covered.last - covered.first).days + 1))
        if CALENDAR.is_trading_day(day) and day.weekday() < 5
    }
    muhurat = {
        date.fromisoformat(day)
        for day in ("2014-10-23", "2015-11-11", "2017-10-19", "2018-11-07", "2021-11-04", "2022-10-24")
    } | {date(2024, 11, 1), date(2025, 10, 21)}
    moved = {date(2013, 11, 14), date(2001, 1, 1), date(2004, 1, 1)}
    assert ours - theirs == muhurat | moved
    assert theirs - ours == {date(2013, 11, 15)}


def test_2019_is_as_recorded(nse_data):
    """The trading days of 2019 are the 245 recorded ones, each recorded from its session's first minute on."""
    first_bar: dict[date, datetime] = {}
    outside = 0
    with gzip.open(nse_data / "yesbank_2019_1min" / "YESBANK_NSE_1min_2019.csv.gz", "rt") as recording:
        for row in csv.DictReader(recording):
            start = datetime.fromisoformat(row["datetime_ist"]).replace(tzinfo=IST)
            first_bar.setdefault(start.date(), start)
            outside += CALENDAR.session_at(start, "NSE_EQ_CAS") is None
    days = [date(2019, 1, 1) + timedelta(n) for n in range(365)]
    assert list(first_bar) == [day for day in days if CALENDAR.is_trading_day(day)]
    assert len(first_bar) == 245
    for day, start in first_bar.items():
        assert CALENDAR.sessions(day, "NSE_EQ_CAS")[0].open == start
    # 201 prints at 15:30, 259 later ones, and 19:15 and 19:25 on Muhurat: none is continuous trading.
    assert outside == 201 + 243 + 14 + 1 + 1 + 2


@given(covered_days, segments)
def test_sessions_are_sorted_disjoint_and_of_their_day(day, segment):
    """A day's sessions follow each other without touching and lie within that day in Asia/Kolkata."""
    sessions = CALENDAR.sessions(day, segment)
    assert bool(sessions) == CALENDAR.is_trading_day(day)
    for session in sessions:
        assert session.open < session.close
        assert session.day == day == CALENDAR.trading_day(session.open) == CALENDAR.trading_day(session.close)
    for earlier, later in pairwise(sessions):
        assert earlier.close < later.open


@given(trading_days, segments)
def test_a_session_is_half_open(day, segment):
    """The open belongs to the session, the nanosecond before it and the close do not."""
    for session in CALENDAR.sessions(day, segment):
        assert CALENDAR.session_at(session.open, segment) == session
        assert CALENDAR.session_at(session.close, segment) is None
        assert CALENDAR.session_at_ns(session.open_ns - 1, segment) is None
        assert CALENDAR.session_at_ns(session.open_ns, segment) == session
        assert CALENDAR.session_at_ns(session.close_ns - 1, segment) == session
        assert CALENDAR.session_at_ns(session.close_ns, segment) is None


@given(covered_instants, segments)
def test_session_at_finds_what_the_day_lists(instant, segment):
    """Asking by instant, in any zone or in nanoseconds, gives the one of the day's sessions that holds it."""
    day = CALENDAR.trading_day(instant.astimezone(UTC))
    assert day == instant.date()
    listed = [
        session for session in CALENDAR.sessions(day, segment) if session.open <= instant < session.close
    ]
    expected = listed[0] if listed else None
    assert CALENDAR.session_at(instant, segment) == expected
    assert CALENDAR.session_at(instant.astimezone(UTC), segment) == expected
    assert CALENDAR.session_at_ns(int(instant.timestamp()) * 1_000_000_000, segment) == expected


@given(covered_days)
def test_next_trading_day_skips_only_closed_days(day):
    """The next trading day is later, trades, and nothing between trades; past the last one it is an error."""
    if day == date(2026, 12, 31):
        with pytest.raises(CalendarNotCovered, match=f"no data for {day + timedelta(1)}"):
            CALENDAR.next_trading_day(day)
        return
    following = CALENDAR.next_trading_day(day)
    assert following > day
    assert CALENDAR.is_trading_day(following)
    between = (day + timedelta(n) for n in range(1, (following - day).days))
    assert not any(CALENDAR.is_trading_day(closed) for closed in between)
    assert CALENDAR.trading_day_on_or_after(following) == following


@given(covered_instants, segments)
def test_next_session_open_is_the_first_one_after(instant, segment):
    """The next open lies strictly after the instant, and no session of the days between opens earlier."""
    if instant >= ist(f"{instant.year}-12-31", "09:15") and instant.year == 2026:
        with pytest.raises(CalendarNotCovered, match=f"no data for {instant.year + 1}-01-01"):
            CALENDAR.next_session_open(instant, segment)
        return
    opens = CALENDAR.next_session_open(instant, segment)
    assert opens > instant
    days = (instant.date() + timedelta(n) for n in range((opens.date() - instant.date()).days + 1))
    later = [s.open for day in days for s in CALENDAR.sessions(day, segment) if s.open > instant]
    assert min(later) == opens


def test_next_session_open_crosses_a_long_weekend_and_a_drill():
    """From an open instant the next one counts: Muhurat on Sunday, the drill's second part the same morning."""
    assert CALENDAR.next_session_open(ist("2026-11-06", "15:30"), "NSE_EQ") == ist("2026-11-08", "18:15")
    assert CALENDAR.next_session_open(ist("2026-11-08", "18:15"), "NSE_EQ") == ist("2026-11-09", "09:15")
    assert CALENDAR.next_session_open(ist("2024-03-02", "09:15"), "NSE_EQ") == ist("2024-03-02", "11:30")


@pytest.mark.parametrize("day", [date(1999, 12, 31), date(2027, 1, 1)])
def test_a_day_without_data_is_an_error(day):
    """Outside its ranges the calendar answers nothing but an error naming the day and what is covered."""
    instant = datetime.combine(day, time(12), IST)
    assert not CALENDAR.covers(day)
    for ask in (
        lambda: CALENDAR.is_trading_day(day),
        lambda: CALENDAR.sessions(day, "NSE_EQ"),
        lambda: CALENDAR.session_at(instant, "NSE_EQ"),
        lambda: CALENDAR.next_session_open(instant, "NSE_EQ"),
        lambda: CALENDAR.trading_day_on_or_after(day),
        lambda: CALENDAR.mis_cut_off(day, "NSE_EQ"),
    ):
        with pytest.raises(CalendarNotCovered) as caught:
            ask()
        assert caught.value.day == day
        assert caught.value.ranges == CALENDAR.covered
    assert str(day) in str(caught.value)
    assert "it covers 2000-01-01 to 2026-12-31" in str(caught.value)


def test_the_covered_range_is_explicit():
    """The calendar says what it covers, from its first day to its last."""
    assert CALENDAR.covered == (DateRange(date(2000, 1, 1), date(2026, 12, 31)),)
    assert CALENDAR.first_covered_day == date(2000, 1, 1)
    assert CALENDAR.last_covered_day == CALENDAR.last_announced_day == date(2026, 12, 31)
    assert CALENDAR.is_trading_day(date(2023, 12, 29))
    CALENDAR.require_covered(date(2000, 1, 1), date(2026, 12, 31))
    with pytest.raises(CalendarNotCovered, match="no data for 2027-01-01"):
        CALENDAR.require_covered(date(2023, 12, 29), date(2027, 3, 1))


def test_the_sureness_of_a_day_is_kept_by_segment():
    """The drill of 18 May 2024 is as the broker's bulletin has it in equity, and disputed in futures and options."""
    drill = date(2024, 5, 18)
    assert CALENDAR.note(drill, "NSE_EQ").sureness is Sureness.PRESS
    assert "377895" in CALENDAR.note(drill, "NSE_FO").source
    assert CALENDAR.note(drill, "NSE_FO").sureness is Sureness.DISPUTED
    outage = date(2021, 2, 24)
    assert [len(CALENDAR.sessions(outage, segment)) for segment in ("NSE_EQ", "BSE_EQ")] == [2, 1]
    assert CALENDAR.note(date(2024, 5, 20), "NSE_EQ").name == "General election in Mumbai"
    assert CALENDAR.note(date(2005, 7, 27), "NSE_EQ").sureness is Sureness.DISPUTED


def test_what_is_not_sure_is_said():
    """A period before 2019 says that special sessions are unknown, names disputed days, and a later one says nothing."""
    assert CALENDAR.caveats(date(2019, 1, 1), date(2026, 12, 31)) == ()
    old = CALENDAR.caveats(date(2005, 1, 3), date(2020, 1, 1))
    assert old[0].startswith("calendar 2005-01-03 to 2018-12-31: weekdays sure, special sessions")
    assert "2005-07-27" in old[1]


def test_provisional_weekdays_are_trading_days_that_are_said_to_be_so():
    """Beyond the data every weekday trades where that is wished for, and each question about it says that it is provisional."""
    longer = CALENDAR.with_provisional(date(2027, 12, 31))
    assert longer.is_trading_day(date(2027, 1, 1))
    assert not longer.is_trading_day(date(2027, 1, 2))
    assert longer.note(date(2027, 1, 26), "NSE_EQ").sureness is Sureness.PROVISIONAL
    assert longer.last_announced_day == date(2026, 12, 31)
    assert "provisional" in longer.caveats(date(2026, 12, 1), date(2027, 1, 5))[0]
    assert longer.next_trading_day(date(2026, 12, 31)) == date(2027, 1, 1)
    assert CALENDAR.with_provisional(date(2026, 1, 1)) is CALENDAR


@pytest.mark.parametrize(
    ("day", "opens"), [("2009-12-31", "09:55"), ("2010-01-04", "09:00"), ("2010-10-18", "09:15")]
)
def test_the_open_of_earlier_years(day, opens):
    """The market opened at 9:55 until 2010, then at 9, and with the pre-open auction at 9:15."""
    assert hours(day) == [(opens, "15:30")]


@pytest.mark.parametrize(
    ("day", "segment", "cut_off", "expected"),
    [
        ("2026-11-20", "NSE_EQ_CAS", time(15, 0), "15:00"),
        ("2026-11-20", "NSE_EQ_CAS", time(15, 10), "15:10"),
        ("2026-11-20", "NSE_EQ_CAS", time(15, 15), "15:00"),
        ("2026-11-20", "NSE_EQ", time(15, 20), "15:20"),
        ("2019-10-27", "NSE_EQ", time(15, 0), "19:00"),
        ("2025-10-21", "NSE_EQ", time(15, 0), "14:30"),
        ("2024-03-02", "NSE_EQ", time(15, 0), "12:15"),
        ("2024-03-02", "NSE_EQ", time(9, 30), "12:15"),
    ],
)
def test_mis_cut_off(day, segment, cut_off, expected):
    """The cut-off holds where the day's last session is open at it; else it is 15 minutes before that close."""
    assert CALENDAR.mis_cut_off(date.fromisoformat(day), segment, cut_off) == ist(day, expected)


def test_mis_cut_off_of_a_session_and_of_a_closed_day():
    """One session's own cut-off lies within it; a day without trading has none."""
    first, second = CALENDAR.sessions(date(2024, 3, 2), "NSE_EQ")
    assert mis_cut_off(first) == ist("2024-03-02", "09:45")
    assert mis_cut_off(second) == ist("2024-03-02", "12:15")
    assert CALENDAR.mis_cut_off(date(2026, 11, 21), "NSE_EQ") is None
    with pytest.raises(ValueError, match="without a zone"):
        mis_cut_off(first, time(15, 0, tzinfo=IST))


@given(trading_days, segments, st.times())
def test_mis_cut_off_lies_inside_the_last_session(day, segment, cut_off):
    """Whatever the setting, squaring off happens while the market is open."""
    last = CALENDAR.sessions(day, segment)[-1]
    at = CALENDAR.mis_cut_off(day, segment, cut_off)
    assert at is not None
    assert last.open <= at < last.close


def test_trading_day_is_the_date_in_india():
    """Half past six in the evening UTC is already the next day in India."""
    assert CALENDAR.trading_day(datetime(2026, 11, 20, 18, 29, 59, tzinfo=UTC)) == date(2026, 11, 20)
    assert CALENDAR.trading_day(datetime(2026, 11, 20, 18, 30, tzinfo=UTC)) == date(2026, 11, 21)


def test_a_naive_time_or_an_unknown_segment_is_refused():
    """Neither is guessed: a time needs its zone, and the error lists the segments there are."""
    naive = ist("2026-11-20", "10:00").replace(tzinfo=None)
    with pytest.raises(ValueError, match="aware datetime"):
        CALENDAR.session_at(naive, "NSE_EQ")
    with pytest.raises(ValueError, match="aware datetime"):
        CALENDAR.trading_day(naive)
    with pytest.raises(ValueError, match=r"'NFO_OPT'.*NSE_EQ, NSE_EQ_CAS"):
        CALENDAR.sessions(date(2026, 11, 20), "NFO_OPT")


def test_every_entry_says_how_sure_it_is():
    """Hours, holidays and special sessions each carry a source and one of the declared degrees of sureness."""
    entries = [*DOCUMENT["hours"], *DOCUMENT["holidays"], *DOCUMENT["special_sessions"]]
    assert {entry["sureness"] for entry in entries} <= {
        "circular",
        "press",
        "recording",
        "library",
        "single",
        "provisional",
    }
    assert all(entry["source"] for entry in entries)


def _end_before_start(document):
    document["covered"][0]["to"] = "1999-12-31"


def _overlapping_ranges(document):
    document["covered"].append({"from": "2026-12-31", "to": "2027-12-31"})


def _nothing_covered(document):
    document["covered"] = []


def _hours_out_of_order(document):
    document["hours"][2]["from"] = "2010-01-04"


def _hours_too_late(document):
    document["hours"][0]["from"] = "2000-01-02"


def _closing_before_open(document):
    document["hours"][0]["close"] = "09:55"


def _holiday_on_saturday(document):
    document["holidays"][0]["days"]["2019-03-02"] = "none"


def _holiday_outside(document):
    document["holidays"][0]["days"]["2027-01-01"] = "none"


def _special_twice(document):
    document["special_sessions"].append(document["special_sessions"][0])


def _special_overlap(document):
    drill = next(entry for entry in document["special_sessions"] if entry["day"] == "2024-03-02")
    drill["sessions"][1]["open"] = "09:59"


def _no_date(document):
    document["special_sessions"][0]["day"] = "27.10.2019"


def _no_time(document):
    document["hours"][0]["open"] = "quarter past nine"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_end_before_start, "ends before it begins"),
        (_overlapping_ranges, "does not lie apart"),
        (_nothing_covered, "at least one range"),
        (_hours_out_of_order, "hours of NSE_EQ from 2010-01-04 come after"),
        (_hours_too_late, "after the first covered day 2000-01-01"),
        (_closing_before_open, "not after its open 09:55"),
        (_holiday_on_saturday, "2019-03-02 .Saturday."),
        (_holiday_outside, "no data for 2027-01-01"),
        (_special_twice, "2010-11-05 twice"),
        (_special_overlap, "2024-03-02 overlap"),
        (_no_date, "'27.10.2019' is not allowed; a date is"),
        (_no_time, "hours of NSE_EQ: 'quarter past nine' is not allowed; a time is"),
    ],
)
def test_wrong_data_names_the_entry(spoil, message):
    """A calendar document with a mistake in it is refused, and the message says where the mistake is."""
    document = copy.deepcopy(DOCUMENT)
    spoil(document)
    with pytest.raises((ValueError, CalendarNotCovered), match=message):
        parse_calendar(document)
