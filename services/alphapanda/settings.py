"""Every setting there is. Built once, in app.py, and handed down section by section.

Read from the environment (`ALPHAPANDA_<SECTION>__<NAME>`) over a `.env` file over a TOML file; an unknown name stops
the start and suggests the nearest one; everything wrong is told at once. `.env.example` lists them all
(`alphapanda settings --env-example`).
"""

from __future__ import annotations

from datetime import time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import override

from alphapanda.domain.brokers import checked_broker

PREFIX = "ALPHAPANDA_"

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
LogLevel = Literal["debug", "info", "warning", "error"]
Rupees = Annotated[Decimal, Field(gt=0, max_digits=19, decimal_places=4)]
Percent = Annotated[Decimal, Field(ge=0, le=100)]


class Section(BaseModel):
    """A group of settings; unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


class PaperTradingSettings(Section):
    """The paper exchange and its account."""

    enabled: bool = Field(default=True, description="route signals to paper")
    slippage_percent: Percent = Field(Decimal("0.05"), description="percent of the price, against you")
    commission_percent: Percent = Field(Decimal("0.1"), description="percent of the turnover")
    starting_cash: Decimal = Field(Decimal(1_000_000), gt=0, description="rupees an account begins with")
    square_off_time: time = Field(time(15, 0), description="IST time at which MIS positions are squared off")
    visibility_window_seconds: Seconds = Field(
        5.0, description="how long an unanswered order is looked up by its tag"
    )


class ZerodhaSettings(Section):
    """Zerodha."""

    enabled: bool = Field(default=False, description="route signals of strategies that opted in to Zerodha")


class MarketDataSettings(Section):
    """Feeds and prices."""

    seed: int = Field(7, ge=0, description="seed of the simulator")
    frame_interval_ms: int = Field(
        250, ge=10, le=60_000, description="market time between the simulator's frames"
    )
    clock_max_age_seconds: Seconds = Field(
        10.0, description="wall age at which a real-time feed's clock is unknown"
    )


class StrategySettings(Section):
    """The strategy service."""

    snapshot_interval_seconds: Seconds = Field(
        5.0, description="wall time between snapshots of strategy state"
    )
    signal_ttl_seconds: int = Field(
        60, ge=1, le=86_400, description="market time a signal stays valid by default"
    )
    max_errors_in_a_row: int = Field(
        5, ge=1, le=1000, description="errors on one instrument after which a strategy is stopped"
    )
    max_signals_per_minute: int = Field(
        120,
        ge=1,
        le=100_000,
        description="signals on one instrument in a minute of market time; one more stops the strategy",
    )
    folder: Path | None = Field(None, description="folder with your own strategies' Python files")
    yaml: Path | None = Field(
        None, description="YAML file with the strategies to create where there was never one"
    )


class RiskSettings(Section):
    """Limits of every account, where UpdateLimits has set none; exits pass all of them. None: not enforced."""

    max_order_quantity: int = Field(100_000, ge=1, description="units in one order")
    max_position_quantity: int = Field(100_000, ge=1, description="units held under one position key")
    price_max_age_seconds: Seconds = Field(30.0, description="market time after which a price is stale")
    max_order_value: Rupees | None = Field(None, description="rupees of one entry, at the last price")
    max_position_value: Rupees | None = Field(
        None, description="rupees in one instrument, held and on its way, of all strategies together"
    )
    max_gross_exposure: Rupees | None = Field(
        None, description="rupees held and on their way, long and short added up"
    )
    max_open_orders: int | None = Field(None, ge=0, description="orders open at once")
    max_daily_trades: int | None = Field(None, ge=0, description="orders in the exchange's day")
    max_strategy_daily_trades: int | None = Field(
        None, ge=0, description="orders of one strategy in the exchange's day"
    )
    max_daily_loss: Rupees | None = Field(
        None,
        description="rupees lost in the exchange's day, realised and marked, from which the account only reduces",
    )
    max_order_rate: int | None = Field(None, ge=0, description="orders in order_rate_window_seconds")
    max_strategy_order_rate: int | None = Field(
        None, ge=0, description="orders of one strategy in order_rate_window_seconds"
    )
    order_rate_window_seconds: Seconds = Field(60.0, description="market time over which orders are counted")
    duplicate_window_seconds: Seconds | None = Field(
        None, description="market time within which the same wish is let through once"
    )
    cooldown_losses: int | None = Field(
        None, ge=0, description="losing round trips in a row after which a strategy pauses in an instrument"
    )
    cooldown_seconds: Seconds = Field(900.0, description="market time that such a pause lasts")
    limits_enforced: bool = Field(True, description="false lifts all these limits (replay --no-limits)")


class TradingSettings(Section):
    """Order execution."""

    price_max_age_seconds: Seconds = Field(
        30.0, description="market time after which an entry's price is stale"
    )
    send_window_seconds: Seconds = Field(
        2.0, description="most time between the commit of SUBMITTING and the call"
    )
    call_timeout_seconds: Seconds = Field(
        5.0, description="a broker call without answer is UNKNOWN after this"
    )


class PortfolioManagerSettings(Section):
    """Snapshots and reconciliation of portfolios."""

    snapshot_interval_seconds: Seconds = Field(
        300.0, description="market time between two snapshots of an account"
    )
    reconciliation_interval_seconds: Seconds = Field(
        3600.0, description="wall time between two proofs of the books against the ledger"
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
    """How large a log file grows, and how many are kept."""

    max_megabytes: int = Field(50, ge=1, le=10_000, description="at this size the file is set aside")
    keep_files: int = Field(10, ge=1, le=1000, description="files set aside that are kept; the oldest goes")


class LogChannelSettings(LogRotation):
    """One channel of the log, in a file of its own beside the process's log."""

    level: LogLevel = Field("info", description="least level written to its file")


class TradingLogSettings(LogChannelSettings):
    """Orders, fills and verdicts."""


class AuditLogSettings(LogChannelSettings):
    """Who gave which command, and what came of it."""

    keep_files: int = Field(100, ge=1, le=1000, description="files set aside that are kept; the oldest goes")


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
    """How what is away is tried again: Redis within a call, everything at the start of a service."""

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
    max_lag: int = Field(1000, ge=0, description="records a reader may be behind before that is told")
    max_latency_seconds: Seconds = Field(
        1.0, description="a round trip to PostgreSQL or Redis that takes longer is told"
    )
    grace_seconds: float = Field(
        30.0, ge=0, allow_inf_nan=False, description="after the start, while bad answers are forgiven"
    )


class MonitoringSettings(Section):
    """What is watched while it runs."""

    metrics: bool = Field(
        default=True, description="false: no figures are kept, whatever the port of Prometheus"
    )
    metrics_interval_seconds: Seconds = Field(10.0, description="between two looks at the services' figures")
    prometheus_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="port of /metrics for Prometheus, on api.host; 0: nobody reads figures",
    )
    slow_call_seconds: Seconds = Field(0.5, description="an answer that takes longer is logged")
    slow_handler_seconds: Seconds = Field(1.0, description="a batch of records that takes longer is logged")
    slow_query_seconds: Seconds = Field(
        0.5, description="a statement that takes longer is logged, without its values"
    )


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
