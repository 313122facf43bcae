"""The port of the event log: partitioned topics, read by consumer groups or whole. Adapters: `sqlite/` and `kafka/`.

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
    """Where a reader without a position begins: at the first record kept, or after the last."""

    EARLIEST = "earliest"
    LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Record:
    """A record to publish: bytes, headers, and the partition that the contract determines."""

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
        """Topic and partition that hold the record."""
        return TopicPartition(self.topic, self.partition)


class LogUnavailable(TransientFailure):
    """The log can't be reached or written now; the same call may succeed later."""

    def __init__(self, text: str) -> None:
        super().__init__(text, LOG)


class TopicMissing(Exception):
    """A topic doesn't exist. Publishing or reading never creates one."""


class Assignment(Protocol):
    """Callbacks of a group member: partitions were assigned, or are about to be revoked."""

    async def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Called before the first record of these partitions is fetched; may seek."""

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Called before another member gets these partitions; finishes or cancels their running batches."""


class GroupReader(Protocol):
    """A member of a consumer group."""

    @property
    def topics(self) -> Sequence[str]:
        """The topics it subscribes to."""

    async def start(self, assignment: Assignment | None = None) -> None:
        """Joins the group; partitions come through `assignment`.

        Raises:
            TopicMissing: one of the topics doesn't exist.
            LogUnavailable: the log can't be reached, or the group doesn't settle in time.
        """

    async def stop(self) -> None:
        """Leaves the group."""

    async def fetch(
        self, max_records: int, timeout: float
    ) -> Mapping[TopicPartition, Sequence[StoredRecord]]:
        """Returns the next records of partitions that aren't paused, in order per partition; empty after `timeout` s.

        Raises:
            LogUnavailable: it isn't started, or can't go on now.
        """

    def assigned(self) -> frozenset[TopicPartition]:
        """Returns the partitions held now."""

    def position(self, partition: TopicPartition) -> int:
        """Returns the offset of the next record it will fetch of a partition it holds.

        Raises:
            KeyError: it doesn't hold the partition.
        """

    def has_fetched_all(self) -> bool | None:
        """Whether it has fetched every record on its partitions; None: only `end_offsets` tells."""
        return None

    def pause(self, partition: TopicPartition) -> None:
        """Stops fetching from the partition until it is resumed."""

    def resume(self, partition: TopicPartition) -> None:
        """Fetches from the partition again."""

    async def seek(self, partition: TopicPartition, offset: int) -> None:
        """Moves the partition's position to `offset`.

        Raises:
            ValueError: it doesn't hold the partition.
        """

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Stores, durably, the offset of the next record to handle, of those partitions that it still holds.

        Raises:
            LogUnavailable: the log didn't answer in time.
        """

    async def committed(self, partition: TopicPartition) -> int | None:
        """Returns the group's committed offset; None where there is none."""


class TopicReader(Protocol):
    """A reader of all partitions without a group: every reader gets every record."""

    async def start(self) -> None:
        """Finds the partitions and sets the position to begin at.

        Raises:
            TopicMissing: one of the topics doesn't exist.
            LogUnavailable: the log can't be reached.
        """

    async def stop(self) -> None:
        """Stops reading."""

    async def fetch(self, max_records: int, timeout: float) -> Sequence[StoredRecord]:
        """Returns the next records, in order per partition; empty after `timeout` s.

        Raises:
            LogUnavailable: it isn't started, or can't go on now.
        """

    def position(self, partition: TopicPartition) -> int:
        """Returns the offset of the next record it will fetch.

        Raises:
            KeyError: it doesn't read this partition.
        """

    def has_fetched_all(self) -> bool | None:
        """Whether it has fetched every record on its partitions; None: only `end_offsets` tells."""
        return None


class EventLog(Protocol):
    """An event log."""

    async def start(self) -> None:
        """Opens the log.

        Raises:
            LogUnavailable: it can't be reached or opened, or another process holds it; `start` may be called again.
        """

    async def stop(self) -> None:
        """Stops the readers, writes what was accepted, and closes the log."""

    async def ensure(self, topics: Sequence[TopicSpec]) -> Sequence[str]:
        """Creates missing topics; returns, as sentences, how existing ones differ (they stay unchanged).

        Raises:
            LogUnavailable: the log can't be reached, refuses a topic, or its new topics aren't ready in time.
        """

    async def topics(self) -> Mapping[str, int]:
        """Returns the number of partitions by topic."""

    async def publish(self, records: Sequence[Record]) -> Sequence[int]:
        """Appends the records, in order per partition; returns their offsets once all are durable.

        Raises:
            TopicMissing: a topic doesn't exist; nothing was published.
            LogUnavailable: not all records were acknowledged; they may still be stored. Repeat the same publish.
            ValueError: a topic has no such partition and nothing was published; or a record is too large.
        """

    def group_reader(self, group: str, topics: Sequence[str], start: Start) -> GroupReader:
        """Returns a new member of `group`, not started; `start` applies where the group has no offset yet."""

    def topic_reader(self, topics: Sequence[str], start: Start | Mapping[TopicPartition, int]) -> TopicReader:
        """Returns a reader without a group, from `start` or from given offsets (others: from the first record kept)."""

    async def end_offsets(self, topics: Sequence[str]) -> Mapping[TopicPartition, int]:
        """Returns the end of each partition: the lowest offset that its next record can have."""

    async def offsets_at(self, topics: Sequence[str], appended_at_ns: int) -> Mapping[TopicPartition, int]:
        """Returns, for each partition, the offset of the first record kept that was appended then or later; else its end.

        Args:
            topics: the topics.
            appended_at_ns: wall time, of which Kafka uses whole milliseconds, rounded down; 0 finds the first record kept.

        Raises:
            TopicMissing: a topic doesn't exist.
            LogUnavailable: the log can't be reached.
        """

    async def committed_offsets(self, group: str) -> Mapping[TopicPartition, int]:
        """Returns every committed offset of a group."""

    async def last(self, partition: TopicPartition) -> StoredRecord | None:
        """Returns the newest record of a partition; None where it is empty."""

    async def ping(self, topic: str) -> None:
        """Returns once the log has answered a question about a topic: a health check's, so it changes nothing.

        Raises:
            LogUnavailable: it can't be reached. While it hangs, there is no answer; the caller has a time-out.
        """
