"""The steps of the exchange's day: when each is due, and what a status shows of them."""

from __future__ import annotations

from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from alphapanda.commands.status_tables import day_lines
from alphapanda.contract.wire import timestamp
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.ops.day_steps import DayStep, StepEnd, due_steps, is_over, step_name, step_times
from panda.ops.v1 import ops_pb2 as pb

IST = ZoneInfo("Asia/Kolkata")
CALENDAR = load_nse_calendar()
DAY = date(2026, 3, 4)
SEGMENT = "NSE_EQ"


def _times(day: date = DAY):
    return step_times(CALENDAR.sessions(day, SEGMENT), CALENDAR.mis_cut_off(day, SEGMENT))


def _at(clock: str) -> datetime:
    return datetime.combine(DAY, time.fromisoformat(clock), IST)


def test_each_step_of_a_plain_day_has_its_time() -> None:
    """The open is prepared half an hour before it; what is left after the cut-off is looked at; the close is booked after it."""
    times = {one.step: (one.due.time(), one.until.time()) for one in _times()}
    assert list(times) == list(DayStep)
    assert times[DayStep.SESSION] == times[DayStep.RECONCILIATION] == (time(8, 45), time(9, 15))
    assert times[DayStep.OPEN] == (time(9, 15), time(15, 30))
    assert times[DayStep.CUT_OFF] == (time(15, 0), time(15, 2))
    assert times[DayStep.COVERED] == (time(15, 2), time(15, 5))
    assert times[DayStep.FLAT] == (time(15, 5), time(15, 30))
    assert times[DayStep.REPORT] == (time(15, 31), time(17, 30))


def test_a_day_without_a_session_has_no_steps() -> None:
    """On a Sunday nothing is due."""
    assert _times(date(2026, 3, 1)) == ()


def test_a_step_is_due_once_from_its_time_on() -> None:
    """In the order of the day; one that has ended, well or not, isn't due again."""
    times, none = _times(), {}
    assert due_steps(times, none, _at("08:44:59")) == []
    before_open = [DayStep.SESSION, DayStep.INSTRUMENTS, DayStep.LIMITS, DayStep.RECONCILIATION]
    assert [one.step for one in due_steps(times, none, _at("08:45"))] == before_open
    ended = {
        DayStep.SESSION: StepEnd(done=True, message="", at=_at("08:45")),
        DayStep.LIMITS: StepEnd(done=False, message="", at=_at("09:15")),
    }
    assert [one.step for one in due_steps(times, ended, _at("09:15"))] == [
        DayStep.INSTRUMENTS,
        DayStep.RECONCILIATION,
        DayStep.OPEN,
    ]
    assert [one.step for one in due_steps(times, none, _at("23:59"))] == list(DayStep)


def test_a_step_is_given_up_at_its_end() -> None:
    """What prepares the open has until the open."""
    session = _times()[0]
    assert not is_over(session, _at("09:14:59"))
    assert is_over(session, _at("09:15"))
    assert step_name(DAY, session.step) == "2026-03-04 session"


def test_a_status_shows_what_came_of_each_step_and_what_is_next() -> None:
    """A line each for those that were tried, and one for the next."""
    status = pb.GetStatusResponse(
        trading_day="2026-03-04",
        day_steps=[
            pb.DayStep(name="session", state=pb.DAY_STEP_STATE_DONE, message="AB1234 is signed in"),
            pb.DayStep(name="limits", state=pb.DAY_STEP_STATE_TRYING, message="no max_daily_loss"),
            pb.DayStep(name="instruments", state=pb.DAY_STEP_STATE_FAILED, message="none are known"),
            pb.DayStep(name="open", state=pb.DAY_STEP_STATE_WAITING, due_at=timestamp(_at("09:15"))),
            pb.DayStep(name="report", state=pb.DAY_STEP_STATE_WAITING, due_at=timestamp(_at("15:31"))),
        ],
    )
    assert [line.plain for line in day_lines(status)] == [
        "2026-03-04 session: done: AB1234 is signed in",
        "2026-03-04 limits: trying: no max_daily_loss",
        "2026-03-04 instruments: failed: none are known",
        "2026-03-04 open: next, at 09:15",
    ]
    assert day_lines(pb.GetStatusResponse()) == []
