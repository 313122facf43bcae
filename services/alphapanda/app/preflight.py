"""Preflight checks: run before anything trades; some block the start, others are only reported."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from alphapanda.app.calendars import ending
from alphapanda.app.probes import traded_segments
from alphapanda.app.resources import ProcessResources, enabled_brokers
from alphapanda.domain.calendar import TradingCalendar
from alphapanda.storage.schema import schema_version


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check: whether it passed, what it found, and whether a failure blocks the start."""

    name: str
    detail: str
    passed: bool
    blocks: bool


async def preflight(
    resources: ProcessResources, differences: Sequence[str], wall_time: datetime
) -> list[Check]:
    """Runs all checks. A dependency that can't be reached raises its own error."""
    version = await schema_version(resources.engine)
    await resources.redis.ping()
    topics = await resources.log.topics()
    missing = [spec.name for spec in resources.topic_map.specs() if spec.name not in topics]
    enabled = enabled_brokers(resources.settings)
    off = [broker for broker in resources.settings.active_brokers if broker not in enabled]
    return [
        Check("database", "answers", passed=True, blocks=True),
        Check(
            "schema", f"at {version.current}, needed {version.needed}", passed=version.up_to_date, blocks=True
        ),
        Check("redis", "answers", passed=True, blocks=True),
        Check("log", f"{len(topics)} topics", passed=True, blocks=True),
        Check(
            "topics",
            f"missing: {', '.join(missing)}" if missing else "all there",
            passed=not missing,
            blocks=True,
        ),
        Check("topics as specified", "; ".join(differences) or "yes", passed=not differences, blocks=False),
        _clock(resources.calendar, wall_time),
        Check(
            "instruments",
            f"{len(resources.directory)} known",
            passed=len(resources.directory) > 0,
            blocks=True,
        ),
        _market(resources.calendar, traded_segments(resources.calendar, resources.directory), wall_time),
        _calendar(resources, wall_time),
        Check("brokers", f"off: {', '.join(off)}" if off else "all on", passed=not off, blocks=False),
    ]


def _clock(calendar: TradingCalendar, wall_time: datetime) -> Check:
    covered = calendar.covers(calendar.trading_day(wall_time))
    detail = f"{wall_time:%Y-%m-%d %H:%M:%S} UTC"
    return Check(
        "clock", detail if covered else f"{detail} is beyond the calendar", passed=covered, blocks=False
    )


def _calendar(resources: ProcessResources, wall_time: datetime) -> Check:
    calendar = resources.calendar
    said = ending(calendar, calendar.trading_day(wall_time), resources.settings.calendar.warn_days)
    detail = said or f"up to {calendar.last_announced_day}"
    return Check("calendar", detail, passed=said is None, blocks=False)


def _market(calendar: TradingCalendar, segments: Collection[str], wall_time: datetime) -> Check:
    if not calendar.covers(calendar.trading_day(wall_time)):
        return Check("exchange", "not in the calendar", passed=False, blocks=False)
    opens = [calendar.session_at(wall_time, segment) for segment in segments]
    return Check("exchange", "open" if any(opens) else "closed now (NSE)", passed=any(opens), blocks=False)
