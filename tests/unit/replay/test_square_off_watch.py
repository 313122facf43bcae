from __future__ import annotations

from datetime import datetime, time
from zoneinfo import ZoneInfo

from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.frame import nanoseconds
from alphapanda.replay.square_off_watch import SquareOffWatch

IST = ZoneInfo("Asia/Kolkata")


def at(hour: int, minute: int, day: int = 10) -> int:
    """A market time of March 2025, whose 10th is a Monday."""
    return nanoseconds(datetime(2025, 3, day, hour, minute, tzinfo=IST))


def test_a_position_opened_in_the_morning_waits_for_the_cut_off():
    """Checked at every frame from its opening on, a year of minutes would take twice as long."""
    watch = SquareOffWatch(load_nse_calendar(), time(15, 0))
    watch.checked(at(9, 15), intraday_open=False)
    watch.opened(at(9, 20))
    assert watch.next_ns == at(15, 0)


def test_a_position_opened_after_the_cut_off_is_checked_at_once():
    """And at every frame until it is closed; then on the next day."""
    watch = SquareOffWatch(load_nse_calendar(), time(15, 0))
    watch.checked(at(15, 0), intraday_open=False)
    watch.opened(at(15, 5))
    assert watch.next_ns == at(15, 5)
    watch.checked(at(15, 5), intraday_open=True)
    assert watch.next_ns == at(15, 5)
    watch.checked(at(15, 6), intraday_open=False)
    assert watch.next_ns == at(0, 0, 11)
