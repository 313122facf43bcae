"""Keys that stand still because of a bug: the port, and what is kept of them in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from alphapanda.eventlog.port import StoredRecord, TopicPartition


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


class MemoryParking:
    """The port in memory, for simulation and tests: gone with the process, as a schema would not be."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, ParkedKey], dict[int, StoredRecord]] = {}

    async def parked(self, consumer: str, partitions: Sequence[TopicPartition]) -> Collection[ParkedKey]:
        """See Parking."""
        return [key for whose, key in self._records if whose == consumer and key.at in partitions]

    async def park(self, consumer: str, record: StoredRecord) -> None:
        """See Parking."""
        self._records.setdefault(_place(consumer, record), {}).setdefault(record.offset, record)

    async def records(self, consumer: str, parked: ParkedKey) -> Sequence[StoredRecord]:
        """See Parking."""
        return [record for _, record in sorted(self._records.get((consumer, parked), {}).items())]

    async def release(self, consumer: str, record: StoredRecord) -> bool:
        """See Parking."""
        place = _place(consumer, record)
        kept = self._records.get(place, {})
        kept.pop(record.offset, None)
        if not kept:
            self._records.pop(place, None)
        return not kept


def _place(consumer: str, record: StoredRecord) -> tuple[str, ParkedKey]:
    return consumer, ParkedKey(record.topic_partition, record.key)
