"""What settings mean to the parts they are for: each part has options of its own and knows no settings."""

from __future__ import annotations

from alphapanda.consuming.options import ConsumerOptions
from alphapanda.eventlog.kafka.options import KafkaOptions
from alphapanda.settings.connections import KafkaSettings
from alphapanda.settings.consumers import ConsumersSettings
from alphapanda.settings.logs import LoggingSettings
from alphapanda.settings.services import TradingSettings
from alphapanda.telemetry.channels import CHANNELS
from alphapanda.telemetry.options import LogChannelOptions, LoggingOptions
from alphapanda.trading.options import TradingOptions


def consumer_options(settings: ConsumersSettings, group: str = "") -> ConsumerOptions:
    """Of a consumer group, such as "risk.signals"; of every consumer where none is named."""
    return ConsumerOptions(**dict(settings.policy(group) if group else settings.defaults))


def kafka_options(settings: KafkaSettings) -> KafkaOptions:
    """Of the log on Kafka."""
    return KafkaOptions(**dict(settings))


def logging_options(settings: LoggingSettings) -> LoggingOptions:
    """Of the process's log and its channels."""
    return LoggingOptions(
        level=settings.level,
        format=settings.format,
        max_megabytes=settings.max_megabytes,
        rotate_hours=settings.rotate_hours,
        keep_files=settings.keep_files,
        channels={name: LogChannelOptions(**dict(settings.channel(name))) for name in CHANNELS},
    )


def trading_options(settings: TradingSettings) -> TradingOptions:
    """Of order execution."""
    return TradingOptions(
        send_window_seconds=settings.send_window_seconds, call_timeout_seconds=settings.call_timeout_seconds
    )
