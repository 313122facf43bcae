"""Bars have identity, order and length, whatever the rows of a file are like."""

from __future__ import annotations

import csv
import gzip
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.marketdata.data_files import (
    BARS,
    INFY,
    IST,
    MINUTE_NS,
    OPEN,
    SBIN,
    bars_of,
    plain_row,
    plain_text,
    read,
    text_of,
    ticks_of,
    ticks_of_bars,
)

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import instant
from alphapanda.marketdata.core.recorded.cells import prices
from alphapanda.marketdata.core.recorded.identity import Settled, in_order, once
from alphapanda.marketdata.core.recorded.options import reading_options
from alphapanda.marketdata.core.ticks import Tick, batches_by_time
from alphapanda.marketdata.feeds.extent import Extent

HEADER = "datetime_ist,open,high,low,close,volume"
TICKS = "ts,instrument_token,last_price"
EXPECTED = ticks_of_bars()


@pytest.fixture
def file(tmp_path):
    """Writes a text file."""

    def write(text, name="bars.csv"):
        made = tmp_path / name
        made.write_text(text)
        return made

    return write


def lines_of(recording) -> str:
    from tests.unit.marketdata.data_files import DIRECTORY

    return "\n".join(recording.lines(DIRECTORY))


def test_first_prices_that_the_next_ones_deny_are_known_beforehand(file):
    """Of each instrument; a rise, a jump that lasts, the night between two days and two rows deny nothing."""

    def denied(*prices, days=(10, 10, 10)):
        lines = [
            f"2025-06-{day} 09:{15 + at}:00,{p},{p},{p},{p},5"
            for at, (p, day) in enumerate(zip(prices, days, strict=False))
        ]
        return read(file("\n".join([HEADER, *lines]) + "\n"), bar_interval="1m").denied_firsts

    assert denied(15000, 1500, 1501) == {INFY: 150_000}
    assert denied(15, 1500, 1499) == denied(15000, 15, 1500, 1501, days=[10] * 4) == {INFY: 150_000}
    assert denied(1500, 1501, 1000, 1001, days=[10] * 4) == {}
    assert denied(1500, 1501, 1502) == denied(1500, 15000, 1501) == denied(15000, 1500) == {}
    assert denied(7500, 1500, 1501, days=(10, 11, 11)) == {}


# -- order --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rows",
    [BARS, BARS[::-1], [*BARS[20:], *BARS[:20]]],
    ids=["in order", "newest first", "second part first"],
)
def test_rows_in_any_order_are_read_in_the_order_of_time(file, rows):
    """One line says that they were put in order."""
    recording = read(file(plain_text(rows)))
    assert list(recording.ticks(Extent())) == EXPECTED
    assert ("rows were put in order" in lines_of(recording)) is (rows != BARS)


def test_rows_that_name_their_instrument_may_come_in_any_order(file):
    """By instrument, or the newest first: the same ticks, by time and instrument."""
    rows = [f"{plain_row(bar)},NSE:{name}" for name in ("SBIN", "INFY") for bar in BARS]
    expected = sorted([*EXPECTED, *ticks_of_bars(token=SBIN)], key=lambda tick: (tick[2], tick[0]))
    for ordered in (rows, rows[::-1]):
        text = "\n".join([f"{HEADER},symbol", *ordered])
        assert ticks_of(file(text), None) == expected


def test_ticks_of_one_time_stay_in_their_order_even_if_the_newest_come_first(file):
    """Two trades in a second are in the file's order, or in the reverse of it."""
    rows = ["1749527100,408065,1500", "1749527100,408065,1500.05", "1749527101,408065,1500.1"]
    for ordered in (rows, rows[::-1]):
        found = ticks_of(file("\n".join([TICKS, *ordered])))
        assert [tick.price for tick in found] == [150000, 150005, 150010]


def test_files_are_one_recording_in_any_order(file):
    """Two files of one instrument that overlap: the rows that both have are counted once."""
    one, other = file(plain_text(BARS[:20]), "one.csv"), file(plain_text(BARS[10:]), "other.csv")
    for files in ([one, other], [other, one]):
        recording = read(files)
        assert list(recording.ticks(Extent())) == EXPECTED
        assert recording.counts() == {"repeated": 10}


def test_a_recording_larger_than_memory_is_read_in_order_too(file):
    """Rows are put in a temporary file, sorted in parts and merged."""
    bars = bars_of(375)
    mixed = [*bars[::2], *bars[1::2]]
    recording = read([file(plain_text(mixed), f"{at}.csv") for at in range(2)], rows_in_memory=100)
    assert list(recording.ticks(Extent())) == ticks_of_bars(bars)
    assert recording.counts() == {"repeated": 375, "put_in_order": 750}


@given(st.permutations(range(12)), st.integers(1, 5))
def test_merged_parts_are_in_order_however_they_are_cut(order, parts):
    """Sources of any length, with equal times in several of them, come to the sorted rows."""
    import numpy as np

    from alphapanda.marketdata.core.recorded.merging import Source, merged
    from alphapanda.marketdata.core.recorded.rows import COLUMNS, KNOWN, PLACE

    rows = np.zeros((len(order), COLUMNS), np.int64)
    rows[:, KNOWN] = np.array(order) // 3
    rows[:, PLACE] = order
    cut = [part[np.argsort(part[:, KNOWN], kind="stable")] for part in np.array_split(rows, parts)]
    sources = [Source(lambda begin, end, part=part: part[begin:end], len(part)) for part in cut]
    blocks = [in_order(block) for block in merged(sources, 1)]
    assert np.concatenate(blocks)[:, PLACE].tolist() == sorted(order)
    assert all(one[-1, KNOWN] < other[0, KNOWN] for one, other in pairwise(blocks))
    assert sum(len(once(block, "refuse", Settled())) for block in blocks) <= len(order)


# -- repeats and conflicts ----------------------------------------------------------------------------------------------


def test_a_repeated_row_counts_once_and_is_counted(file):
    """Every row twice comes to the same ticks."""
    recording = read(file(plain_text([bar for bar in BARS for _ in range(2)])))
    assert list(recording.ticks(Extent())) == EXPECTED
    assert "30 rows repeated another one and counted once" in lines_of(recording)


def test_two_rows_that_disagree_about_a_bar_are_refused_with_both_lines(file):
    """An unfinished and a final row of one minute: which one is right can't be known, but said."""
    unfinished = BARS[5]._replace(volume=40)
    made = file(plain_text([*BARS[:5], unfinished, *BARS[5:]]))
    with pytest.raises(InvalidInput) as refused:
        read(made)
    assert f"{made}, line 7 and line 8, bar of NSE:INFY at 2025-06-10 09:20: " in str(refused.value)
    assert "--on-conflict last" in str(refused.value)
    recording = read(made, on_conflict="last")
    assert list(recording.ticks(Extent())) == EXPECTED
    assert recording.counts() == {"replaced": 1}
    assert "1 row disagreed with another one of the same bar: the last one was used" in lines_of(recording)
    first = ticks_of(made, on_conflict="first")
    assert first == ticks_of_bars([*BARS[:5], unfinished, *BARS[6:]])


def test_files_that_disagree_are_refused_too(file):
    """With the line of each file."""
    other = file(plain_text([BARS[0]._replace(volume=1)]), "other.csv")
    with pytest.raises(InvalidInput, match=r"bars\.csv, line 2 and .*other\.csv, line 2, bar of NSE:INFY"):
        read([file(plain_text()), other], bar_interval="1m")
    assert ticks_of([file(plain_text()), other], bar_interval="1m", on_conflict="first") == EXPECTED


def test_ticks_with_volumes_that_repeat_are_counted_once(file):
    """The same time, price and day's volume again; without volumes two trades at one price may be meant."""
    rows = ["1749527100,408065,1500,10", "1749527100,408065,1501,20", "1749527100,408065,1500,10"]
    recording = read(file("\n".join([f"{TICKS},volume", *rows])))
    assert recording.rows == 2
    assert recording.counts() == {"repeated": 1}
    bare = file("\n".join([TICKS, *(row.rpartition(",")[0] for row in rows)]), "bare.csv")
    assert read(bare).rows == 3
    assert read([bare, file(bare.read_text(), "copy.csv")]).rows == 3


# -- length -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("minutes", [1, 2, 3, 5, 10, 15, 30, 60, 75, 120])
def test_the_length_of_bars_is_read_from_their_spacing(file, minutes):
    """A bar is known at its end; the day's last one at the close, however long the others are."""
    bars = [
        bar for day in range(3) for bar in bars_of(-(-375 // minutes), minutes, OPEN + timedelta(days=day))
    ]
    recording = read(file(plain_text(bars)))
    length = f"{minutes // 60}h" if minutes % 60 == 0 else f"{minutes}m"
    assert f"{length} bars of NSE:INFY" in lines_of(recording)
    found = list(recording.ticks(Extent()))
    assert found[0].exchange_time - found[0].bar_start == minutes * MINUTE_NS
    close = OPEN.replace(hour=15, minute=30)
    assert instant(found[len(bars) // 3 - 1].exchange_time) == close
    assert all(tick.exchange_time <= tick.bar_start + minutes * MINUTE_NS for tick in found)


def test_nothing_is_known_before_a_bar_ends(file):
    """The first tick of 5m bars is at 09:20, the one stamped 09:25 at 09:30."""
    found = ticks_of(file(plain_text(bars_of(75, 5))))
    assert [f"{instant(tick.exchange_time).astimezone(IST):%H:%M}" for tick in found[:3]] == [
        "09:20",
        "09:25",
        "09:30",
    ]


def test_gaps_and_rows_outside_of_the_session_do_not_hide_the_length(file):
    """An illiquid stock, a pre-open and a closing price."""
    bars = bars_of(375)
    sparse = [bar for at, bar in enumerate(bars) if at % 7 in {0, 3, 4}]
    preopen = bars[0]._replace(start=OPEN - timedelta(minutes=7))
    closing = bars[0]._replace(start=OPEN.replace(hour=15, minute=40))
    assert "1m bars" in lines_of(read(file(plain_text([preopen, *sparse, closing]))))
    assert "5m bars" in lines_of(read(file(plain_text([preopen, *bars_of(75, 5), closing]))))


def test_few_rows_are_read_as_far_as_they_say_something(file):
    """Two rows five minutes apart are 5m bars, which looks at nothing too early; one row alone is assumed to be 1m, and that is said."""
    assert "5m bars" in lines_of(read(file(plain_text(bars_of(2, 5)))))
    assert "1m is assumed: too few rows" in lines_of(read(file(plain_text(BARS[:1]))))
    assert "5m bars" in lines_of(read(file(plain_text(BARS[:1])), bar_interval="5minute"))


@pytest.mark.parametrize(
    ("given", "minutes", "says"),
    [
        ("1m", 5, "--bar-interval: '1m' is not allowed; 5m, as the bars of"),
        ("15m", 5, "--bar-interval: '15m' is not allowed; 5m, which is the spacing"),
        ("30s", 5, "--bar-interval: '30s' is not allowed; the length of a bar from 1m to 1d"),
        ("2d", 5, "--bar-interval: '2d' is not allowed"),
    ],
)
def test_a_given_length_is_checked_against_the_spacing(file, given, minutes, says):
    """The option can't make bars shorter than they are, nor longer."""
    with pytest.raises(InvalidInput, match=f"^{says}"):
        read(file(plain_text(bars_of(75, minutes))), bar_interval=given)


def test_bars_of_several_lengths_are_refused(file):
    """In one file, or in two files of one instrument."""
    stray = BARS[1]
    with pytest.raises(InvalidInput, match=r"spacing of bars: '1m' is not allowed; .*most are 5m apart"):
        read(file(plain_text([*bars_of(75, 5), stray])))
    files = [file(plain_text()), file(plain_text(bars_of(75, 5)), "five.csv")]
    with pytest.raises(InvalidInput, match="NSE:INFY has 1m bars in one and 5m bars in the other"):
        read(files)


def test_days_of_longer_bars_among_days_of_minutes_are_refused(file):
    """They would be known long before they end; few bars of an instrument that trades seldom are minutes."""
    minutes = bars_of(375, start=OPEN - timedelta(days=1))
    with pytest.raises(InvalidInput, match=r"'1m, but 5m on 2025-06-10' is not allowed; bars of one length"):
        read(file(plain_text([*minutes, *bars_of(75, 5)])))
    assert len(ticks_of(file(plain_text([*minutes, *bars_of(75, 5)])), bar_interval="1m")) == 450
    assert len(ticks_of(file(plain_text([*minutes, *bars_of(9, 5)])))) == 384
    assert len(ticks_of(file(plain_text([*minutes, *bars_of(9, 5) * 9])))) == 384


@pytest.mark.parametrize(
    ("symbol", "clock", "high", "says"),
    [
        ("INFY", "09:15", 101, "1m, but 1d on 2025-06-02"),
        ("SBIN", "15:29", 101, "1m, but 1d on 2025-06-02"),
        ("SBIN", "09:15", 100, ""),
    ],
)
def test_daily_bars_among_minutes_are_refused(file, symbol, clock, high, says):
    """Of one instrument or beside it; a day's only trade has one price and is a minute."""
    days = [f"2025-06-{day:02} {clock}:00,100,{high},100,100,5,{symbol}" for day in (2, 3, 4, 5, 6, 9)]
    text = text_of(f"{HEADER},symbol", lambda bar: f"{plain_row(bar)},INFY", bars_of(375))
    made = file(text + "\n".join(days) + "\n")
    if says:
        with pytest.raises(InvalidInput, match=f"'{says}' is not allowed; bars of one length"):
            read(made)
    else:
        assert "1m bars" in lines_of(read(made))


@pytest.mark.parametrize(
    ("hour", "minute", "first"), [(11, 30, 19), (18, 59, 10), (11, 30, 0)], ids=["live", "short", "first"]
)
def test_a_daily_row_with_a_time_of_its_own_is_a_daily_bar_like_the_others(file, hour, minute, first):
    """The day that isn't over, and that of a short session, have times of their own."""
    rows = []
    for at in range(28):
        start = datetime(2025, 6, 2, tzinfo=IST) + timedelta(days=at)
        if start.weekday() < 5:
            own = timedelta(hours=hour, minutes=minute) if len(rows) == first else timedelta()
            rows.append(f"{start + own:%Y-%m-%d %H:%M:%S},100,101,99,100,5")
    recording = read(file("\n".join([HEADER, *rows]) + "\n"))
    assert "1d bars" in lines_of(recording)
    assert {tick[2] // MINUTE_NS % 1440 for tick in recording.ticks(Extent())} == {10 * 60}
    same_day = f"{rows[-1][:10]} 11:30:00,100,102,99,101,3"
    with pytest.raises(InvalidInput, match="one row for a bar"):
        list(read(file("\n".join([HEADER, *rows, same_day]) + "\n")).ticks(Extent()))


def test_no_bar_is_longer_than_the_session_and_shorter_than_a_day(file):
    """Such a spacing is two rows of a day that say the same, or two files in one."""
    rows = [
        f"2025-06-{day:02} {clock},100,101,99,100,5" for day in (9, 10, 11) for clock in ("00:00", "15:30")
    ]
    with pytest.raises(InvalidInput, match="'930m' is not allowed; bars from 1m to 1d"):
        read(file("\n".join([HEADER, *rows]) + "\n"))


def test_a_file_of_one_row_has_the_length_of_the_other_files(file):
    """Where it can't be read from the row itself."""
    bars = bars_of(75, 5)
    found = ticks_of([file(plain_text(bars[:-1])), file(plain_text(bars[-1:]), "last.csv")])
    assert found == ticks_of_bars(bars, 5)


def test_bars_of_seconds_and_of_weeks_are_refused(file):
    """From 1m to 1d."""
    rows = [f"{OPEN + timedelta(seconds=5 * at):%Y-%m-%d %H:%M:%S},1,1,1,1,1" for at in range(20)]
    with pytest.raises(InvalidInput, match="spacing of bars: '5s' is not allowed; bars from 1m to 1d"):
        read(file("\n".join([HEADER, *rows])))
    weeks = [f"{OPEN + timedelta(days=7 * at):%Y-%m-%d},1,1,1,1,1" for at in range(20)]
    with pytest.raises(InvalidInput, match="spacing of bars: '7 days' is not allowed"):
        read(file("\n".join([HEADER, *weeks])))


@pytest.mark.parametrize(
    "stamp",
    [
        "%Y-%m-%d 00:00:00",
        "%Y-%m-%d",
        "%d-%b-%Y",
        "%Y-%m-%dT00:00:00+05:30",
        "%Y-%m-%dT00:00:00Z",
        "%Y-%m-%d 15:30:00",
    ],
)
def test_daily_bars_are_known_at_the_close(file, stamp):
    """Whatever time of day they name; their start is the session's open, so that they lie in it."""
    days = [date(2025, 6, 2) + timedelta(days=at) for at in (0, 1, 2, 3, 4, 7, 8)]
    text = "\n".join([HEADER, *(f"{day:{stamp}},1500,1510,1490,1505,1000" for day in days)])
    recording = read(file(text))
    assert "1d bars of NSE:INFY, 7 rows, 2025-06-02 to 2025-06-10" in lines_of(recording)
    for tick, day in zip(recording.ticks(Extent()), days, strict=True):
        known, start = (instant(ns).astimezone(IST) for ns in (tick.exchange_time, tick.bar_start))
        assert known == datetime(day.year, day.month, day.day, 15, 30, tzinfo=IST)
        assert start == datetime(day.year, day.month, day.day, 9, 15, tzinfo=IST)
        assert tick.volume == 1000


def test_a_daily_bar_of_a_short_session_is_known_at_its_close(file):
    """Muhurat 2024 ended at 19:00; a Saturday without a session has the regular close, for want of another."""
    rows = [f"{day},1,1,1,1,1" for day in ("2024-10-31", "2024-11-01", "2024-11-02")]
    found = ticks_of(file("\n".join([HEADER, *rows])))
    times = [f"{instant(tick.exchange_time).astimezone(IST):%H:%M}" for tick in found]
    assert times == ["15:30", "19:00", "15:30"]


@pytest.mark.parametrize("late", [timedelta(seconds=59), timedelta(minutes=1)])
def test_bars_named_by_their_ends_are_refused_or_read_so_by_option(file, late):
    """09:15:59, or the first bar of the day at 09:16 and the last at 15:30."""
    bars = bars_of(375)
    made = file(plain_text([bar._replace(start=bar.start + late) for bar in bars]))
    with pytest.raises(InvalidInput, match="bars of 1m that seem to be named by their ends; --stamp end"):
        read(made)
    assert ticks_of(made, stamp="end") == ticks_of_bars(bars)


def test_times_between_the_minutes_are_refused(file):
    """A bar begins with a minute."""
    with pytest.raises(
        InvalidInput, match="time: '09:15:30' is not allowed; bars whose times are whole minutes"
    ):
        read(file(f"{HEADER}\n2019-01-01 09:15:30,1,1,1,1,1\n"))


# -- days ---------------------------------------------------------------------------------------------------------------


def test_only_the_wanted_days_are_read(file):
    """--from and --to are days in India, both inclusive; the rows left out are counted."""
    days = [bars_of(3, 1, OPEN + timedelta(days=at)) for at in range(3)]
    made = file(plain_text([bar for day in days for bar in day]))
    recording = read(made, first_day=date(2025, 6, 11), last_day=date(2025, 6, 11))
    assert list(recording.ticks(Extent())) == ticks_of_bars(days[1])
    assert recording.counts() == {"outside": 6}
    with pytest.raises(InvalidInput, match="--to: '2025-06-01' is not allowed; a day not before --from"):
        reading_options(first_day=date(2025, 6, 2), last_day=date(2025, 6, 1))


def test_days_that_the_files_do_not_have_are_refused(file):
    """With those that they have."""
    with pytest.raises(
        InvalidInput, match=r"^--from, --to: '2025-07-01 to …' .*have 2025-06-10 to 2025-06-10"
    ):
        read(file(plain_text()), first_day=date(2025, 7, 1))


# -- cells --------------------------------------------------------------------------------------------------------------


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=2))
def test_prices_are_exact(price):
    """Text becomes paise, whatever its size."""
    import pyarrow as pa

    assert prices(pa.array([f"{price:f}"])).paise.tolist() == [price * 100]


def test_float_noise_is_rounded_to_paise_and_counted(file):
    """831.7000122 is 831.70; nothing is dropped for it."""
    noisy = [
        bar._replace(close=f"{float(bar.close) + 1.22e-5:.7f}", high=f"{float(bar.high):.4f}") for bar in BARS
    ]
    recording = read(file(plain_text(noisy)))
    assert list(recording.ticks(Extent())) == EXPECTED
    assert recording.counts() == {"rounded": 30}


def test_bars_without_a_price_are_left_out_and_bars_without_an_open_are_mended(file):
    """Empty cells and NaN; both are counted."""
    rows = ["2025-06-10 09:45:00,,,,,", "2025-06-10 09:46:00,NaN,nan,NaN,null,NaN"]
    rows.append("2025-06-10 09:47:00,,1503,1501,1502,")
    recording = read(file(plain_text() + "\n".join(rows)))
    assert recording.counts() == {"without_price": 2, "mended": 1}
    last = list(recording.ticks(Extent()))[-1]
    assert (last.open, last.high, last.low, last.price) == (150200, 150300, 150100, 150200)
    assert last.volume == EXPECTED[-1].volume


@pytest.mark.parametrize(
    ("header", "volume", "says"),
    [("", "", True), (",volume", ",0", True), (",volume", ",", True), (",volume", ",7", False)],
)
def test_that_a_file_has_no_volumes_is_said(file, header, volume, says):
    """A strategy on volumes would do nothing, and nobody would know why."""
    text = text_of(
        f"date,open,high,low,close{header}", lambda bar: f"{bar.start:%Y-%m-%d %H:%M},{bar.prices}{volume}"
    )
    assert ("no volumes" in lines_of(read(file(text)))) is says


def test_headers_among_the_rows_are_no_rows(file):
    """Files that were put behind one another have one each; lines are still counted right."""
    head, tail = plain_text(BARS[:10]), plain_text(BARS[10:])
    assert ticks_of(file(head + ",,,,,\n" + tail)) == EXPECTED
    with pytest.raises(InvalidInput, match="line 33, column high: 'x' is not allowed"):
        read(file(head + tail + "2025-06-10 12:00:00,1,x,1,1,1\n" + tail))


def test_rows_of_separators_alone_are_blank_lines(file):
    """As spreadsheets write them; later lines keep their numbers."""
    text = (
        plain_text(BARS[:10]) + ",,,,,\n" + plain_text(BARS[10:]).partition("\n")[2] + ",,,,,\n , , , , ,\n"
    )
    assert ticks_of(file(text)) == EXPECTED
    with pytest.raises(InvalidInput, match="line 35, column close: 'x'"):
        read(file(text + "2025-06-10 10:00:00,1,1,1,x,1\n"))
    with pytest.raises(InvalidInput, match="line 2 and line 35, bar of NSE:INFY"):
        read(file(text + f"{plain_row(BARS[0])}0\n"))


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("2019-13-01 09:15:00,1,1,1,1,1", "datetime_ist"),
        ("2019-02-30 09:15:00,1,1,1,1,1", "datetime_ist"),
        (",1,1,1,1,1", "datetime_ist"),
        ("yesterday,1,1,1,1,1", "datetime_ist"),
        ("5,1,1,1,1,1", "datetime_ist"),
        ("2019-01-01 09:15:00,a,1,1,1,1", "open"),
        ("2019-01-01 09:15:00,1,1_0,1,1,1", "high"),
        ("2019-01-01 09:15:00,1,1,inf,1,1", "low"),
        ("2019-01-01 09:15:00,1,1,1,1e15,1", "close"),
        ("2019-01-01 09:15:00,1,1,1,1,-1", "volume"),
        ("2019-01-01 09:15:00,1,1,1,1,1.5.5", "volume"),
        ("2019-01-01 09:15:00,1,1,1,1", "all"),
        ("2019-01-01 09:15:00,1,1,1,1,1,1", "all"),
    ],
)
def test_a_bad_cell_is_named_by_file_line_column_and_value(file, row, column):
    """Before anything is replayed, in one line that says what is allowed; blank lines count as lines."""
    made = file(f"{HEADER}\n2019-01-01 09:14:00,1,1,1,1,1\n\n{row}\n")
    with pytest.raises(
        InvalidInput, match=rf"bars\.csv, line 4, column {column}: .* is not allowed; "
    ) as refused:
        read(made)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("1749527100,0,1", "instrument_token"),
        ("1749527100,4294967296,1", "instrument_token"),
        ("1749527100,INFY,1", "instrument_token"),
        ("1749527100,7,one", "last_price"),
        ("1749527100000000,7,1", "ts"),
        ("1749527100,7", "all"),
    ],
)
def test_a_bad_tick_is_named_by_file_line_and_column(file, row, column):
    """An unreadable token or price, a time of another unit than above, a missing cell."""
    made = file(f"{TICKS}\n1749527100,7,1\n{row}\n")
    with pytest.raises(InvalidInput, match=rf"line 3, column {column}: "):
        read(made)


def test_an_unknown_symbol_is_named_with_the_nearest_one(file):
    """Unless it is the only one and the user has named an instrument, which is said."""
    made = file(text_of(f"symbol,{HEADER}", lambda bar: f"NSE:INFI,{plain_row(bar)}"))
    with pytest.raises(
        InvalidInput, match="line 2, column symbol: 'NSE:INFI' is not allowed; did you mean 'NSE:INFY'"
    ):
        read(made, None)
    recording = read(made, "NSE:SBIN")
    assert list(recording.ticks(Extent())) == ticks_of_bars(token=SBIN)
    assert "'NSE:INFI' is taken for the given instrument" in lines_of(recording)


def test_an_unknown_symbol_beside_others_is_not_taken_for_the_given_one(file):
    """A file that names several instruments means what it says."""
    rows = [f"NSE:INFI,{plain_row(BARS[0])}", f"NSE:SBIN,{plain_row(BARS[1])}"]
    keys = [f"NSE_EQ|INE009A0102{at},{plain_row(BARS[at])}" for at in range(2)]
    for ordered in (rows, rows[::-1], keys):
        with pytest.raises(InvalidInput, match="column symbol: "):
            read(file("\n".join([f"symbol,{HEADER}", *ordered])), "NSE:INFY")


def test_a_bhavcopy_without_a_known_instrument_says_how_they_become_known(file):
    """The first names are told."""
    rows = [f"{name},EQ,2025-06-10,1,1,1,1,1" for name in ("20MICRONS", "3IINFOLTD")]
    with pytest.raises(InvalidInput, match=r"symbols: '20MICRONS, 3IINFOLTD' .*instruments import"):
        read(file("\n".join(["SYMBOL,SERIES,DATE1,OPEN,HIGH,LOW,CLOSE,VOLUME", *rows])), None)


def test_rows_need_an_instrument(file):
    """Named in the file, by --instrument or before it."""
    with pytest.raises(InvalidInput, match="--instrument NSE:INFY, or NSE:INFY="):
        read(file(plain_text()), None)


@pytest.mark.parametrize("text", ["", "\n\n", "nonsense\n", "open,high,low,close\n1,1,1,1\n"])
def test_a_file_that_has_neither_bars_nor_ticks_says_what_is_wanted(file, text):
    """By its first line, and the option that names columns."""
    with pytest.raises(InvalidInput, match=r"bars\.csv, line 1, column header: .*--columns"):
        read(file(text), None)


# -- ticks --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ts",
    [
        "2019-01-01T09:15:00.25+05:30",
        "2019-01-01T03:45:00.250Z",
        "2019-01-01 03:45:00.250000000z",
        "1546314300250000000",
    ],
)
def test_a_ticks_time_is_any_instant(file, ts):
    """Any zone and any number of decimals come to the same nanosecond."""
    assert ticks_of(file(f"{TICKS}\n{ts},7,10.05\n")) == [Tick(7, 1005, 1_546_314_300_250_000_000)]


def test_nanoseconds_are_kept(file):
    """A fraction finer than a microsecond isn't cut."""
    (tick,) = ticks_of(file(f"{TICKS}\n2019-01-01T03:45:00.000000001Z,7,1\n"))
    assert tick.exchange_time == 1_546_314_300_000_000_001


def test_an_empty_volume_of_a_tick_is_an_absent_one(file):
    """Other columns are left alone."""
    text = "ts,instrument_token,last_price,oi,volume\n1749527100,7,1,x,55\n1749527101,7,1,,\n"
    assert [tick.volume for tick in ticks_of(file(text))] == [55, None]


@given(st.lists(st.integers(min_value=0, max_value=3)))
def test_batches_hold_runs_of_one_time(times):
    """Nothing is lost, and no two neighbours share a time."""
    ticks = [Tick(1, 1, time) for time in times]
    batches = list(batches_by_time(ticks))
    assert [tick for batch in batches for tick in batch.ticks] == ticks
    assert all(tick.exchange_time == batch.market_time_ns for batch in batches for tick in batch.ticks)
    assert all(a.market_time_ns != b.market_time_ns for a, b in pairwise(batches))


def test_the_recorded_year_is_read_whole(nse_data):
    """92,017 bars of YESBANK come to the same sums as the csv module and Decimal find."""
    recorded = nse_data / "yesbank_2019_1min" / "YESBANK_NSE_1min_2019.csv.gz"
    with gzip.open(recorded, "rt") as lines:
        rows = list(csv.DictReader(lines))
    ticks = ticks_of(recorded, "NSE:YESBANK")
    assert len(ticks) == len(rows) == 92_017
    for column, name in (("price", "close"), ("open", "open"), ("high", "high"), ("low", "low")):
        assert Decimal(sum(getattr(tick, column) for tick in ticks)) / 100 == sum(
            Decimal(row[name]) for row in rows
        )
    volumes = [0, *(tick.volume for tick in ticks)]
    of_minutes = [now - before if now >= before else now for before, now in pairwise(volumes)]
    assert sum(of_minutes) == sum(int(row["volume"]) for row in rows)
    for tick, row in list(zip(ticks, rows, strict=True))[::997]:
        start = datetime.fromisoformat(row["datetime_ist"]).replace(tzinfo=IST)
        assert tick.bar_start == int(start.timestamp()) * 10**9 == tick.exchange_time - MINUTE_NS
