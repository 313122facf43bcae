"""Back-off state of a consumer: which partitions wait after a failure, for how long, and what was counted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import TypeVar

from structlog.typing import FilteringBoundLogger

from alphapanda.contract.topics import TopicPartition
from alphapanda.domain.consumer_status import ConsumerStatus
from alphapanda.resilience.attempts import until_it_works
from alphapanda.resilience.backoff import Backoff
from alphapanda.resilience.failures import in_one_line

T = TypeVar("T")


class BackoffState:
    """Counts failures and delays the next attempt, by partition.

    Args:
        consumer: name of the consumer, for its status.
        backoff: the delays.
        broker_of: the broker of a topic.
        sleep: waits for seconds.
        wall_clock: wall time, aware.
        logger: bound to the consumer.
    """

    def __init__(
        self,
        consumer: str,
        backoff: Backoff,
        broker_of: Callable[[str], str],
        sleep: Callable[[float], Awaitable[None]],
        wall_clock: Callable[[], datetime],
        logger: FilteringBoundLogger,
    ) -> None:
        self.counts: dict[str, ConsumerStatus] = {}
        self.waiting: dict[TopicPartition, int] = {}
        self.halted: dict[TopicPartition, int] = {}
        self.resting: set[asyncio.Task[None]] = set()
        self._limits: set[asyncio.Timeout] = set()
        self._consumer = consumer
        self._backoff = backoff
        self._broker_of = broker_of
        self._sleep = sleep
        self._wall_clock = wall_clock
        self._logger = logger

    def counts_of(self, at: TopicPartition) -> ConsumerStatus:
        """Returns the counts of the partition's broker."""
        return self._of_broker(self._broker_of(at.topic))

    def handled(self, at: TopicPartition, records: int) -> None:
        """Counts handled records; the partition doesn't wait any more."""
        self.waiting.pop(at, None)
        self.counts_of(at).processed += records

    def failed(self, partitions: Iterable[TopicPartition], error: Exception) -> None:
        """Counts a failed attempt, once for each broker of the partitions."""
        now = self._wall_clock()
        for broker in {self._broker_of(at.topic) for at in partitions}:
            self._of_broker(broker).count_failure(in_one_line(error), now)

    def _of_broker(self, broker: str) -> ConsumerStatus:
        if broker not in self.counts:
            self.counts[broker] = ConsumerStatus(self._consumer, broker)
        return self.counts[broker]

    def forget(self, at: TopicPartition) -> None:
        """Forgets a partition that was revoked."""
        self.waiting.pop(at, None)
        self.halted.pop(at, None)

    def halt(self, places: Mapping[TopicPartition, int], error: Exception) -> None:
        """Halts these partitions: their records are not handled any more."""
        for at, offset in places.items():
            self.waiting.pop(at, None)
            self.halted[at] = offset
        raised = error if error.__traceback__ is not None else None
        self._logger.error(
            "consumer.halted", alarm=True, places=_shown(places), error=in_one_line(error), exc_info=raised
        )

    async def wait(self, places: Mapping[TopicPartition, int], error: Exception, failures: int) -> None:
        """Counts a failure and waits; the delay grows with the number of failures in a row."""
        self.failed(places, error)
        if failures & (failures - 1) == 0:  # the 1st, 2nd, 4th, 8th …
            self._logger.warning(
                "consumer.waiting", places=_shown(places), failures=failures, error=in_one_line(error)
            )
        await self.rest(places, self._backoff.seconds(failures))
        for broker in {self._broker_of(at.topic) for at in places}:
            self.counts[broker].retried += 1

    async def rest(self, places: Mapping[TopicPartition, int], seconds: float) -> None:
        """Waits, until `wake` at most; the wait is cancelled when the consumer stops."""
        self.waiting.update(places)
        task = asyncio.current_task()
        if task is not None:
            self.resting.add(task)
        limit = asyncio.timeout(None)
        self._limits.add(limit)
        try:
            async with limit:
                await self._sleep(seconds)
        except TimeoutError:
            return
        finally:
            self._limits.discard(limit)
            if task is not None:
                self.resting.discard(task)

    def wake(self) -> None:
        """Ends all waits: what was away has come back."""
        limits, self._limits = self._limits, set()
        for limit in limits:
            limit.reschedule(0.0)

    async def until_it_works(
        self, places: Mapping[TopicPartition, int], call: Callable[[], Awaitable[T]]
    ) -> T:
        """Repeats a call while it fails transiently, and returns its result; raises any other failure."""
        result = await until_it_works(call, lambda error, failures: self.wait(places, error, failures))
        for at in places:
            self.waiting.pop(at, None)
        return result


def _shown(places: Mapping[TopicPartition, int]) -> list[str]:
    return [f"{at.topic}/{at.partition}@{offset}" for at, offset in places.items()]
