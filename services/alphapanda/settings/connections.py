"""Settings of what the services connect to: PostgreSQL, Redis, Kafka, the collector of metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from alphapanda.settings.section import Seconds, Section


class DatabaseSettings(Section):
    """PostgreSQL. `alphapanda up` brings its own and sets the URL."""

    url: str = Field(
        "",
        pattern=r"^(postgresql\+asyncpg://\S+)?$",
        description="postgresql+asyncpg://…; empty: the embedded one",
        repr=False,
    )
    pool_size: int = Field(10, ge=1, le=200, description="connections kept by each service")


class RedisSettings(Section):
    """Redis. `alphapanda up` brings its own and sets the URL."""

    url: str = Field(
        "",
        pattern=r"^((rediss?|unix)://\S+)?$",
        description="redis://…, rediss://… or unix://…; empty: the embedded one",
        repr=False,
    )


class KafkaSettings(Section):
    """Kafka, the log of the mesh. `alphapanda up` needs none."""

    bootstrap_servers: str = Field(
        "localhost:9092", min_length=1, description="host:port of brokers to begin with, by commas"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how the brokers are spoken to; SSL: encrypted, SASL: with a password"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="how the password is proved where security_protocol begins with SASL"
    )
    sasl_username: str = Field("", description="who speaks to the brokers, with SASL")
    sasl_password: str = Field("", description="its password", repr=False)
    ca_file: Path | None = Field(
        None, description="PEM file of who vouches for the brokers, with SSL; empty: whom the system trusts"
    )
    client_id: str = Field(
        "alpha-panda-client", min_length=1, description="name in the brokers' logs and quotas"
    )
    group_prefix: str = Field(
        "alpha-panda", min_length=1, description="what every consumer group's id begins with"
    )
    instance_id: str = Field(
        "", description="this process's own name for static membership; empty: members are dynamic"
    )
    replication_factor: int = Field(
        1, ge=1, le=32767, description="copies of a new topic; all but one must have a record (one at least)"
    )
    compression: Literal["none", "gzip", "lz4"] = Field("lz4", description="of market data")
    linger_ms: int = Field(5, ge=0, le=1000, description="how long market data waits for company")
    session_timeout_seconds: Seconds = Field(
        10.0, description="a silent group member loses its partitions after this"
    )
    request_timeout_seconds: Seconds = Field(
        10.0, description="longest wait for an answer, a publish's included"
    )

    @property
    def encrypted(self) -> bool:
        """Whether nothing goes in plaintext."""
        return self.security_protocol.endswith("SSL")

    @property
    def authenticated(self) -> bool:
        """Whether a password is asked for."""
        return self.security_protocol.startswith("SASL")


class TelemetrySettings(Section):
    """Where figures are delivered, in OpenTelemetry's own protocol."""

    otlp_endpoint: str = Field(
        "",
        pattern=r"^(https?://[^\s/]+/?)?$",
        description="collector that takes OTLP over gRPC, http://HOST:4317 or https://HOST:4317; empty: there is none",
    )
    otlp_timeout_seconds: Seconds = Field(5.0, description="longest wait for the collector")
