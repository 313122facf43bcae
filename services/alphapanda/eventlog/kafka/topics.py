"""Creates, reads and compares topics in Kafka, and reads group offsets. Never changes or deletes a topic."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import NoError, RequestTimedOutError, TopicAlreadyExistsError, for_code

from alphapanda.contract.topics import TopicPartition, TopicSpec
from alphapanda.eventlog.kafka.client import KafkaClients, as_unavailable, kafka_partitions
from alphapanda.eventlog.port import LogUnavailable
from alphapanda.eventlog.specs import differences

_HOUR_MS = 3_600_000
_RETENTION = "retention.ms"
_CLEANUP = "cleanup.policy"
_IN_SYNC = "min.insync.replicas"
_LOOK_AGAIN_SECONDS = 0.05
_SEEN_SECONDS = 30.0
_CREATED_OR_UNDER_WAY = frozenset({NoError, TopicAlreadyExistsError, RequestTimedOutError})
"""A broker answers RequestTimedOutError where a creation takes too long; the creation goes on."""


class KafkaTopics:
    """Manages topics and reads group offsets.

    Args:
        clients: creates the client.
        replication_factor: replicas of a new topic. A record counts as published once all replicas but one (at least one)
            have it (min.insync.replicas).
    """

    def __init__(self, clients: KafkaClients, replication_factor: int) -> None:
        self._clients = clients
        self._replication_factor = replication_factor
        self._admin: AIOKafkaAdminClient | None = None

    async def start(self) -> None:
        """Connects.

        Raises:
            LogUnavailable: Kafka is away.
        """
        self._admin = self._clients.admin()
        with as_unavailable("its topics be read"):
            await self._admin.start()

    async def stop(self) -> None:
        """Disconnects."""
        admin, self._admin = self._admin, None
        if admin is not None:
            await admin.close()

    def _connected(self) -> AIOKafkaAdminClient:
        if self._admin is None:
            raise LogUnavailable("the log is not open")
        return self._admin

    async def partitions(self) -> Mapping[str, int]:
        """Returns the number of partitions by topic."""
        return {name: len(described["partitions"]) for name, described in (await self._described()).items()}

    async def _described(self) -> Mapping[str, Mapping[str, Any]]:
        # Describes all topics: asking for one by name would create it on brokers with auto.create.topics.enable.
        with as_unavailable("topics be listed"):
            topics = await self._connected().describe_topics()
        return {one["topic"]: one for one in topics if not one["is_internal"] and not one["error_code"]}

    async def ensure(self, topics: Sequence[TopicSpec]) -> Sequence[str]:
        """Creates missing topics; returns how existing ones differ."""
        described = await self._described()
        if new := [spec for spec in topics if spec.name not in described]:
            await self._create(new)
        return await self._compared(topics, described)

    async def compare(self, topics: Sequence[TopicSpec]) -> tuple[Sequence[str], Sequence[str]]:
        """Returns the names of missing topics, and how existing ones differ; changes nothing."""
        described = await self._described()
        missing = [spec.name for spec in topics if spec.name not in described]
        return missing, await self._compared(topics, described)

    async def _compared(
        self, topics: Sequence[TopicSpec], described: Mapping[str, Mapping[str, Any]]
    ) -> Sequence[str]:
        there = [spec for spec in topics if spec.name in described]
        configs = await self._configs([spec.name for spec in there])
        return [
            difference
            for spec in there
            for difference in self._differences(spec, described[spec.name], configs[spec.name])
        ]

    async def _create(self, specs: Sequence[TopicSpec]) -> None:
        new = [
            NewTopic(
                spec.name,
                spec.partitions,
                self._replication_factor,
                topic_configs={
                    _RETENTION: str(-1 if spec.retention_hours is None else spec.retention_hours * _HOUR_MS),
                    _CLEANUP: "compact" if spec.compacted else "delete",
                    _IN_SYNC: str(max(1, self._replication_factor - 1)),
                },
            )
            for spec in specs
        ]
        with as_unavailable("topics be created"):
            answer = await self._connected().create_topics(new)
            refused = [
                f"{name}: {text or for_code(code).__name__}"
                for name, code, text in answer.topic_errors
                if for_code(code) not in _CREATED_OR_UNDER_WAY
            ]
            if refused:
                raise LogUnavailable("Kafka didn't create " + "; ".join(refused))
        missing = {spec.name for spec in specs}
        try:
            async with asyncio.timeout(_SEEN_SECONDS):
                # Brokers learn of a new topic one after the other, without notice.
                while missing := missing - (await self._described()).keys():  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        except TimeoutError as late:
            names = ", ".join(sorted(missing))
            raise LogUnavailable(
                f"Kafka was asked to create {names}, and doesn't list it after {_SEEN_SECONDS:g} s; repeat the command"
            ) from late

    async def _configs(self, names: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        asked = [
            ConfigResource(ConfigResourceType.TOPIC, name, dict.fromkeys((_RETENTION, _CLEANUP, _IN_SYNC)))
            for name in names
        ]
        if not asked:
            return {}
        with as_unavailable("topics be described"):
            answers = await self._connected().describe_configs(asked)
        found = {}
        for answer in answers:
            for code, text, _, name, entries in answer.resources:
                if code:
                    raise LogUnavailable(f"Kafka didn't describe {name}: {text or for_code(code).__name__}")
                found[name] = {entry[0]: entry[1] for entry in entries}
        return found

    def _differences(
        self, spec: TopicSpec, described: Mapping[str, Any], config: Mapping[str, str]
    ) -> Iterator[str]:
        kept = int(config[_RETENTION])
        partitions = described["partitions"]
        yield from differences(
            TopicSpec(
                spec.name,
                len(partitions),
                None if kept < 0 else kept // _HOUR_MS,
                compacted="compact" in config[_CLEANUP],
            ),
            spec,
        )
        copies = min(len(partition["replicas"]) for partition in partitions)
        if copies != self._replication_factor:
            yield (
                f"topic {spec.name!r} has replication_factor {copies},"
                f" {self._replication_factor} is wanted; it stays as it is"
            )

    async def group_offsets(
        self, group: str, partitions: Iterable[TopicPartition]
    ) -> Mapping[TopicPartition, int]:
        """Returns a group's committed offsets of these partitions; those without one are left out.

        Raises:
            LogUnavailable: the group's coordinator didn't answer for all of them.
        """
        asked = set(partitions)
        if not asked:
            return {}
        with as_unavailable(f"offsets of {group} be read"):
            answer = await self._connected().list_consumer_group_offsets(
                self._clients.group_id(group), partitions=kafka_partitions(asked)
            )
        found = {TopicPartition(at.topic, at.partition): kept.offset for at, kept in answer.items()}
        if found.keys() != asked:
            # aiokafka ignores the answer's error code (such as: the coordinator is still loading) and returns an empty
            # answer. Read as "no offset" that would make the group start over.
            raise LogUnavailable(f"Kafka didn't return the offsets of {group}; its coordinator isn't ready")
        return {at: offset for at, offset in found.items() if offset >= 0}
