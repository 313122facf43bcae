"""Parked keys in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from typing_extensions import override

from alphapanda.consuming.parking import MOST_AT_ONCE, ParkedKey, Parking
from alphapanda.contract.topics import TopicPartition
from alphapanda.eventlog.port import StoredRecord


class MemoryParking(Parking):
    """Parking that is gone with its process."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, ParkedKey], dict[int, StoredRecord]] = {}

    @override
    async def parked(self, consumer: str, partitions: Sequence[TopicPartition]) -> Collection[ParkedKey]:
        return [key for whose, key in self._records if whose == consumer and key.at in partitions]

    @override
    async def park(self, consumer: str, record: StoredRecord) -> None:
        self._records.setdefault(_place(consumer, record), {}).setdefault(record.offset, record)

    @override
    async def records(
        self, consumer: str, parked: ParkedKey, after: int = -1, most: int = MOST_AT_ONCE
    ) -> Sequence[StoredRecord]:
        kept = sorted(self._records.get((consumer, parked), {}).items())
        return [record for offset, record in kept if offset > after][:most]

    @override
    async def release(self, consumer: str, record: StoredRecord) -> bool:
        place = _place(consumer, record)
        kept = self._records.get(place, {})
        kept.pop(record.offset, None)
        if not kept:
            self._records.pop(place, None)
        return not kept


def _place(consumer: str, record: StoredRecord) -> tuple[str, ParkedKey]:
    return consumer, ParkedKey(record.topic_partition, record.key)
