"""Settings of a running process: retention of topics and rows, retries, reconnection, health checks, metrics."""

from __future__ import annotations

import re
from typing import Final

from pydantic import Field, field_validator

from alphapanda.settings.section import Seconds, Section

_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+")


class TopicsSettings(Section):
    """How long new topics keep their records, by the retention class in the contract.

    Partitions, cleanup and each topic's class are the contract's (rule 10); copies are kafka.replication_factor.
    """

    short_retention_hours: int = Field(12, ge=1, le=168, description="hours that market data is kept")
    medium_retention_hours: int = Field(
        7 * 24, ge=24, le=8784, description="hours that signals, verdicts and snapshots are kept"
    )
    long_retention_hours: int = Field(
        400 * 24, ge=168, le=87_840, description="hours that orders and all .dlq topics are kept"
    )


class RetentionSettings(Section):
    """How long rows of the database are kept that nobody trades or accounts by.

    Orders, fills, ledger and snapshots of accounts are kept for ever.
    """

    requests_hours: float = Field(
        30 * 24,
        gt=0,
        le=87_840,
        description="hours that answers to commands are kept, for a repeated request_id",
    )
    outbox_hours: float = Field(
        7 * 24, gt=0, le=87_840, description="hours that published events are kept, for a repair of the log"
    )
    decisions_hours: float = Field(
        420 * 24,
        gt=0,
        le=87_840,
        description="hours that verdicts are kept; longer than any topic's records, which must not be decided twice",
    )
    look_ups_hours: float = Field(
        30 * 24, gt=0, le=87_840, description="hours that the paper exchange's journal keeps look-ups"
    )
    audit_hours: float = Field(
        365 * 24,
        ge=365 * 24,
        le=87_840,
        description="hours that the audit of commands is kept; the database refuses to delete it within a year",
    )
    interval_seconds: Seconds = Field(3600.0, description="between two rounds of deleting")


class RetrySettings(Section):
    """Retries of what is away: Redis within a call, the stores of market data, every dependency at a start."""

    initial_seconds: Seconds = Field(0.05, description="first wait; it doubles from failure to failure")
    max_seconds: Seconds = Field(1.0, description="longest wait")
    redis_attempts: int = Field(
        3, ge=0, le=20, description="retries of a call to Redis before it counts as failed"
    )


class ReconnectionSettings(Section):
    """Reconnection of a broker's stream of ticks. After the last attempt it is an alarm, and goes on slowly."""

    max_attempts: int = Field(
        5, ge=1, le=100, description="attempts in a row before it is an alarm; then one in max_delay_seconds"
    )
    base_delay_seconds: Seconds = Field(
        1.0, description="wait before the first attempt, of which jitter takes up to half"
    )
    backoff_multiplier: float = Field(
        2.0, ge=1, le=10, allow_inf_nan=False, description="how much longer each wait is than the one before"
    )
    max_delay_seconds: Seconds = Field(60.0, description="longest wait")
    timeout_seconds: Seconds = Field(10.0, description="longest wait until a connection stands")


class HealthCheckSettings(Section):
    """Checks while it runs: database, Redis, feed, lag, snapshots, memory, processors, disk."""

    interval_seconds: Seconds = Field(
        30.0, description="between two rounds of checks; at most 5 while a check fails"
    )
    timeout_seconds: Seconds = Field(5.0, description="longest wait for an answer")
    redis_timeout_seconds: Seconds = Field(5.0, description="longest wait for Redis")
    database_timeout_seconds: Seconds = Field(10.0, description="longest wait for PostgreSQL")
    tick_max_age_seconds: Seconds = Field(
        30.0, description="wall age of the newest frame in session from which marketdata is NOT_SERVING"
    )
    snapshot_max_age_seconds: Seconds = Field(
        600.0, description="market time without portfolio snapshots from which portfolio is NOT_SERVING"
    )
    market_data_max_latency_seconds: Seconds = Field(
        1.0,
        description="a frame that takes longer to be published is reported; a live feed's since its exchange time",
    )
    max_memory: float = Field(
        0.9, gt=0, le=1, description="used share of the machine's memory that is an alarm"
    )
    max_cpu: float = Field(
        0.8, gt=0, le=1, description="used share of the machine's processors that is an alarm after a minute"
    )
    max_disk: float = Field(0.9, gt=0, le=1, description="used share of the data's disk that is an alarm")
    max_lag: int = Field(
        1000,
        ge=0,
        description="records that a group, or a reader of whole topics, may be behind before it is reported",
    )
    max_latency_seconds: Seconds = Field(
        1.0, description="a round trip to PostgreSQL or Redis that takes longer is reported"
    )
    grace_seconds: float = Field(
        30.0,
        ge=0,
        allow_inf_nan=False,
        description="after the start, failed checks are ignored for this long",
    )


class MonitoringSettings(Section):
    """What is watched while it runs."""

    metrics: bool = Field(default=True, description="false: no metrics are kept, sent or served")
    metrics_interval_seconds: Seconds = Field(
        10.0, description="between two collections of the services' metrics, and between two exports by OTLP"
    )
    prometheus_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="HTTP port of /metrics for Prometheus, /healthz and /readyz, without encryption; 0: none",
    )
    prometheus_host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="address of that port; anything but loopback shows figures to whoever reaches it",
    )
    cors_origins: tuple[str, ...] = Field(
        (), description="origins, such as https://desk.example, whose pages may read them; * alone: any"
    )
    slow_call_seconds: Seconds = Field(0.5, description="a call that takes longer is logged")
    slow_handler_seconds: Seconds = Field(1.0, description="a batch of records that takes longer is logged")
    slow_query_seconds: Seconds = Field(
        0.5, description="a statement that takes longer is logged, without its values"
    )

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        if "*" in origins and len(origins) > 1:
            raise ValueError("* beside names: either * alone, or the names of the origins")
        for origin in origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin!r} is no origin: https://HOST or https://HOST:PORT, without a path"
                )
        return origins
