"""The cycle of the exchange's day on a real audit: each step once, over restarts and failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.ops.day_cycle import METHOD, DayCycle, NotYet
from alphapanda.ops.day_steps import DayStep
from alphapanda.storage.audit import AuditFilter, PostgresAudit
from alphapanda.storage.engine import open_engine
from panda.ops.v1 import ops_pb2 as pb

IST = ZoneInfo("Asia/Kolkata")
BEFORE_OPEN = [DayStep.SESSION, DayStep.INSTRUMENTS, DayStep.LIMITS, DayStep.RECONCILIATION]


class Day:
    """A market clock, and steps that fail while they are told to."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.now: datetime | None = datetime(2026, 3, 4, 8, 50, tzinfo=IST)
        self.failing: set[DayStep] = set()
        self.tried: Counter[DayStep] = Counter()
        self.audit = PostgresAudit(engine)

    def cycle(self) -> DayCycle:
        """The cycle of a process that has just started."""

        def check(step: DayStep):
            async def tried() -> str:
                self.tried[step] += 1
                if step in self.failing:
                    raise NotYet(f"no {step.value} yet")
                return f"{step.value} is well"

            return tried

        async def market_time() -> datetime | None:
            return self.now

        checks = {step: check(step) for step in DayStep}
        return DayCycle(
            load_nse_calendar(), "NSE_EQ", market_time, checks, self.audit, lambda: datetime.now(tz=UTC)
        )

    async def kept(self) -> list[tuple[str, str]]:
        """(what, outcome) of the entries in the audit, oldest first."""
        entries = await self.audit.page(AuditFilter(method=METHOD), None, 50)
        return [(entry.request_id, entry.outcome.outcome) for entry in reversed(entries)]


@pytest.fixture
async def day(tables: str) -> AsyncIterator[Day]:
    engine = open_engine(tables, 2)
    yield Day(engine)
    await engine.dispose()


def _states(cycle: DayCycle) -> dict[str, pb.DayStepState.ValueType]:
    return {one.name: one.state for one in cycle.messages()[1]}


async def test_each_step_is_carried_out_once_a_day(day) -> None:
    """Over rounds and a restart; the next day has steps of its own."""
    cycle = day.cycle()
    for _ in range(3):
        await cycle.round()
    assert day.tried == Counter(BEFORE_OPEN)
    restarted = day.cycle()
    day.now = datetime(2026, 3, 4, 9, 16, tzinfo=IST)
    await restarted.round()
    assert day.tried == Counter([*BEFORE_OPEN, DayStep.OPEN])
    assert _states(restarted)["session"] == pb.DAY_STEP_STATE_DONE
    assert _states(restarted)["report"] == pb.DAY_STEP_STATE_WAITING
    day.now += timedelta(days=1)
    await restarted.round()
    assert day.tried[DayStep.SESSION] == 2
    assert [name for name, _ in await day.kept()].count("2026-03-04 session") == 1
    assert ("2026-03-05 session", "OK") in await day.kept()


async def test_a_step_that_fails_is_tried_until_its_time_is_over(day) -> None:
    """What heals is done; what doesn't is kept as failed with its reason, and not tried again."""
    day.failing = {DayStep.SESSION, DayStep.LIMITS}
    cycle = day.cycle()
    await cycle.round()
    assert _states(cycle)["session"] == pb.DAY_STEP_STATE_TRYING
    day.failing = {DayStep.LIMITS}
    await cycle.round()
    assert _states(cycle)["session"] == pb.DAY_STEP_STATE_DONE
    day.now = datetime(2026, 3, 4, 9, 15, tzinfo=IST)
    with capture_logs() as logs:
        await cycle.round()
        await cycle.round()
    alarms = [(one["event"], one["step"], one["message"]) for one in logs if one.get("alarm")]
    assert alarms == [("day.step_failed", "limits", "no limits yet")]
    assert _states(cycle)["limits"] == pb.DAY_STEP_STATE_FAILED
    assert day.tried[DayStep.LIMITS] == 3
    assert ("2026-03-04 limits", "FAILED_PRECONDITION") in await day.kept()
    (limits,) = [one for one in day.cycle().messages()[1] or cycle.messages()[1] if one.name == "limits"]
    assert "no limits yet" in limits.message


async def test_rule_14_what_is_held_is_looked_at_three_times_each_once_over_a_restart(day) -> None:
    """At the cut-off, two and five minutes later; what one look doesn't find in its time is an alarm of its own."""
    looks = [DayStep.CUT_OFF, DayStep.COVERED, DayStep.FLAT]
    day.failing, cycle = {DayStep.COVERED}, day.cycle()
    alarms = []
    with capture_logs() as logs:
        for minute in (0, 1, 2, 4, 5, 6):
            day.now = datetime(2026, 3, 4, 15, minute, tzinfo=IST)
            if minute == 4:
                cycle = day.cycle()
            await cycle.round()
            alarms.append(
                [one["step"] for one in logs if one.get("alarm") and one["step"] == "cut-off +2 min"]
            )
    assert [day.tried[look] for look in looks] == [1, 3, 1]
    assert alarms == [[], [], [], [], ["cut-off +2 min"], ["cut-off +2 min"]]
    kept = [one for one in await day.kept() if "cut-off" in one[0]]
    assert kept == [
        ("2026-03-04 cut-off", "OK"),
        ("2026-03-04 cut-off +2 min", "FAILED_PRECONDITION"),
        ("2026-03-04 cut-off +5 min", "OK"),
    ]


async def test_while_market_time_is_unknown_nothing_is_due(day) -> None:
    """A status then shows no steps, because there is no day."""
    day.now = None
    cycle = day.cycle()
    await cycle.round()
    assert cycle.messages() == ("", [])
    assert not day.tried
