"""The port of the parking store: keys whose records wait because of a bug."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple, Protocol

from alphapanda.contract.topics import TopicPartition
from alphapanda.eventlog.port import StoredRecord

MOST_AT_ONCE: Final = 100
"""Records of a key that are read at once: a key may have any number of them."""


class ParkedKey(NamedTuple):
    """A key of a partition whose records a consumer doesn't handle until it is redriven or discarded."""

    at: TopicPartition
    key: bytes


class Parking(Protocol):
    """Stores the parked keys of a service and their records, by consumer."""

    async def parked(self, consumer: str, partitions: Sequence[TopicPartition]) -> Collection[ParkedKey]:
        """Returns the parked keys of these partitions."""

    async def park(self, consumer: str, record: StoredRecord) -> None:
        """Parks a record and its key in one transaction; has no effect on what is parked already."""

    async def records(
        self, consumer: str, parked: ParkedKey, after: int = -1, most: int = MOST_AT_ONCE
    ) -> Sequence[StoredRecord]:
        """Returns the first parked records of a key, in the log's order: those after an offset, at most so many."""

    async def release(self, consumer: str, record: StoredRecord) -> bool:
        """Deletes a parked record; True where it was the last of its key, which is then no longer parked."""
