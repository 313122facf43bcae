"""Every setting there is. Built once, in app.py, and handed down section by section.

Read from the environment (`ALPHAPANDA_<SECTION>__<NAME>`) over a `.env` file over a TOML file; an unknown name stops
the start and suggests the nearest one; everything wrong is told at once. `.env.example` lists them all
(`alphapanda settings --env-example`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import override

from alphapanda.domain.brokers import checked_broker
from alphapanda.settings_rooms import (
    MarketDataSettings,
    PaperTradingSettings,
    PortfolioManagerSettings,
    RiskSettings,
    StrategySettings,
    TradingSettings,
    ZerodhaSettings,
)
from alphapanda.settings_running import (
    ConsumersSettings,
    HealthCheckSettings,
    LoggingSettings,
    MonitoringSettings,
    ReconnectionSettings,
    TelemetrySettings,
    TopicsSettings,
)
from alphapanda.settings_section import PREFIX, Seconds, Section


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


class ApiSettings(Section):
    """The gRPC server."""

    host: str = Field("127.0.0.1", description="address to bind; anything but loopback needs authentication")
    port: int = Field(50051, ge=0, le=65535, description="port; 0 takes a free one")


class MeshSettings(Section):
    """Where the services of `alphapanda serve` answer: host:port, or dns:///name:port for all of a name's addresses."""

    instruments: str = Field("127.0.0.1:50061", min_length=1, description="target of InstrumentService")
    marketdata: str = Field("127.0.0.1:50062", min_length=1, description="target of MarketDataService")
    strategy: str = Field("127.0.0.1:50063", min_length=1, description="target of StrategyService")
    risk: str = Field("127.0.0.1:50064", min_length=1, description="target of RiskService")
    trading: str = Field("127.0.0.1:50065", min_length=1, description="target of TradingService")
    portfolio: str = Field("127.0.0.1:50066", min_length=1, description="target of PortfolioService")
    dependency_patience_seconds: Seconds = Field(
        60.0, description="how long a starting service waits for database, Redis, log and other services"
    )
    drain_seconds: Seconds = Field(5.0, description="how long calls under way may take at a stop")

    def target(self, service: str) -> str:
        """Where a service answers."""
        return str(getattr(self, service))


class EmbeddedSettings(Section):
    """`alphapanda up`."""

    data_dir: Path | None = Field(None, description="data directory; default: the user's data home")


class Settings(BaseSettings):
    """All of them."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    environment: Literal["development", "testing", "production"] = Field(
        "development",
        description="what it is run for; production refuses plaintext, auth off and missing secrets",
    )
    active_brokers: tuple[str, ...] = Field(
        ("paper", "zerodha"), min_length=1, description="broker namespaces"
    )
    account: str = Field(
        "default", pattern=r"^[A-Za-z0-9_-]{1,32}$", description="account used where none is named"
    )
    database: DatabaseSettings = DatabaseSettings()
    redis: RedisSettings = RedisSettings()
    kafka: KafkaSettings = KafkaSettings()
    topics: TopicsSettings = TopicsSettings()
    api: ApiSettings = ApiSettings()
    mesh: MeshSettings = MeshSettings()
    paper_trading: PaperTradingSettings = PaperTradingSettings()
    zerodha: ZerodhaSettings = ZerodhaSettings()
    marketdata: MarketDataSettings = MarketDataSettings()
    strategy: StrategySettings = StrategySettings()
    risk: RiskSettings = RiskSettings()
    trading: TradingSettings = TradingSettings()
    portfolio_manager: PortfolioManagerSettings = PortfolioManagerSettings()
    consumers: ConsumersSettings = ConsumersSettings()
    logging: LoggingSettings = LoggingSettings()
    reconnection: ReconnectionSettings = ReconnectionSettings()
    health_checks: HealthCheckSettings = HealthCheckSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    embedded: EmbeddedSettings = EmbeddedSettings()

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is handed in: `alphapanda.settings_sources` reads the sources, nothing is read behind its back."""
        return (init_settings,)

    @field_validator("active_brokers")
    @classmethod
    def _checked(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            checked_broker(name, "active_brokers")
        if len(set(names)) != len(names):
            raise ValueError("a broker is named twice")
        return names
