"""Probes of the active health checks: each returns an empty text or a degradation in one line; an exception is a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from datetime import datetime, timedelta
from time import perf_counter
from typing import Any, Final, Protocol

from alphapanda.app.clocks import wall_clock
from alphapanda.app.resources import ProcessResources
from alphapanda.consuming.follower import TopicFollower
from alphapanda.domain.calendar import CalendarNotCovered, TradingCalendar
from alphapanda.domain.frame import instant
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.marketdata.core.slowest import Slowest
from alphapanda.ops.checks import CheckFailed
from alphapanda.storage.price_cache import MarketClock

Probe = Callable[[], Coroutine[Any, Any, str]]

SECOND_LOOK_SECONDS: Final = 2.0


class RunningFeed(Protocol):
    """A running feed."""

    @property
    def feeds_now(self) -> bool:
        """Whether frames are expected now: it has begun and hasn't ended."""

    @property
    def simulated(self) -> bool:
        """Whether the feed owns its market time."""


def timed(ask: Callable[[], Awaitable[None]], most_seconds: float) -> Probe:
    """Probes a round trip: fails where there is no answer; a slow answer is a degradation."""

    async def probe() -> str:
        began = perf_counter()
        await ask()
        seconds = perf_counter() - began
        return (
            f"answers within {seconds:.1f} s; {most_seconds:g} s are allowed"
            if seconds > most_seconds
            else ""
        )

    return probe


def lag(followers: Sequence[TopicFollower], most_records: int) -> Probe:
    """Probes the lag of followers. Lag is a degradation, not a failure: a kill switch has to stay reachable.

    Followers have no group; ops (LagWatch) reports the lag of groups, even of groups without members.
    """

    async def probe() -> str:
        behind = {follower.name: sum((await follower.lag()).values()) for follower in followers}
        far = [
            f"{name} is {records} records behind"
            for name, records in behind.items()
            if records > most_records
        ]
        return f"{'; '.join(far)}; {most_records} are allowed" if far else ""

    return probe


def ticks(resources: ProcessResources, feed: RunningFeed) -> Probe:
    """Probes the age of the newest frame: fails where the feed is silent during a session. Heartbeat frames count."""
    segments = traded_segments(resources.calendar, resources.directory)

    async def probe() -> str:
        if not feed.feeds_now:
            return ""
        require_frames(
            (await resources.prices.read(())).clock,
            resources.calendar,
            segments,
            wall_clock(),
            timedelta(seconds=resources.settings.health_checks.tick_max_age_seconds),
            simulated=feed.simulated,
        )
        return ""

    return probe


def require_frames(
    clock: MarketClock | None,
    calendar: TradingCalendar,
    segments: Collection[str],
    wall_time: datetime,
    max_age: timedelta,
    *,
    simulated: bool,
) -> None:
    """Checks the age of the newest frame.

    Raises:
        CheckFailed: no frame came for `max_age` while the market trades (by the feed's own clock where it is simulated).
    """
    if clock is None:
        if not simulated and trades(calendar, segments, wall_time):
            raise CheckFailed("no frame came yet, and the exchange trades")
        return
    if not trades(calendar, segments, instant(clock.market_time_ns) if simulated else wall_time):
        return
    age = wall_time - instant(clock.wall_time_ns)
    if age > max_age:
        raise CheckFailed(
            f"the newest frame is {age.total_seconds():.0f} s old;"
            f" {max_age.total_seconds():g} s are allowed while the exchange trades"
        )


def snapshots(
    resources: ProcessResources,
    taken_to: Callable[[], datetime | None],
    second_look_seconds: float = SECOND_LOOK_SECONDS,
) -> Probe:
    """Probes the age of the newest portfolio snapshots, in market time: fails where they are too old.

    Market time may jump, over a night or where a replay goes fast. So old snapshots get a moment to reach the market time of the
    first look.
    """
    max_age = timedelta(seconds=resources.settings.health_checks.snapshot_max_age_seconds)

    async def probe() -> str:
        newest, now = taken_to(), (await resources.prices.view(())).market_time
        if newest is None or now is None or now - newest <= max_age:
            return ""
        await asyncio.sleep(second_look_seconds)
        newest = taken_to() or newest
        if now - newest <= max_age:
            return ""
        raise CheckFailed(
            f"the newest snapshots are {(now - newest).total_seconds():.0f} s of market time old;"
            f" {max_age.total_seconds():g} s are allowed"
        )

    return probe


def latency(slowest: Slowest, most_seconds: float) -> Probe:
    """Probes the latency of market data since the last probe; a slow frame is a degradation."""

    async def probe() -> str:
        seconds = slowest.take()
        if seconds is None or seconds <= most_seconds:
            return ""
        return f"a frame took {seconds:.1f} s to be published; {most_seconds:g} s are allowed"

    return probe


def traded_segments(calendar: TradingCalendar, directory: InstrumentDirectory) -> frozenset[str]:
    """The calendar segments of the known instruments."""
    return frozenset(instrument.session_segment for instrument in directory) & frozenset(calendar.segments)


def trades(calendar: TradingCalendar, segments: Collection[str], moment: datetime) -> bool:
    """Whether a session of one of these segments is open; False beyond the calendar."""
    try:
        return any(calendar.session_at(moment, segment) for segment in segments)
    except CalendarNotCovered:
        return False
