"""Keys that stand still because of a bug: the port."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from alphapanda.contract.topics import TopicPartition
from alphapanda.eventlog.port import StoredRecord


class ParkedKey(NamedTuple):
    """A key of a partition that a consumer doesn't handle any more until it is redriven or discarded."""

    at: TopicPartition
    key: bytes


class Parking(Protocol):
    """The parked keys of a service's schema with their records, by consumer."""

    async def parked(self, consumer: str, partitions: Sequence[TopicPartition]) -> Collection[ParkedKey]:
        """The keys that stand still in these partitions."""

    async def park(self, consumer: str, record: StoredRecord) -> None:
        """Parks a record, and its key where it isn't yet, in one transaction; one that is parked stays as it is."""

    async def records(self, consumer: str, parked: ParkedKey) -> Sequence[StoredRecord]:
        """What is parked under a key, in the log's order."""

    async def release(self, consumer: str, record: StoredRecord) -> bool:
        """Takes a record away; True where it was its key's last, which is free now."""
