"""Tails a topic of the mesh directly from Kafka, with OpsService's messages; no service has to run."""

from __future__ import annotations

from collections.abc import AsyncIterator

from alphapanda.app.serve import mesh_log
from alphapanda.app.topics import topics_of
from alphapanda.ops.log_api import LogApi
from alphapanda.settings.model import Settings
from alphapanda.trading.traders.brokers import BROKERS
from alphapanda.trading.traders.registry import BrokerRegistry
from panda.ops.v1 import ops_pb2 as pb


async def tail_kafka(settings: Settings, request: pb.TailTopicRequest) -> AsyncIterator[pb.TailTopicResponse]:
    """Yields the answers of OpsService.TailTopic.

    Raises:
        LogUnavailable: Kafka can't be reached.
        TopicMissing: the topic doesn't exist yet.
        UnknownName: the deployment has no such topic.
    """
    topic_map = topics_of(settings, BrokerRegistry(BROKERS))
    log = mesh_log(settings, topic_map)
    await log.start()
    try:
        async for answer in LogApi(log, topic_map, {}).tail(request):
            yield answer
    finally:
        await log.stop()
