"""Settings of a running process: topics, consumers, logs, reconnection, checks and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from alphapanda.settings_section import Seconds, Section

LogLevel = Literal["debug", "info", "warning", "error"]


class TopicsSettings(Section):
    """How long topics keep their records, by the contract's retention class; of topics that don't exist yet.

    Partitions, cleanup and each topic's class are the contract's (rule 10); copies are kafka.replication_factor.
    """

    short_retention_hours: int = Field(12, ge=1, le=168, description="hours that market data is kept")
    medium_retention_hours: int = Field(
        7 * 24, ge=24, le=8784, description="hours that signals, verdicts and snapshots are kept"
    )
    long_retention_hours: int = Field(
        400 * 24,
        ge=168,
        le=87_840,
        description="hours that orders and all .dlq topics are kept",
    )


class ConsumerSettings(Section):
    """Every consumer's way with failures, where its own section doesn't say otherwise."""

    batch_size: int = Field(500, ge=1, le=10_000, description="records handled at once")
    concurrency: int = Field(4, ge=1, le=64, description="partitions of a broker handled at once")
    backoff_initial_seconds: Seconds = Field(0.1, description="first wait after a transient failure")
    backoff_max_seconds: Seconds = Field(10.0, description="longest wait after a transient failure")
    bug_attempts: int = Field(
        3, ge=1, le=100, description="attempts before a failing record is taken for a bug"
    )
    breaker_failures: int = Field(
        5, ge=1, le=1000, description="failures in a row that open the circuit to what is away"
    )
    breaker_seconds: Seconds = Field(5.0, description="how long an open circuit waits before it is tried")


class ConsumerOverrides(Section):
    """One consumer's own way with failures; what isn't said is as in consumers.defaults."""

    batch_size: int | None = Field(None, ge=1, le=10_000, description="records handled at once")
    concurrency: int | None = Field(None, ge=1, le=64, description="partitions of a broker handled at once")
    backoff_initial_seconds: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="first wait after a transient failure"
    )
    backoff_max_seconds: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="longest wait after a transient failure"
    )
    bug_attempts: int | None = Field(
        None, ge=1, le=100, description="attempts before a failing record is taken for a bug"
    )
    breaker_failures: int | None = Field(
        None, ge=1, le=1000, description="failures in a row that open the circuit to what is away"
    )
    breaker_seconds: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="how long an open circuit waits before it is tried"
    )


class ConsumersSettings(Section):
    """The consumers, by the names of their groups with "_" for "."."""

    defaults: ConsumerSettings = ConsumerSettings()
    strategy: ConsumerOverrides = ConsumerOverrides()
    risk_signals: ConsumerOverrides = ConsumerOverrides()
    risk_orders: ConsumerOverrides = ConsumerOverrides()
    trading: ConsumerOverrides = ConsumerOverrides()
    portfolio: ConsumerOverrides = ConsumerOverrides()

    def policy(self, group: str) -> ConsumerSettings:
        """A consumer's settings: its own over the defaults."""
        own: ConsumerOverrides = getattr(self, group.replace(".", "_"))
        return self.defaults.model_copy(update=own.model_dump(exclude_none=True))


class LogRotation(Section):
    """How large and how old a log file grows, and how many are kept."""

    max_megabytes: int = Field(50, ge=1, le=10_000, description="at this size the file is set aside")
    rotate_hours: int = Field(
        24,
        ge=0,
        le=8760,
        description="after so many hours too, counted from midnight in India; 0: at its size alone",
    )
    keep_files: int = Field(10, ge=1, le=1000, description="files set aside that are kept; the oldest goes")


class LogChannelSettings(LogRotation):
    """One channel of the log, in a file of its own beside the process's log."""

    level: LogLevel = Field("info", description="least level written to its file")


class TradingLogSettings(LogChannelSettings):
    """Orders, fills and verdicts."""


class AuditLogSettings(LogChannelSettings):
    """Who gave which command, and what came of it."""

    keep_files: int = Field(400, ge=1, le=1000, description="files set aside that are kept; the oldest goes")


class PerformanceLogSettings(LogChannelSettings):
    """Handlers and queries that were slow."""


class ApiLogSettings(LogChannelSettings):
    """Commands, failed and slow calls."""


class DatabaseLogSettings(LogChannelSettings):
    """The database and the outboxes."""


class MarketDataLogSettings(LogChannelSettings):
    """Feeds; never a line for a tick."""


class LoggingSettings(LogRotation):
    """Logs: every line goes to the process's own log, and to its channel's file where there is a folder."""

    level: LogLevel = Field("info", description="least level written to the process's own log")
    format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto: console on a terminal, else JSON; files are always JSON"
    )
    folder: Path | None = Field(
        None,
        description="folder of the channels' files; default: logs/ in the data directory, none for serve",
    )
    trading: TradingLogSettings = TradingLogSettings()
    audit: AuditLogSettings = AuditLogSettings()
    performance: PerformanceLogSettings = PerformanceLogSettings()
    api: ApiLogSettings = ApiLogSettings()
    database: DatabaseLogSettings = DatabaseLogSettings()
    market_data: MarketDataLogSettings = MarketDataLogSettings()

    def channel(self, name: str) -> LogChannelSettings:
        """The settings of a channel."""
        found: LogChannelSettings = getattr(self, name)
        return found


class ReconnectionSettings(Section):
    """How what is away is tried again: Redis within a call, what the market is written to, all at a service's start."""

    initial_seconds: Seconds = Field(0.05, description="first wait; it doubles from failure to failure")
    max_seconds: Seconds = Field(1.0, description="longest wait")
    redis_attempts: int = Field(
        3, ge=0, le=20, description="attempts made again before a call to Redis has failed"
    )


class HealthCheckSettings(Section):
    """What is actively checked while it runs: database, Redis, feed, lag, snapshots."""

    interval_seconds: Seconds = Field(
        30.0, description="between two rounds of checks; at most 5 while one isn't well"
    )
    timeout_seconds: Seconds = Field(5.0, description="longest wait for an answer")
    redis_timeout_seconds: Seconds = Field(5.0, description="longest wait for Redis")
    database_timeout_seconds: Seconds = Field(10.0, description="longest wait for PostgreSQL")
    tick_max_age_seconds: Seconds = Field(
        30.0, description="wall age of the newest frame in session from which marketdata is NOT_SERVING"
    )
    snapshot_max_age_seconds: Seconds = Field(
        600.0, description="market time without portfolio snapshots from which that is told"
    )
    max_lag: int = Field(
        1000,
        ge=0,
        description="records a group may be behind on a topic, and a reader of whole topics, before that is told",
    )
    max_latency_seconds: Seconds = Field(
        1.0, description="a round trip to PostgreSQL or Redis that takes longer is told"
    )
    grace_seconds: float = Field(
        30.0, ge=0, allow_inf_nan=False, description="after the start, while bad answers are forgiven"
    )


class MonitoringSettings(Section):
    """What is watched while it runs."""

    metrics: bool = Field(
        default=True, description="false: no figures are kept, whoever would read or collect them"
    )
    metrics_interval_seconds: Seconds = Field(
        10.0, description="between two looks at the services' figures, and between two deliveries by OTLP"
    )
    prometheus_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="port of /metrics for Prometheus, on api.host; 0: there is none",
    )
    slow_call_seconds: Seconds = Field(0.5, description="an answer that takes longer is logged")
    slow_handler_seconds: Seconds = Field(1.0, description="a batch of records that takes longer is logged")
    slow_query_seconds: Seconds = Field(
        0.5, description="a statement that takes longer is logged, without its values"
    )


class TelemetrySettings(Section):
    """Where figures are delivered, in OpenTelemetry's own protocol."""

    otlp_endpoint: str = Field(
        "",
        pattern=r"^(https?://[^\s/]+/?)?$",
        description="collector that takes OTLP over gRPC, http://HOST:4317 or https://HOST:4317; empty: there is none",
    )
    otlp_timeout_seconds: Seconds = Field(5.0, description="longest wait for the collector")
