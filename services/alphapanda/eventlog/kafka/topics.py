"""Topics and group offsets in Kafka: created, looked up, compared; never changed, shrunk or deleted."""

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
"""A broker that didn't see a creation's end in time says RequestTimedOutError; the creation goes on."""


class KafkaTopics:
    """Topics and group offsets.

    Args:
        clients: makes the client.
        replication_factor: copies of a new topic. All but one have to have a record before it counts as published, so
            that one may be lost and one be away; with one copy there is nothing to lose but that.
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
        """Partitions by topic."""
        return {name: len(described["partitions"]) for name, described in (await self._described()).items()}

    async def _described(self) -> Mapping[str, Mapping[str, Any]]:
        # All of them: asking for one by name would make it where the brokers create topics by themselves.
        with as_unavailable("topics be listed"):
            topics = await self._connected().describe_topics()
        return {one["topic"]: one for one in topics if not one["is_internal"] and not one["error_code"]}

    async def ensure(self, topics: Sequence[TopicSpec]) -> Sequence[str]:
        """Creates what is missing; returns how the others differ."""
        described = await self._described()
        if new := [spec for spec in topics if spec.name not in described]:
            await self._create(new)
        return await self._compared(topics, described)

    async def compare(self, topics: Sequence[TopicSpec]) -> tuple[Sequence[str], Sequence[str]]:
        """The names of those that are missing, and how the others differ; changes nothing."""
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
                # Brokers learn of it one after the other, and none says when.
                while missing := missing - (await self._described()).keys():  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        except TimeoutError as late:
            names = ", ".join(sorted(missing))
            raise LogUnavailable(
                f"Kafka was asked to create {names}, and doesn't show it after {_SEEN_SECONDS:g} s; repeat it"
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
        """The offsets a group has stored for these partitions; those without one are left out.

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
            # aiokafka passes over the answer's own error code (a coordinator that is still loading, say) and gives
            # what is left, nothing: taken for "no offset" that would begin a group anew.
            raise LogUnavailable(f"Kafka didn't tell the offsets of {group}; its coordinator isn't ready")
        return {at: offset for at, offset in found.items() if offset >= 0}
