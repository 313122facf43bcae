"""All settings of a process, section by section."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from alphapanda.domain.brokers import checked_broker
from alphapanda.settings.auth import AuthSettings
from alphapanda.settings.calendars import CalendarSettings
from alphapanda.settings.connections import DatabaseSettings, KafkaSettings, RedisSettings, TelemetrySettings
from alphapanda.settings.consumers import ConsumersSettings
from alphapanda.settings.logs import LoggingSettings
from alphapanda.settings.operation import (
    HealthCheckSettings,
    MonitoringSettings,
    ReconnectionSettings,
    RetentionSettings,
    RetrySettings,
    TopicsSettings,
)
from alphapanda.settings.section import Section
from alphapanda.settings.services import (
    InstrumentsSettings,
    MarketDataSettings,
    PaperTradingSettings,
    PortfolioManagerSettings,
    ReplaySettings,
    RiskSettings,
    StrategySettings,
    TradingSettings,
)
from alphapanda.settings.serving import ApiSettings, EmbeddedSettings, MeshSettings
from alphapanda.settings.tls import TlsSettings
from alphapanda.settings.zerodha import ZerodhaSettings


class Settings(Section):
    """All sections."""

    environment: Literal["development", "testing", "production"] = Field(
        "development",
        description="what it runs for; production refuses plaintext, missing authentication and missing secrets",
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
    retention: RetentionSettings = RetentionSettings()
    api: ApiSettings = ApiSettings()
    tls: TlsSettings = TlsSettings()
    mesh: MeshSettings = MeshSettings()
    auth: AuthSettings = AuthSettings()
    paper_trading: PaperTradingSettings = PaperTradingSettings()
    zerodha: ZerodhaSettings = ZerodhaSettings()
    marketdata: MarketDataSettings = MarketDataSettings()
    instruments: InstrumentsSettings = InstrumentsSettings()
    replay: ReplaySettings = ReplaySettings()
    strategy: StrategySettings = StrategySettings()
    risk: RiskSettings = RiskSettings()
    trading: TradingSettings = TradingSettings()
    portfolio_manager: PortfolioManagerSettings = PortfolioManagerSettings()
    consumers: ConsumersSettings = ConsumersSettings()
    logging: LoggingSettings = LoggingSettings()
    retry: RetrySettings = RetrySettings()
    reconnection: ReconnectionSettings = ReconnectionSettings()
    health_checks: HealthCheckSettings = HealthCheckSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    embedded: EmbeddedSettings = EmbeddedSettings()
    calendar: CalendarSettings = CalendarSettings()

    @field_validator("active_brokers")
    @classmethod
    def _checked(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            checked_broker(name, "active_brokers")
        if len(set(names)) != len(names):
            raise ValueError("a broker is named twice")
        return names
