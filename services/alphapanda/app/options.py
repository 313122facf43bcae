"""Converts settings to the options of the parts, which don't know the settings themselves."""

from __future__ import annotations

from dataclasses import fields

from alphapanda.consuming.options import ConsumerOptions
from alphapanda.eventlog.kafka.options import KafkaOptions
from alphapanda.mesh.bounds import CallBounds
from alphapanda.settings.connections import KafkaSettings
from alphapanda.settings.consumers import ConsumersSettings
from alphapanda.settings.logs import LoggingSettings
from alphapanda.settings.services import TradingSettings
from alphapanda.settings.serving import ApiSettings
from alphapanda.telemetry.channels import CHANNELS
from alphapanda.telemetry.options import LogChannelOptions, LoggingOptions
from alphapanda.trading.options import TradingOptions


def consumer_options(settings: ConsumersSettings, group: str = "") -> ConsumerOptions:
    """Builds the options of a consumer group, such as "risk.signals"; without a group the defaults."""
    return ConsumerOptions(**dict(settings.policy(group) if group else settings.defaults))


def call_bounds(settings: ApiSettings) -> CallBounds:
    """Builds the bounds of the calls that a server works on at once."""
    return CallBounds(**{name: value for name, value in settings if name.startswith("max_")})


def kafka_options(settings: KafkaSettings) -> KafkaOptions:
    """Builds the options of the log on Kafka."""
    return KafkaOptions(**dict(settings))


def logging_options(settings: LoggingSettings) -> LoggingOptions:
    """Builds the options of the process's log and its channels."""
    own = {field.name for field in fields(LoggingOptions)} - {"channels"}
    return LoggingOptions(
        **{name: value for name, value in settings if name in own},
        channels={name: LogChannelOptions(**dict(settings.channel(name))) for name in CHANNELS},
    )


def trading_options(settings: TradingSettings) -> TradingOptions:
    """Builds the options of order execution."""
    return TradingOptions(
        send_window_seconds=settings.send_window_seconds,
        call_timeout_seconds=settings.call_timeout_seconds,
        manual_orders_under_way=settings.manual_orders_under_way,
    )
