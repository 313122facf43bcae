"""Every setting there is. Built once, in app.py, and handed down section by section.

Read from the environment (`ALPHAPANDA_<SECTION>__<NAME>`) over a `.env` file over a TOML file; an unknown name stops
the start and suggests the nearest one; everything wrong is told at once. `.env.example` lists them all
(`alphapanda settings --env-example`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import override

from alphapanda.domain.brokers import checked_broker
from alphapanda.settings.connections import DatabaseSettings, KafkaSettings, RedisSettings, TelemetrySettings
from alphapanda.settings.consumers import ConsumersSettings
from alphapanda.settings.logs import LoggingSettings
from alphapanda.settings.operation import (
    HealthCheckSettings,
    MonitoringSettings,
    ReconnectionSettings,
    TopicsSettings,
)
from alphapanda.settings.section import PREFIX
from alphapanda.settings.services import (
    MarketDataSettings,
    PaperTradingSettings,
    PortfolioManagerSettings,
    RiskSettings,
    StrategySettings,
    TradingSettings,
    ZerodhaSettings,
)
from alphapanda.settings.serving import ApiSettings, EmbeddedSettings, MeshSettings


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
        """Only what is handed in: `alphapanda.settings.sources` reads the sources, nothing is read behind its back."""
        return (init_settings,)

    @field_validator("active_brokers")
    @classmethod
    def _checked(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            checked_broker(name, "active_brokers")
        if len(set(names)) != len(names):
            raise ValueError("a broker is named twice")
        return names
