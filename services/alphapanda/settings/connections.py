"""Settings of what the services connect to: PostgreSQL, Redis, Kafka, the collector of metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import Field

from alphapanda.eventlog.kafka.options import Compression, KafkaOptions, SaslMechanism, SecurityProtocol
from alphapanda.settings.section import Seconds, Section

_KAFKA: Final = KafkaOptions()


class DatabaseSettings(Section):
    """PostgreSQL. `alphapanda up` brings its own and sets the URL."""

    url: str = Field(
        "",
        pattern=r"^(postgresql\+asyncpg://\S+)?$",
        description="postgresql+asyncpg://…; empty: the embedded one",
        repr=False,
    )
    pool_size: int = Field(
        10,
        ge=1,
        le=200,
        description="connections kept open by each service; its calls have as many again, apart from these",
    )


class RedisSettings(Section):
    """Redis. `alphapanda up` brings its own and sets the URL."""

    url: str = Field(
        "",
        pattern=r"^((rediss?|unix)://\S+)?$",
        description="redis://…, rediss://… or unix://…; empty: the embedded one",
        repr=False,
    )
    timeout_seconds: Seconds = Field(
        2.0, description="longest wait for a connection, and for one answer; then the call is tried again"
    )
    decision_budget_seconds: Seconds = Field(
        0.5,
        description="longest wait for prices, market time and kill switches before an order is decided; then they are unknown",
    )


class KafkaSettings(Section):
    """Kafka, the event log of `alphapanda serve`. `alphapanda up` needs none."""

    bootstrap_servers: str = Field(
        _KAFKA.bootstrap_servers,
        min_length=1,
        description="host:port of the brokers to connect to first, separated by commas",
    )
    security_protocol: SecurityProtocol = Field(
        _KAFKA.security_protocol,
        description="how to connect to the brokers; SSL: encrypted, SASL: with a user and a password",
    )
    sasl_mechanism: SaslMechanism = Field(
        _KAFKA.sasl_mechanism,
        description="how the password is proved where security_protocol begins with SASL",
    )
    sasl_username: str = Field(_KAFKA.sasl_username, description="user, with SASL")
    sasl_password: str = Field(_KAFKA.sasl_password, description="the user's password", repr=False)
    ca_file: Path | None = Field(
        _KAFKA.ca_file,
        description="PEM file of the certificate authority, with SSL; empty: those that the system trusts",
    )
    client_id: str = Field(
        _KAFKA.client_id, min_length=1, description="client name in the brokers' logs and quotas"
    )
    group_prefix: str = Field(
        _KAFKA.group_prefix, min_length=1, description="prefix of every consumer group's id"
    )
    instance_id: str = Field(
        _KAFKA.instance_id,
        description="name of this process for static group membership; empty: members are dynamic",
    )
    replication_factor: int = Field(
        _KAFKA.replication_factor,
        ge=1,
        le=32767,
        description="copies of a new topic; all but one (at least one) must have a record before it counts as written",
    )
    compression: Compression = Field(_KAFKA.compression, description="compression of market data")
    linger_ms: int = Field(
        _KAFKA.linger_ms,
        ge=0,
        le=1000,
        description="how long the producer of market data waits to fill a batch",
    )
    session_timeout_seconds: Seconds = Field(
        _KAFKA.session_timeout_seconds,
        description="a group member that is silent for this long loses its partitions",
    )
    request_timeout_seconds: Seconds = Field(
        _KAFKA.request_timeout_seconds, description="longest wait for an answer, including a publish's"
    )


class TelemetrySettings(Section):
    """Where metrics and traces are sent by OTLP, OpenTelemetry's protocol; and of what there are traces."""

    otlp_endpoint: str = Field(
        "",
        pattern=r"^(https?://[^\s/@]+/?)?$",
        description="collector that takes OTLP over gRPC, http://HOST:4317 or https://HOST:4317; empty: none, and"
        " no traces are recorded",
    )
    otlp_metrics: bool = Field(
        True,
        description="deliver metrics to the collector, too; off for one that takes traces alone, as Jaeger",
    )
    otlp_timeout_seconds: Seconds = Field(5.0, description="longest wait for the collector")
    jaeger_url: str = Field(
        "",
        pattern=r"^(https?://[^\s@]+)?$",
        description="where Jaeger's pages are, http://HOST:16686; `trace` prints the link to an order's; empty: none",
    )
    market_data_ratio: float = Field(
        0.001,
        ge=0,
        le=1,
        description="share of the frames that led to no signal whose way is recorded as a trace; those of orders always are",
    )
    query_ratio: float = Field(
        0.01,
        ge=0,
        le=1,
        description="share of successful queries that are recorded as a span; commands and failures always are",
    )
