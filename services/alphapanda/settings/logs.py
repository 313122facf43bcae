"""Settings of the logs: levels, formats, files and their rotation."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import Field

from alphapanda.settings.section import Section
from alphapanda.telemetry.options import (
    AUDIT_CHANNEL,
    ERROR_CHANNEL,
    PERFORMANCE_CHANNEL,
    LogChannelOptions,
    LogFormat,
    LoggingOptions,
    LogLevel,
    LogRotation,
)

_ROTATION: Final = LogRotation()
_CHANNEL: Final = LogChannelOptions()
_LOGGING: Final = LoggingOptions()


class LogRotationSettings(Section):
    """When a log file is rotated, and how many rotated files are kept."""

    max_megabytes: int = Field(
        _ROTATION.max_megabytes, ge=1, le=10_000, description="the file is rotated at this size"
    )
    rotate_hours: int = Field(
        _ROTATION.rotate_hours,
        ge=0,
        le=8760,
        description="and after so many hours, counted from midnight in India; 0: at its size alone",
    )
    keep_files: int = Field(
        _ROTATION.keep_files,
        ge=1,
        le=1000,
        description="rotated files that are kept at least; older ones are deleted after keep_days",
    )
    keep_days: int = Field(
        _ROTATION.keep_days,
        ge=0,
        le=3660,
        description="days that rotated files are kept, however many there are; 0: keep_files alone decides",
    )
    compress_days: int = Field(
        _ROTATION.compress_days,
        ge=0,
        le=3660,
        description="rotated files older than this are compressed; 0: none",
    )


class LogChannelSettings(LogRotationSettings):
    """One channel of the log, in a file of its own beside the process's log."""

    enabled: bool = Field(default=_CHANNEL.enabled, description="whether the channel has its file")
    level: LogLevel = Field(_CHANNEL.level, description="lowest level written to its file")


class TradingLogSettings(LogChannelSettings):
    """Orders, fills and verdicts."""


class AuditLogSettings(LogChannelSettings):
    """Who gave which command, and its result."""

    keep_days: int = Field(
        AUDIT_CHANNEL.keep_days,
        ge=0,
        le=3660,
        description="days that rotated files are kept, however many there are; 0: keep_files alone decides",
    )


class PerformanceLogSettings(LogChannelSettings):
    """Handlers and queries that were slow."""

    keep_days: int = Field(
        PERFORMANCE_CHANNEL.keep_days,
        ge=0,
        le=3660,
        description="days that rotated files are kept, however many there are; 0: keep_files alone decides",
    )


class ApiLogSettings(LogChannelSettings):
    """Commands, failed and slow calls."""


class DatabaseLogSettings(LogChannelSettings):
    """The database and the outboxes."""


class MarketDataLogSettings(LogChannelSettings):
    """Feeds; never a line for a tick."""


class ErrorLogSettings(LogChannelSettings):
    """Every error, of all channels and of libraries, in one file."""

    level: LogLevel = Field(ERROR_CHANNEL.level, description="lowest level written to its file")


class LoggingSettings(LogRotationSettings):
    """Logs: every line goes to the process's own log, and to its channel's file where there is a folder."""

    level: LogLevel = Field(_LOGGING.level, description="lowest level written to the process's own log")
    format: LogFormat = Field(
        _LOGGING.format, description="auto: console on a terminal, else JSON; files are always JSON"
    )
    console: bool = Field(
        default=_LOGGING.console,
        description="whether the process's own log goes to standard output; else to alphapanda.log in the folder",
    )
    files: bool = Field(default=_LOGGING.files, description="whether log files are written")
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
    error: ErrorLogSettings = ErrorLogSettings()

    def channel(self, name: str) -> LogChannelSettings:
        """The settings of a channel."""
        found: LogChannelSettings = getattr(self, name)
        return found
