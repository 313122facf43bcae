"""The steps of the exchange's day, and when each is due."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Final

from alphapanda.domain.calendar import Session

BEFORE_OPEN: Final = timedelta(minutes=30)
"""Market time before the open from which on it is prepared."""
COVERED_AFTER: Final = timedelta(minutes=2)
FLAT_AFTER: Final = timedelta(minutes=5)
"""Market time after the cut-off at which it is looked again whether intraday positions are on their way out, and at which none is left
(REAL_MONEY rule 14)."""
AFTER_CLOSE: Final = timedelta(minutes=1)
"""Market time after the close at which the day is closed."""
CLOSING: Final = timedelta(hours=2)
"""Market time after the close within which the day is closed."""


class DayStep(Enum):
    """A step, by its name in the audit and in the status."""

    SESSION = "session"
    INSTRUMENTS = "instruments"
    LIMITS = "limits"
    RECONCILIATION = "reconciliation"
    OPEN = "open"
    CUT_OFF = "cut-off"
    COVERED = "cut-off +2 min"
    FLAT = "cut-off +5 min"
    SNAPSHOT = "snapshot"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class StepTime:
    """When a step is due, and until when it is tried; aware market times."""

    step: DayStep
    due: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class StepEnd:
    """What came of a step: whether it succeeded, in words, and when (wall time)."""

    done: bool
    message: str
    at: datetime


def step_times(sessions: Sequence[Session], cut_off: datetime | None) -> tuple[StepTime, ...]:
    """The steps of a day in their order.

    Args:
        sessions: of the day; without any there are no steps.
        cut_off: when MIS positions are squared off; None: no step of that kind.
    """
    if not sessions:
        return ()
    opens, closes = sessions[0].open, sessions[-1].close
    before = [
        StepTime(step, opens - BEFORE_OPEN, opens)
        for step in (DayStep.SESSION, DayStep.INSTRUMENTS, DayStep.LIMITS, DayStep.RECONCILIATION)
    ]
    at_cut_off = () if cut_off is None else _at_cut_off(cut_off, closes)
    after = [
        StepTime(step, closes + AFTER_CLOSE, closes + CLOSING) for step in (DayStep.SNAPSHOT, DayStep.REPORT)
    ]
    return (*before, StepTime(DayStep.OPEN, opens, closes), *at_cut_off, *after)


def _at_cut_off(cut_off: datetime, closes: datetime) -> Sequence[StepTime]:
    """The three looks at what is held intraday; each is over when the next one is due."""
    covered, flat = cut_off + COVERED_AFTER, cut_off + FLAT_AFTER
    return (
        StepTime(DayStep.CUT_OFF, cut_off, covered),
        StepTime(DayStep.COVERED, covered, flat),
        StepTime(DayStep.FLAT, flat, max(closes, flat)),
    )


def due_steps(
    times: Sequence[StepTime], ended: Mapping[DayStep, StepEnd], now: datetime
) -> Sequence[StepTime]:
    """The steps whose time has come and that haven't ended, in their order."""
    return [one for one in times if one.step not in ended and one.due <= now]


def is_over(time: StepTime, now: datetime) -> bool:
    """Whether a step that doesn't succeed now is given up."""
    return now >= time.until


def step_name(day: date, step: DayStep) -> str:
    """What tells a step from those of other days; its entry in the audit has an id made of it."""
    return f"{day} {step.value}"
