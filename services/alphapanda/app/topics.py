"""Builds the topics of a deployment from its settings."""

from __future__ import annotations

from alphapanda.contract.topics import TopicMap
from alphapanda.settings.model import Settings
from alphapanda.trading.traders.registry import BrokerRegistry
from panda.options.v1 import options_pb2 as options


def topics_of(settings: Settings, brokers: BrokerRegistry) -> TopicMap:
    """Builds the topics of the active brokers, with the retention of the section topics."""
    return TopicMap(
        settings.active_brokers,
        brokers.live(settings.active_brokers),
        {
            options.RETENTION_SHORT: settings.topics.short_retention_hours,
            options.RETENTION_MEDIUM: settings.topics.medium_retention_hours,
            options.RETENTION_LONG: settings.topics.long_retention_hours,
        },
    )
