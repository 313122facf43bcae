"""Finds the records of the log that name an id, with a bound on the records that it examines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from alphapanda.contract.topics import TopicMap, TopicPartition
from alphapanda.domain.frame import nanoseconds
from alphapanda.eventlog.port import EventLog, StoredRecord
from alphapanda.mesh.errors import TooMany

MOST_EXAMINED: Final = 500_000
"""Limit on the records that one search examines."""
SEARCH_SECONDS: Final = 10.0
"""Limit on the wall time of one search."""
TURN_SECONDS: Final = 4.0
"""How long a search waits for the one before it; with its own time it stays within the RPC's deadline."""
_AT_ONCE = 250
_FETCH_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for.

    Attributes:
        ids: UUIDs as text; a record that names one of them matches.
        topics: topics to look in.
        since: earliest wall time at which a record was appended, aware; None: from the oldest record.
        until: latest wall time, exclusive; None: to the newest record.
        limit: most records to return.
    """

    ids: Sequence[str]
    topics: Sequence[str]
    since: datetime | None
    until: datetime | None
    limit: int


@dataclass(slots=True)
class Found:
    """The records that a search found, in the order in which they were appended.

    Attributes:
        records: the records.
        examined: number of records that were examined.
        incomplete: why records may be missing, one sentence; empty where none can be.
    """

    records: list[StoredRecord] = field(default_factory=list)
    examined: int = 0
    incomplete: str = ""


def reach(sizes: Mapping[TopicPartition, int], most: int) -> int:
    """Returns how many of its newest records may be examined of each partition, so that all come to at most `most`.

    Small partitions are examined whole; what they leave is shared by the large ones.
    """
    left, waiting = most, sorted(sizes.values())
    for examined, size in enumerate(waiting):
        share = left // (len(waiting) - examined)
        if size > share:
            return share
        left -= size
    return max(waiting, default=0)


class RecordSearch:
    """Searches the log for the records that name an id. One search runs at a time.

    Args:
        log: the log.
        topic_map: the deployment's topics.
        most_examined: limit on the records that one search examines.
        seconds: limit on its time.
        turn_seconds: how long a search waits for the one before it.
        monotonic: a clock for that limit.

    Attributes:
        topics: every topic, with the dead-letter topics.
        without_frames: all of them but the frames', of which each names one chain of events only.
    """

    def __init__(
        self,
        log: EventLog,
        topic_map: TopicMap,
        most_examined: int = MOST_EXAMINED,
        seconds: float = SEARCH_SECONDS,
        turn_seconds: float = TURN_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self.topics = tuple(spec.name for spec in topic_map.specs())
        frames = topic_map.topics("tick_frame")
        self.without_frames = tuple(name for name in self.topics if name not in frames)
        self._most = most_examined
        self._seconds = seconds
        self._turn_seconds = turn_seconds
        self._monotonic = monotonic
        self._turn = asyncio.Lock()

    async def find(self, wanted: Wanted) -> Found:
        """Searches, once no other search runs.

        Raises:
            TooMany: other searches have run for too long.
            LogUnavailable: the log can't be read.
        """
        try:
            async with asyncio.timeout(self._turn_seconds):
                await self._turn.acquire()
        except TimeoutError:
            raise TooMany(
                "SEARCH_RUNNING", "another search of the log is running; try again in a few seconds"
            ) from None
        try:
            return await self._find(wanted)
        finally:
            self._turn.release()

    async def _find(self, wanted: Wanted) -> Found:
        first, end = await self._span(wanted)
        found = Found()
        sizes = {at: end[at] - first[at] for at in end if end[at] > first[at]}
        allowed = reach(sizes, self._most)
        if any(size > allowed for size in sizes.values()):
            found.incomplete = f"only the newest {allowed:,} records of each partition were examined"
        topics = sorted({at.topic for at in sizes})
        if not topics:
            return found
        starts = {at: max(first[at], end[at] - allowed) if at in sizes else end[at] for at in end}
        reader = self._log.topic_reader(topics, {at: starts[at] for at in end if at.topic in topics})
        await reader.start()
        try:
            until = self._monotonic() + self._seconds
            needles = [one.encode() for one in wanted.ids]
            while any(reader.position(at) < end[at] for at in sizes):
                if self._monotonic() > until:
                    found.incomplete = f"the search was ended after {self._seconds:g} s"
                    break
                for record in await reader.fetch(_AT_ONCE, _FETCH_SECONDS):
                    found.examined += 1
                    if record.offset < end[record.topic_partition] and _names(record, needles):
                        found.records.append(record)
        finally:
            await reader.stop()
        found.records.sort(key=lambda one: (one.appended_at_ns, one.topic, one.partition, one.offset))
        if len(found.records) > wanted.limit:
            del found.records[wanted.limit :]
            found.incomplete = f"more than {wanted.limit:,} records match; these are the oldest"
        return found

    async def _span(
        self, wanted: Wanted
    ) -> tuple[Mapping[TopicPartition, int], Mapping[TopicPartition, int]]:
        """Returns first and end offset of what is searched, by partition."""
        since = 0 if wanted.since is None else nanoseconds(wanted.since)
        first = await self._log.offsets_at(wanted.topics, since)
        if wanted.until is None:
            return first, await self._log.end_offsets(wanted.topics)
        return first, await self._log.offsets_at(wanted.topics, nanoseconds(wanted.until))


def _names(record: StoredRecord, needles: Sequence[bytes]) -> bool:
    """Whether a record names one of the ids. An event's ids are text in its bytes, so nothing has to be decoded."""
    return any(needle in record.value for needle in needles) or any(
        needle in value for needle in needles for _, value in record.headers
    )
