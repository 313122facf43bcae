"""Offsets of a consumer group: tracked as records are handled, committed at an interval and on revocation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from structlog.typing import FilteringBoundLogger

from alphapanda.contract.topics import TopicPartition
from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.backoff import Backoff
from alphapanda.resilience.failures import in_one_line
from alphapanda.resilience.tasks import kept_running

COMMIT_SECONDS = 0.5
"""While the log answers, an offset is committed within this time after its record was handled."""
REPEAT_SECONDS = 10.0
"""After a commit failed all offsets are committed once more this much later: the log may carry it out late, over newer ones."""
_LAST_COMMIT_SECONDS = 2.0

Commit = Callable[[Mapping[TopicPartition, int]], Awaitable[None]]


class GroupOffsets:
    """Commits the offsets of all partitions together, while the next records are already being handled.

    Records that were handled but not committed are delivered again after a crash; handlers recognise them. A committed
    offset is never beyond a record that was fetched and isn't handled.

    Args:
        commit: stores the offset of the next record to handle, per partition.
        interval_seconds: seconds between two commits.
        backoff: delays after failed commits.
        failed: called with the partitions and the error of a failed commit.
        sleep: waits for seconds after a failure.
        logger: bound to the consumer.
        repeat_seconds: seconds after a failed commit until all offsets are committed once more.
    """

    def __init__(
        self,
        commit: Commit,
        interval_seconds: float,
        backoff: Backoff,
        failed: Callable[[Iterable[TopicPartition], Exception], None],
        sleep: Callable[[float], Awaitable[None]],
        logger: FilteringBoundLogger,
        repeat_seconds: float = REPEAT_SECONDS,
    ) -> None:
        self._commit = commit
        self._interval = interval_seconds
        self._backoff = backoff
        self._failed = failed
        self._sleep = sleep
        self._logger = logger
        self._handled: dict[TopicPartition, int] = {}
        self._unhandled: dict[TopicPartition, int] = {}
        self._stored: dict[TopicPartition, int] = {}
        self._on_their_way: set[TopicPartition] = set()
        self._failures = 0
        self._repeat_seconds = repeat_seconds
        self._repeat_at: float | None = None
        self._moved = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    @property
    def failing(self) -> bool:
        """Whether the last commit failed."""
        return self._failures > 0

    def start(self) -> None:
        """Starts to commit at the interval."""
        self._task = kept_running(self._commit_at_intervals, "group offsets", self._logger)

    async def stop(self) -> None:
        """Stops without a last commit; `hand_over` makes that."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    def fetched(self, at: TopicPartition, offset: int) -> None:
        """Notes that records from this offset on are fetched and not handled yet."""
        self._unhandled[at] = offset

    def handled(self, at: TopicPartition, offset: int) -> None:
        """Notes that all records below this offset are handled."""
        self._unhandled.pop(at, None)
        self._handled[at] = offset
        self._moved.set()

    async def hand_over(self, partitions: Sequence[TopicPartition]) -> None:
        """Commits the offsets of revoked partitions, if the log answers in time, and forgets the partitions."""
        try:
            async with asyncio.timeout(_LAST_COMMIT_SECONDS):
                error = await attempted(self._store(partitions))
        except TimeoutError as late:
            error = late
        if error is not None:
            self._logger.warning("consumer.offsets_not_committed", error=in_one_line(error))
        # A commit on its way is one of an earlier membership from now on: whether it counts isn't known here.
        self._on_their_way.difference_update(partitions)
        for at in partitions:
            for offsets in (self._handled, self._unhandled, self._stored):
                offsets.pop(at, None)

    async def _commit_at_intervals(self) -> None:
        while True:
            await self._until_due()
            partitions = tuple(self._handled)
            error = await attempted(self._store(partitions))
            if error is None:
                self._failures = 0
                await asyncio.sleep(self._interval)
                continue
            self._failures += 1
            self._repeat_at = asyncio.get_running_loop().time() + self._repeat_seconds
            self._failed(partitions, error)
            if self._failures & (self._failures - 1) == 0:  # the 1st, 2nd, 4th, 8th …
                self._logger.warning(
                    "consumer.commit_failed", failures=self._failures, error=in_one_line(error)
                )
            self._moved.set()
            await self._sleep(self._backoff.seconds(self._failures))

    async def _until_due(self) -> None:
        """Waits until an offset has moved, or until all are to be committed once more."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._repeat_at):
                await self._moved.wait()
        self._moved.clear()
        if self._repeat_at is not None and asyncio.get_running_loop().time() >= self._repeat_at:
            self._repeat_at = None
            self._stored.clear()

    async def _store(self, partitions: Iterable[TopicPartition]) -> None:
        async with self._one_at_a_time:
            due = {
                at: min(self._handled[at], self._unhandled.get(at, self._handled[at]))
                for at in partitions
                if at in self._handled
            }
            due = {at: offset for at, offset in due.items() if offset != self._stored.get(at)}
            if due:
                self._on_their_way = set(due)
                await self._commit(due)
                self._stored |= {at: offset for at, offset in due.items() if at in self._on_their_way}
