"""Preflight checks: run before anything trades; some block the start, others are only reported."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from alphapanda.app.calendars import ending
from alphapanda.app.probes import traded_segments
from alphapanda.app.resources import ProcessResources, enabled_brokers
from alphapanda.domain.calendar import TradingCalendar
from alphapanda.storage.schema import schema_version

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StartCheck:
    """The result of one check: whether it passed, what it found, and whether a failure blocks the start."""

    name: str
    detail: str
    passed: bool
    blocks: bool


async def preflight(
    resources: ProcessResources, differences: Sequence[str], wall_time: datetime
) -> list[StartCheck]:
    """Runs all checks. A dependency that can't be reached raises its own error."""
    version = await schema_version(resources.engine)
    await resources.redis.ping()
    topics = await resources.log.topics()
    missing = [spec.name for spec in resources.topic_map.specs() if spec.name not in topics]
    return [
        StartCheck("database", "answers", passed=True, blocks=True),
        StartCheck(
            "schema", f"at {version.current}, needed {version.needed}", passed=version.up_to_date, blocks=True
        ),
        StartCheck("redis", "answers", passed=True, blocks=True),
        StartCheck("log", f"{len(topics)} topics", passed=True, blocks=True),
        StartCheck(
            "topics",
            f"missing: {', '.join(missing)}" if missing else "all there",
            passed=not missing,
            blocks=True,
        ),
        StartCheck(
            "topics as specified", "; ".join(differences) or "yes", passed=not differences, blocks=False
        ),
        _clock(resources.calendar, wall_time),
        StartCheck(
            "instruments",
            f"{len(resources.directory)} known",
            passed=len(resources.directory) > 0,
            blocks=True,
        ),
        _market(resources.calendar, traded_segments(resources.calendar, resources.directory), wall_time),
        _calendar(resources, wall_time),
        *_brokers(resources),
    ]


def blocking(checks: Iterable[StartCheck]) -> str:
    """Names the failed checks that block the start, in one line; empty where none does."""
    return "; ".join(f"{check.name}: {check.detail}" for check in checks if check.blocks and not check.passed)


def log_checks(checks: Iterable[StartCheck]) -> None:
    """Logs a line for each check."""
    for check in checks:
        _log.info(
            "preflight.checked",
            check=check.name,
            passed=check.passed,
            detail=check.detail,
            blocks=check.blocks,
        )


def _brokers(resources: ProcessResources) -> Iterator[StartCheck]:
    """One check for each active broker."""
    enabled, simulated = enabled_brokers(resources.settings), resources.simulated_brokers
    for broker in resources.settings.active_brokers:
        is_on = broker in enabled
        detail = (
            ("on, simulated" if broker in simulated else "on, live") if is_on else "active but not enabled"
        )
        yield StartCheck(f"broker {broker}", detail, passed=is_on, blocks=False)


def _clock(calendar: TradingCalendar, wall_time: datetime) -> StartCheck:
    covered = calendar.covers(calendar.trading_day(wall_time))
    detail = f"{wall_time:%Y-%m-%d %H:%M:%S} UTC"
    return StartCheck(
        "clock", detail if covered else f"{detail} is beyond the calendar", passed=covered, blocks=False
    )


def _calendar(resources: ProcessResources, wall_time: datetime) -> StartCheck:
    calendar = resources.calendar
    said = ending(calendar, calendar.trading_day(wall_time), resources.settings.calendar.warn_days)
    detail = said or f"up to {calendar.last_announced_day}"
    return StartCheck("calendar", detail, passed=said is None, blocks=False)


def _market(calendar: TradingCalendar, segments: Collection[str], wall_time: datetime) -> StartCheck:
    if not calendar.covers(calendar.trading_day(wall_time)):
        return StartCheck("exchange", "not in the calendar", passed=False, blocks=False)
    opens = [calendar.session_at(wall_time, segment) for segment in segments]
    return StartCheck(
        "exchange", "open" if any(opens) else "closed now (NSE)", passed=any(opens), blocks=False
    )
