"""Carries the exchange's day out, each step once, and remembers in the audit what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Final

import structlog

from alphapanda.contract.wire import timestamp
from alphapanda.domain import ids
from alphapanda.domain.calendar import CalendarNotCovered, TradingCalendar
from alphapanda.ops.day_steps import DayStep, StepEnd, StepTime, due_steps, is_over, step_name, step_times
from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.failures import in_one_line
from alphapanda.resilience.rounds import Rounds
from alphapanda.storage.audit import AuditEntry, Outcome, PostgresAudit
from panda.ops.v1 import ops_pb2 as pb

ROUND_SECONDS: Final = 5.0
METHOD: Final = "day cycle"
NOT_DONE: Final = "NOT_DONE"
_log = structlog.get_logger(__name__)

Check = Callable[[], Awaitable[str]]
"""Does a step and returns what came of it, in words; raises NotYet while that can't be said."""


class NotYet(Exception):
    """A step didn't succeed, and why; it is tried again until its time is over."""


class DayCycle:
    """Carries out the steps of the exchange's day.

    A step is tried from its time on until it succeeds, or its time is over; then it has ended for the day, over restarts too:
    its end is an entry of the audit with an id of its own, which is stored once.

    Args:
        calendar: the exchange's sessions.
        segment: whose sessions are the day's.
        market_time: returns market time now; None where it is unknown.
        checks: what each step does.
        audit: where ends are kept.
        wall_clock: returns the aware wall time.

    Attributes:
        rounds: carries out what is due.
    """

    def __init__(
        self,
        calendar: TradingCalendar,
        segment: str,
        market_time: Callable[[], Awaitable[datetime | None]],
        checks: Mapping[DayStep, Check],
        audit: PostgresAudit,
        wall_clock: Callable[[], datetime],
    ) -> None:
        self._calendar = calendar
        self._segment = segment
        self._market_time = market_time
        self._checks = checks
        self._audit = audit
        self._wall_clock = wall_clock
        self._day: date | None = None
        self._times: Sequence[StepTime] = ()
        self._ended: dict[DayStep, StepEnd] = {}
        self._trying: dict[DayStep, str] = {}
        self.rounds = Rounds("day cycle", self.round, ROUND_SECONDS, _log)

    async def round(self) -> None:
        """Carries out the steps that are due now; nothing while market time is unknown."""
        now = await self._market_time()
        if now is None:
            return
        day = self._calendar.trading_day(now)
        if day != self._day:
            await self._begin(day)
        for time in due_steps(self._times, self._ended, now):
            await self._carry_out(day, time, now)

    def messages(self) -> tuple[str, Sequence[pb.DayStep]]:
        """The day and its steps as the status shows them."""
        return str(self._day or ""), [self._message(time) for time in self._times]

    async def _begin(self, day: date) -> None:
        """Takes up a day: its steps, and those that ended before this process started."""
        try:
            sessions = self._calendar.sessions(day, self._segment)
            cut_off = self._calendar.mis_cut_off(day, self._segment)
        except CalendarNotCovered:
            sessions, cut_off = (), None
        times = step_times(sessions, cut_off)
        entries = {_entry_id(day, time.step): time.step for time in times}
        ended = {
            entries[entry.entry_id]: StepEnd(
                entry.outcome.outcome == "OK", entry.outcome.message, entry.outcome.ended_at
            )
            for entry in await self._audit.of_ids(list(entries))
            if entry.outcome is not None
        }
        self._day, self._times, self._ended, self._trying = day, times, ended, {}

    async def _carry_out(self, day: date, time: StepTime, now: datetime) -> None:
        said: list[str] = []

        async def work() -> None:
            said.append(await self._checks[time.step]())

        error = await attempted(work())
        message = (
            said[0] if error is None else str(error) if isinstance(error, NotYet) else in_one_line(error)
        )
        if error is not None and not is_over(time, now):
            self._trying[time.step] = message
            return
        end = StepEnd(error is None, message, self._wall_clock())
        await self._audit.add([_entry(day, time.step, end)])
        self._ended[time.step] = end
        self._trying.pop(time.step, None)
        told = _log.bind(step=time.step.value, day=str(day), message=end.message)
        if end.done:
            told.info("day.step_done")
        else:
            told.error("day.step_failed", alarm=True)

    def _message(self, time: StepTime) -> pb.DayStep:
        end = self._ended.get(time.step)
        trying = self._trying.get(time.step)
        message = pb.DayStep(
            name=time.step.value,
            state=pb.DAY_STEP_STATE_WAITING if trying is None else pb.DAY_STEP_STATE_TRYING,
            due_at=timestamp(time.due),
            until=timestamp(time.until),
            message=trying or "",
        )
        if end is not None:
            message.state = pb.DAY_STEP_STATE_DONE if end.done else pb.DAY_STEP_STATE_FAILED
            message.message = end.message
            message.MergeFrom(pb.DayStep(ended_at=timestamp(end.at)))
        return message


def _entry_id(day: date, step: DayStep) -> str:
    return ids.derived_id("day step", step_name(day, step))


def _entry(day: date, step: DayStep, end: StepEnd) -> AuditEntry:
    entry_id = _entry_id(day, step)
    return AuditEntry(
        entry_id=entry_id,
        started_at=end.at,
        service="ops",
        method=METHOD,
        caller="ops",
        peer="",
        request_id=step_name(day, step),
        correlation_id=entry_id,
        request={"day": str(day), "step": step.value},
        outcome=Outcome(
            end.at,
            "OK" if end.done else "FAILED_PRECONDITION",
            "" if end.done else NOT_DONE,
            end.message,
        ),
    )
