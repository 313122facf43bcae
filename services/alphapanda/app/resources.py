"""Resources shared by a process's services: one set of adapters, and what is known before any of them is built."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import EqualJitterBackoff
from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.consuming.dead_letters import DeadLetters
from alphapanda.contract.topics import TopicMap
from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.routing import DEFAULT_BROKER, ExecutionRouter
from alphapanda.eventlog.port import EventLog
from alphapanda.settings.model import Settings
from alphapanda.settings.operation import ReconnectionSettings
from alphapanda.storage.kill_switch_mirror import KillSwitchMirror
from alphapanda.storage.price_cache import PriceCache
from alphapanda.trading.traders.registry import BrokerRegistry

if TYPE_CHECKING:
    from alphapanda.telemetry.metrics import Metrics

IST: Final = ZoneInfo("Asia/Kolkata")


def wall_clock() -> datetime:
    """Wall time, aware."""
    return datetime.now(UTC)


def boot_clock() -> float:
    """Seconds since boot, suspension included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def open_redis(url: str, reconnection: ReconnectionSettings) -> Redis:
    """Redis, connected when first used. A call is tried again a few times, so that a restarted server is not an error.

    Args:
        url: `redis://…`, `rediss://…` or `unix://…`.
        reconnection: how often, and the waits between; then the call fails, as an exit doesn't wait for Redis.
    """
    backoff = EqualJitterBackoff(cap=reconnection.max_seconds, base=reconnection.initial_seconds)
    return Redis.from_url(url, retry=Retry(backoff, reconnection.redis_attempts))


@dataclass(frozen=True, slots=True)
class ProcessResources:
    """The adapters of a process and what is known before any room is built.

    Attributes:
        settings: all of them.
        engine: the database.
        paper_engine: connections of the paper exchange's own: it stands where a broker stands.
        redis: Redis.
        log: the event log.
        topic_map: topics of the active brokers.
        brokers: the registered brokers.
        calendar: sessions.
        directory: the instruments of today.
        target: where a service's RPCs are answered, "127.0.0.1:50051", by its short name.
        metrics: the process's figures; None where they are switched off.
    """

    settings: Settings
    engine: AsyncEngine
    paper_engine: AsyncEngine
    redis: Redis
    log: EventLog
    topic_map: TopicMap
    brokers: BrokerRegistry
    calendar: TradingCalendar
    directory: InstrumentDirectory
    target: Callable[[str], str]
    metrics: Metrics | None

    @property
    def instruments(self) -> Callable[[], InstrumentDirectory]:
        """The directory as rooms ask for it."""
        return lambda: self.directory

    @property
    def prices(self) -> PriceCache:
        """The price cache."""
        return PriceCache(self.redis, self.settings.marketdata.clock_max_age_seconds, wall_clock)

    @property
    def mirror(self) -> KillSwitchMirror:
        """The kill switch as Redis shows it."""
        return KillSwitchMirror(self.redis)

    @property
    def dead_letters(self) -> DeadLetters:
        """Where records go that can't be read."""
        return DeadLetters(self.log)

    @property
    def router(self) -> ExecutionRouter:
        """Which brokers get what."""
        return ExecutionRouter(enabled_brokers(self.settings))

    @property
    def simulated_brokers(self) -> Sequence[str]:
        """Enabled brokers whose orders never reach a real exchange."""
        live = self.brokers.live(self.settings.active_brokers)
        return [broker for broker in enabled_brokers(self.settings) if broker not in live]


def enabled_brokers(settings: Settings) -> tuple[str, ...]:
    """Active brokers that orders may go to, in the deployment's order. One without a switch of its own is enabled."""
    switches = {DEFAULT_BROKER: settings.paper_trading.enabled, "zerodha": settings.zerodha.enabled}
    return tuple(broker for broker in settings.active_brokers if switches.get(broker, True))
