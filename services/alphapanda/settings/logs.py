"""Settings of the logs: levels, formats, files and their rotation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from alphapanda.settings.section import Section

LogLevel = Literal["debug", "info", "warning", "error"]


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
