"""What active checks ask: an answer is empty, or one line of concern; what is raised keeps a service from its work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from time import perf_counter
from typing import Protocol

from alphapanda.app.resources import ProcessResources, wall_clock
from alphapanda.consuming.follower import TopicFollower
from alphapanda.domain.calendar import CalendarNotCovered, TradingCalendar
from alphapanda.domain.frame import instant
from alphapanda.ops.checks import CheckFailed
from alphapanda.storage.price_cache import MarketClock

Question = Callable[[], Awaitable[str]]


class Fed(Protocol):
    """A feed at work."""

    @property
    def feeds_now(self) -> bool:
        """Whether frames are to be expected: it has begun and not ended."""

    @property
    def simulated(self) -> bool:
        """Whether it owns its market time."""


def timed(ask: Callable[[], Awaitable[None]], most_seconds: float) -> Question:
    """A round trip that raises where there is none, and is a concern where it takes long."""

    async def asked() -> str:
        began = perf_counter()
        await ask()
        took = perf_counter() - began
        return f"answers within {took:.1f} s; {most_seconds:g} s are allowed" if took > most_seconds else ""

    return asked


def lag(followers: Sequence[TopicFollower], most_records: int) -> Question:
    """A follower that is far behind is a concern: it works, and what it serves (a kill switch) has to stay in reach.

    Followers have no group; a group's lag is told by ops (LagWatch), also while nobody reads for it.
    """

    async def asked() -> str:
        behind = {follower.name: sum((await follower.lag()).values()) for follower in followers}
        far = [
            f"{name} is {records} records behind"
            for name, records in behind.items()
            if records > most_records
        ]
        return f"{'; '.join(far)}; {most_records} are allowed" if far else ""

    return asked


def ticks(resources: ProcessResources, fed: Fed) -> Question:
    """A feed that is silent in session doesn't work; heartbeat frames count as a sign of life."""

    async def asked() -> str:
        if not fed.feeds_now:
            return ""
        require_frames(
            (await resources.prices.read(())).clock,
            resources.calendar,
            wall_clock(),
            timedelta(seconds=resources.settings.health_checks.tick_max_age_seconds),
            simulated=fed.simulated,
        )
        return ""

    return asked


def require_frames(
    clock: MarketClock | None,
    calendar: TradingCalendar,
    wall_time: datetime,
    max_age: timedelta,
    *,
    simulated: bool,
) -> None:
    """Looks how old the newest frame is.

    Raises:
        CheckFailed: the market trades, by the feed's own clock where it is simulated, and no frame came for `max_age`.
    """
    if clock is None:
        if not simulated and _trades(calendar, wall_time):
            raise CheckFailed("no frame came yet, and the exchange trades")
        return
    if not _trades(calendar, instant(clock.market_time_ns) if simulated else wall_time):
        return
    age = wall_time - instant(clock.wall_time_ns)
    if age > max_age:
        raise CheckFailed(
            f"the newest frame is {age.total_seconds():.0f} s old;"
            f" {max_age.total_seconds():g} s are allowed while the exchange trades"
        )


def snapshots(resources: ProcessResources, taken_to: Callable[[], datetime | None]) -> Question:
    """Portfolio snapshots that are not taken are a concern; measured in market time."""
    max_age = timedelta(seconds=resources.settings.health_checks.snapshot_max_age_seconds)

    async def asked() -> str:
        done, now = taken_to(), (await resources.prices.view(())).market_time
        if done is None or now is None or now - done <= max_age:
            return ""
        return (
            f"snapshots are taken up to {(now - done).total_seconds():.0f} s of market time ago;"
            f" {max_age.total_seconds():g} s are allowed"
        )

    return asked


def _trades(calendar: TradingCalendar, moment: datetime) -> bool:
    try:
        return any(calendar.session_at(moment, segment) for segment in calendar.segments)
    except CalendarNotCovered:
        return False
