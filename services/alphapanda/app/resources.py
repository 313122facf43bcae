"""Resources shared by the services of a process: adapters, settings, calendar and instruments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import grpc
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import EqualJitterBackoff
from sqlalchemy.ext.asyncio import AsyncEngine

from alphapanda.app.clocks import wall_clock
from alphapanda.app.security import UNSECURED, ProcessSecurity
from alphapanda.app.spans import Tracers, no_tracers
from alphapanda.consuming.dead_letters import DeadLetters
from alphapanda.contract.topics import TopicMap
from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.fill_rule import FillRule
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.routing import DEFAULT_BROKER, ExecutionRouter
from alphapanda.eventlog.port import EventLog
from alphapanda.mesh.channel import open_channel
from alphapanda.ops.backups import WriteBackup
from alphapanda.settings.model import Settings
from alphapanda.settings.operation import RetrySettings
from alphapanda.storage.kill_switch_mirror import KillSwitchMirror
from alphapanda.storage.price_cache import BudgetedViews, ExecutionViews, PriceCache
from alphapanda.telemetry.figures import NOT_MEASURED, Figures
from alphapanda.trading.traders.registry import BrokerRegistry

if TYPE_CHECKING:
    from alphapanda.app.kite_parts import KiteParts
    from alphapanda.telemetry.metrics import Metrics

REDIS_CONNECTIONS: Final = 5000
"""More than there are calls at once (`api.max_…`); the library's own limit is 100, beyond which calls fail."""


def open_redis(url: str, retry: RetrySettings, timeout_seconds: float) -> Redis:
    """Opens a Redis client, which connects when first used. Calls are retried, so a restarted server is no error.

    Each call under way has a connection of its own: a kill switch never lacks one because others hold them all.

    Args:
        url: `redis://…`, `rediss://…` or `unix://…`.
        retry: number of retries and the waits between them. Then the call fails: an exit must not wait for Redis.
        timeout_seconds: longest wait for a connection, and for the answer of one attempt.
    """
    backoff = EqualJitterBackoff(cap=retry.max_seconds, base=retry.initial_seconds)
    return Redis.from_url(
        url,
        retry=Retry(backoff, retry.redis_attempts),
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        max_connections=REDIS_CONNECTIONS,
    )


@dataclass(frozen=True, slots=True)
class ProcessResources:
    """The shared resources of a process.

    Attributes:
        settings: all settings.
        engine: the services' database.
        paper_engine: the paper exchange's own connections, because it takes the place of an external broker.
        redis: the Redis client.
        log: the event log.
        topic_map: topics of the active brokers.
        brokers: the registered brokers.
        calendar: trading sessions.
        directory: today's instruments.
        target: returns the address of a service ("127.0.0.1:50051") by its short name.
        metrics: the process's metrics; None where they are switched off.
        tracer: returns the tracer of a service by its short name.
        write_backup: writes a backup of the process's data directory; None where it has none.
        security: TLS of its server and its channels.
        elsewhere: returns whether a service, by its short name, runs in another process.
        kite: calls Zerodha; None where it isn't used, or no service of this process does.
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
    tracer: Tracers = no_tracers
    write_backup: WriteBackup | None = None
    security: ProcessSecurity = UNSECURED
    elsewhere: Callable[[str], bool] = lambda _: False
    kite: KiteParts | None = None

    def channel(self, service: str, *names: str, caller: str) -> grpc.aio.Channel:
        """A channel to a service, by its short name, for the stubs of these services (full names); `caller` records its calls."""
        security = self.security.channels if self.elsewhere(service) else self.security.own
        return open_channel(self.target(service), names, security=security, tracer=self.tracer(caller))

    @property
    def figures(self) -> Figures:
        """Receives what the services measure; nothing where metrics are switched off."""
        return self.metrics or NOT_MEASURED

    @property
    def instruments(self) -> Callable[[], InstrumentDirectory]:
        """Returns the instrument directory, as a function."""
        return lambda: self.directory

    @property
    def prices(self) -> PriceCache:
        """The price cache."""
        return PriceCache(
            self.redis,
            self.settings.marketdata.clock_max_age_seconds,
            wall_clock,
            bars=self.settings.paper_trading.fill is FillRule.NEXT_OPEN,
            firsts=bool(self.settings.paper_trading.circuit_percent),
        )

    @property
    def prices_for_decisions(self) -> ExecutionViews:
        """The price cache as decisions read it: within their budget, else it can't be read."""
        return BudgetedViews(self.prices, self.settings.redis.decision_budget_seconds)

    @property
    def mirror(self) -> KillSwitchMirror:
        """The mirror of the kill switches in Redis."""
        return KillSwitchMirror(self.redis, self.settings.redis.decision_budget_seconds)

    @property
    def dead_letters(self) -> DeadLetters:
        """The writer of dead letters."""
        return DeadLetters(self.log)

    @property
    def router(self) -> ExecutionRouter:
        """Decides which brokers get a strategy's signals."""
        return ExecutionRouter(enabled_brokers(self.settings))

    @property
    def simulated_brokers(self) -> Sequence[str]:
        """Enabled brokers whose orders never reach a real exchange."""
        return simulated_brokers(self.settings, self.brokers)


def simulated_brokers(settings: Settings, brokers: BrokerRegistry) -> list[str]:
    """Returns the enabled brokers whose orders never reach a real exchange, in order."""
    live = brokers.live(settings.active_brokers)
    return [broker for broker in enabled_brokers(settings) if broker not in live]


def enabled_brokers(settings: Settings) -> tuple[str, ...]:
    """Returns the active brokers that may get orders, in order. A broker without an `enabled` setting is enabled."""
    switches = {DEFAULT_BROKER: settings.paper_trading.enabled, "zerodha": settings.zerodha.enabled}
    return tuple(broker for broker in settings.active_brokers if switches.get(broker, True))
