"""Market time on a live feed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.frame import SECOND_NS
from alphapanda.marketdata.core.live.clock import AHEAD_NS, LiveClock

TEN = 1_796_099_400
"""10:00 of a day, seconds since the epoch."""


def ns(second: float) -> int:
    """Nanoseconds so many seconds after ten."""
    return int((TEN + second) * SECOND_NS)


def test_it_follows_the_exchanges_timestamps_and_goes_on_between_them() -> None:
    """The wall clock is 0.7 s ahead of what timestamps say; in silence time passes all the same."""
    clock = LiveClock()
    assert clock.advance(ns(0.7), TEN, open_now=True) == ns(0)
    assert clock.advance(ns(0.9), TEN, open_now=True) == ns(0.2)
    assert clock.advance(ns(1.6), TEN + 1, open_now=True) == ns(1)
    assert clock.advance(ns(5), 0, open_now=True) == pytest.approx(ns(4.4), abs=2000)
    assert clock.now_ns == clock.advance(ns(5), 0, open_now=True)


def test_before_the_first_timestamp_it_is_the_wall_clocks() -> None:
    """Before the market opens there are heartbeats only."""
    clock = LiveClock()
    assert clock.advance(ns(3), 0, open_now=False) == ns(3)
    assert clock.apart_seconds(ns(3)) == 0


def test_a_wall_clock_that_jumps_during_a_session_takes_market_time_ten_seconds_at_most() -> None:
    """An hour's jump would close the market for everybody, and market time doesn't go back."""
    clock = LiveClock()
    clock.advance(ns(0), TEN, open_now=True)
    assert clock.advance(ns(3601), 0, open_now=True) == ns(10)
    assert clock.advance(ns(11), TEN + 11, open_now=True) == ns(11)


@given(st.lists(st.tuples(st.integers(-100, 100), st.integers(-100, 100)), min_size=1))
def test_it_never_goes_back_and_never_runs_ahead_of_the_wall_clock(moments: list[tuple[int, int]]) -> None:
    """Whatever comes and however the wall clock jumps, market time rises, and no timestamp moves it into the future."""
    clock = LiveClock()
    before = latest = 0
    for wall, stamp in moments:
        latest = max(latest, ns(wall))
        now = clock.advance(ns(wall), TEN + stamp, open_now=True)
        assert before <= now <= latest + AHEAD_NS
        before = now


def test_one_timestamp_of_the_future_moves_nothing() -> None:
    """An instrument with a broken time of the year 2038 is alone with it."""
    clock = LiveClock()
    clock.advance(ns(0), TEN, open_now=True)
    assert clock.advance(ns(1), 2**31 - 1, open_now=True) == ns(1)
    clock.advance(ns(2), TEN + 2, open_now=True)
    assert clock.advance(ns(20), TEN + 20, open_now=True) == ns(20)
    assert clock.apart_seconds(ns(20)) == 0


@pytest.mark.parametrize("skew", [3600, -3600, 60, -60])
def test_a_wall_clock_that_is_wrong_is_noticed_within_ten_seconds(skew: int) -> None:
    """Whichever way it is off, and it is right again once it is set; what is off is said with its sign."""
    clock = LiveClock()
    for second in range(13):
        clock.advance(ns(second), TEN + second + skew, open_now=True)
    assert clock.apart_seconds(ns(12)) == skew
    for second in range(13, 16):
        clock.advance(ns(second + skew), TEN + second + skew, open_now=True)
    assert clock.apart_seconds(ns(15 + skew)) == 0


def test_old_timestamps_outside_of_sessions_mean_nothing() -> None:
    """In the evening the newest packet is of the close."""
    clock = LiveClock()
    for second in range(30):
        clock.advance(ns(3600 + second), TEN, open_now=False)
    assert clock.apart_seconds(ns(3630)) == 0


def test_snapshots_of_quiet_instruments_between_live_ones_mean_nothing() -> None:
    """What hasn't moved for an hour says so; as long as others move, the clocks agree."""
    clock = LiveClock()
    for second in range(30):
        clock.advance(ns(second), TEN + second if second % 5 == 0 else TEN - 3600, open_now=True)
    assert clock.apart_seconds(ns(30)) == 0


def test_a_simulated_exchange_owns_its_time() -> None:
    """Its ten o'clock may be at night: there is no time before its first timestamp, and the wall clock only tells what has passed."""
    clock = LiveClock(owns_time=True)
    assert clock.advance(ns(50_000), 0, open_now=False) == 0
    assert clock.advance(ns(50_001), TEN, open_now=False) == ns(0)
    assert clock.advance(ns(50_003), 0, open_now=True) == ns(2)
    assert clock.advance(ns(50_004), TEN + 100, open_now=True) == ns(100)
    assert clock.apart_seconds(ns(50_100)) == 0
