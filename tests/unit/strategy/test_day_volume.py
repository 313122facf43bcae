from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.strategy.core.bars import BarBuilder
from alphapanda.strategy.core.day_volume import DayVolume

MINUTE = 60_000_000_000
OPEN = 1_000 * 86_400_000_000_000 + 225 * MINUTE


class Hours:
    open_ns = day_open_ns = OPEN
    close_ns = day_close_ns = OPEN + 375 * MINUTE


def later(days: int) -> Hours:
    hours = Hours()
    hours.open_ns = hours.day_open_ns = OPEN + days * 86_400_000_000_000
    hours.close_ns = hours.day_close_ns = hours.open_ns + 375 * MINUTE
    return hours


def traded(
    *volumes: int | None, starts: int = 0, before: int | None = None, recorded: bool = False, day: int = 0
) -> list[int]:
    """The volumes of one-minute bars with one tick each, from a minute of the day on."""
    builder, hours, made = BarBuilder("1m"), later(day), []
    if day:
        builder.add(1.0, OPEN, 5, Hours(), 0, None, recorded)
        builder.close()
    if before is not None:
        builder.outside(before, hours.open_ns - 5 * MINUTE)
    for minute, volume in enumerate(volumes, starts):
        builder.add(1.0, hours.open_ns + minute * MINUTE, volume, hours, 0, None, recorded)
        made.append(builder.close().volume)
    return made


@pytest.mark.parametrize(
    ("volumes", "bars"),
    [
        ((100, 150, 180), [100, 50, 30]),
        ((100, 90, 110), [100, 0, 10]),
        ((100, 0, 105, 120), [100, 0, 5, 15]),
        ((100, 0, 5, 12, 30), [100, 0, 5, 7, 18]),
        ((100, 90, 95, 110), [100, 0, 5, 5]),
        ((0, 0, 4, 10), [0, 0, 4, 6]),
        ((None, None, 400, 450), [0, 0, 0, 50]),
        ((100, None, 130), [100, 0, 30]),
    ],
)
def test_a_bars_volume_is_what_was_traded_in_it(volumes, bars):
    """A dip, a fall to zero, a counter that begins anew, volumes that come late: no bar is negative or a whole day's."""
    assert traded(*volumes) == bars


@pytest.mark.parametrize("day", [0, 3])
def test_who_joins_late_does_not_take_the_day_for_a_bar(day):
    """The first tick within the day gives where the count begins, on the first day and on a later one."""
    assert traded(90_000, 90_050, starts=120, day=day) == [0, 50]


def test_a_recorded_bar_within_a_later_day_counts_in_full():
    """A recording counts a day's volume from its first row, so a day that begins late in the file loses nothing."""
    assert traded(300, 450, starts=120, day=3, recorded=True) == [300, 150]
    assert traded(0, 0, 50, recorded=True) == [0, 0, 50]


@pytest.mark.parametrize("recorded", [False, True])
def test_what_the_pre_open_traded_is_not_the_first_bars(recorded):
    """A tick before the session tells where the day's count begins; one of the evening before doesn't."""
    assert traded(50_100, 50_150, before=50_000, recorded=recorded, day=2) == [100, 50]
    builder = BarBuilder("1m")
    builder.outside(90_000, OPEN - 18 * 60 * MINUTE)
    builder.add(1.0, OPEN, 100, Hours(), 0)
    assert builder.close().volume == 100


@given(st.lists(st.integers(0, 1000) | st.none(), max_size=20), st.none() | st.integers(0, 500))
def test_no_bar_is_negative_and_all_together_are_at_most_what_was_seen(volumes, before):
    """Whatever the feed says, a bar's volume is 0 or more; rises alone are counted."""
    bars = traded(*volumes, before=before)
    assert min(bars, default=0) >= 0
    seen = [volume for volume in volumes if volume is not None]
    rises = sum(max(0, b - a) for a, b in pairwise(seen))
    assert sum(bars) <= rises + (seen[0] if seen else 0) + max(seen, default=0)


@given(st.lists(st.integers(0, 50), max_size=12), st.lists(st.integers(0, 50), max_size=12))
def test_a_restored_count_goes_on_the_same(first, second):
    """The state holds everything on which later volumes depend."""
    one, other = DayVolume(), DayVolume()
    one.begin_day(OPEN, first=True)
    for volume in first:
        one.add(volume, opens=True, recorded=False)
    other.restore(one.state())
    for volume in second:
        one.add(volume, opens=True, recorded=False)
        other.add(volume, opens=True, recorded=False)
    assert one.state() == other.state()


def test_a_snapshot_of_an_earlier_version_is_read():
    """Its two volumes, before the bar and so far, become the count that goes on from there."""
    builder = BarBuilder("1m")
    builder.restore([OPEN, OPEN + MINUTE, OPEN, 1.0, 1.0, 1.0, 1.0, 100, 130, 2, 0, 4])
    builder.add(1.0, OPEN + 1, 150, Hours(), 4)
    assert builder.close().volume == 50
