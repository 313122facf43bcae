"""The log as the services see it: partitioned topics, read by groups or whole. SQLite and Kafka stand behind it.

Delivery is at least once and in order per partition. A publish that returned is durable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from alphapanda.contract.topics import TopicPartition, TopicSpec
from alphapanda.resilience.failures import LOG, TransientFailure

Headers = tuple[tuple[str, bytes], ...]


class Start(Enum):
    """Where a reader begins that has no position: the first record kept, or after the last."""

    EARLIEST = "earliest"
    LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Record:
    """What is published: bytes, a partition chosen by the contract, and headers."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record on the log. `offset` grows by at least one from record to record; `appended_at_ns` is wall time."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: Headers
    appended_at_ns: int

    @property
    def topic_partition(self) -> TopicPartition:
        """Where it stands."""
        return TopicPartition(self.topic, self.partition)


class LogUnavailable(TransientFailure):
    """The log can't be reached or written now; the same call may work later. Nothing half-written counts."""

    def __init__(self, text: str) -> None:
        super().__init__(text, LOG)


class TopicMissing(Exception):
    """A topic doesn't exist; topics are never made by using them."""


class Assignment(Protocol):
    """What a group member does when it is given partitions, or has to let go of them."""

    async def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Called before the first record of these partitions is fetched; may seek."""

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Called before another member gets them; the batch in hand is finished or abandoned here."""


class GroupReader(Protocol):
    """A member of a consumer group."""

    @property
    def topics(self) -> Sequence[str]:
        """What it wants."""

    async def start(self, assignment: Assignment | None = None) -> None:
        """Joins the group; partitions come through `assignment`.

        Raises:
            TopicMissing: one of the topics doesn't exist.
        """

    async def stop(self) -> None:
        """Leaves the group."""

    async def fetch(
        self, max_records: int, timeout: float
    ) -> Mapping[TopicPartition, Sequence[StoredRecord]]:
        """The next records of the partitions that aren't paused, in order per partition; empty after `timeout` s."""

    def assigned(self) -> frozenset[TopicPartition]:
        """Partitions held now."""

    def position(self, partition: TopicPartition) -> int:
        """Offset of the next record it will fetch of a partition it holds."""

    def pause(self, partition: TopicPartition) -> None:
        """Fetches no more of it until it is resumed."""

    def resume(self, partition: TopicPartition) -> None:
        """Fetches of it again."""

    async def seek(self, partition: TopicPartition, offset: int) -> None:
        """The next fetch of it begins at `offset`."""

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Stores, durably, the offset of the next record to handle, per partition."""

    async def committed(self, partition: TopicPartition) -> int | None:
        """The offset stored by the group, None where there is none."""


class TopicReader(Protocol):
    """A reader of all partitions without a group: everybody gets everything."""

    async def start(self) -> None:
        """Takes its position."""

    async def stop(self) -> None:
        """Ends."""

    async def fetch(self, max_records: int, timeout: float) -> Sequence[StoredRecord]:
        """The next records, in order per partition; empty after `timeout` s."""

    def position(self, partition: TopicPartition) -> int:
        """Offset of the next record it will fetch."""


class EventLog(Protocol):
    """The log."""

    async def start(self) -> None:
        """Opens it."""

    async def stop(self) -> None:
        """Writes what is in hand and closes it."""

    async def ensure(self, topics: Sequence[TopicSpec]) -> Sequence[str]:
        """Creates the topics that don't exist; returns, as sentences, how existing ones differ (they stay as they are)."""

    async def topics(self) -> Mapping[str, int]:
        """Partitions by topic."""

    async def publish(self, records: Sequence[Record]) -> Sequence[int]:
        """Appends the records, in order per partition; returns their offsets once all are durable.

        Raises:
            TopicMissing: a topic doesn't exist.
            LogUnavailable: it can't be written now.
        """

    def group_reader(self, group: str, topics: Sequence[str], start: Start) -> GroupReader:
        """A member of `group`; `start` holds where the group has no offset yet."""

    def topic_reader(self, topics: Sequence[str], start: Start | Mapping[TopicPartition, int]) -> TopicReader:
        """A groupless reader, from `start` or from given offsets (partitions not given: the first record kept)."""

    async def end_offsets(self, topics: Sequence[str]) -> Mapping[TopicPartition, int]:
        """Offset that the next record of each partition will have at least."""

    async def committed_offsets(self, group: str) -> Mapping[TopicPartition, int]:
        """Every offset a group has stored."""

    async def last(self, partition: TopicPartition) -> StoredRecord | None:
        """The newest record of a partition."""
