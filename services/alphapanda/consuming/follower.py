"""Reads whole topics without a consumer group: control topics from the first record, frames from the newest on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

import structlog

from alphapanda.consuming.dead_letters import is_command
from alphapanda.consuming.options import ConsumerOptions
from alphapanda.consuming.reporting import reported
from alphapanda.contract.topics import TopicMap, TopicPartition
from alphapanda.domain.consumer_status import ConsumerStatus
from alphapanda.eventlog.decode import Unreadable, from_record
from alphapanda.eventlog.port import EventLog, LogUnavailable, Start, StoredRecord
from alphapanda.resilience.attempts import attempted, until_it_works
from alphapanda.resilience.backoff import Backoff
from alphapanda.resilience.failures import in_one_line
from alphapanda.resilience.tasks import kept_running
from panda.events.v1.events_pb2 import Event

_FETCH_SECONDS = 60.0

_logger = structlog.get_logger(__name__)


class TopicFollower:
    """Passes every event of a payload's topics to a callback, in order per partition, in one task.

    An unreadable record is counted, logged and skipped: without a group it can't be redriven. A transient failure is
    retried. After a bug a frame is skipped; on a money topic (control) the follower stops, because it would otherwise
    act on a state that nobody decided.

    Args:
        name: the follower's name in reports, such as "portfolio.frames".
        service: the service it belongs to, for log lines.
        log: the log.
        topic_map: the deployment's topics.
        payload: the payload's field name; its topics of every active broker are read.
        on_event: handles an event; may be called again with the same event.
        start: EARLIEST: `start()` returns once all kept records have been handled.
        policy: batch size and back-off.
        sleep: waits for seconds.
        chance: returns random numbers in [0, 1), for the back-off.
        wall_clock: wall time, aware.
    """

    def __init__(
        self,
        *,
        name: str,
        service: str,
        log: EventLog,
        topic_map: TopicMap,
        payload: str,
        on_event: Callable[[Event], Awaitable[None]],
        start: Start,
        policy: ConsumerOptions,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.name = name
        self._log = log
        self._topic_map = topic_map
        self._topics = topic_map.topics(payload)
        self._on_event = on_event
        self._start = start
        self._batch_size = policy.batch_size
        self._sleep = sleep
        self._backoff = Backoff(policy.backoff_initial_seconds, policy.backoff_max_seconds, chance)
        self._wall_clock = wall_clock
        self._reader = log.topic_reader(self._topics, start)
        brokers = map(topic_map.broker, self._topics)
        self._counts = {broker: ConsumerStatus(name, broker) for broker in brokers}
        self._done: dict[TopicPartition, int] = {}
        self._stuck: dict[TopicPartition, int] = {}
        self._waiting = False
        self._has_unhandled = False
        self._fetch_failures = 0
        self._task: asyncio.Task[None] | None = None
        self._logger = _logger.bind(service=service, follower=name)

    async def start(self) -> None:
        """Starts to read; with EARLIEST it returns once all records that were on the log at this time are handled.

        Raises:
            TopicMissing: one of the topics doesn't exist.
        """
        await self._reader.start()
        ends = await self._log.end_offsets(self._topics)
        self._done = {at: self._reader.position(at) for at in ends}
        if self._start is Start.EARLIEST:
            while not self._stuck and self._behind(ends):
                await self._fetch_once(0.0)
        self._task = kept_running(self._follow, self.name, self._logger)

    async def stop(self) -> None:
        """Stops reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        await self._reader.stop()

    async def settled(self) -> bool:
        """Whether everything that is on the log now has been handled."""
        if self._has_unhandled:
            return False
        fetched_all = self._reader.has_fetched_all()
        return (
            not self._behind(await self._log.end_offsets(self._topics))
            if fetched_all is None
            else fetched_all
        )

    @property
    def serving(self) -> bool:
        """Whether it runs and isn't stopped by an error."""
        return self._task is not None and not self._task.done() and not self._waiting

    def status(self) -> list[ConsumerStatus]:
        """Returns one status for each broker."""
        return reported(self._counts, self._stuck, self._topic_map.broker)

    async def lag(self) -> dict[str, int]:
        """Returns the number of records not handled yet, by broker."""
        lag = dict.fromkeys(self._counts, 0)
        for at, end in (await self._log.end_offsets(self._topics)).items():
            lag[self._topic_map.broker(at.topic)] += max(0, end - self._done[at])
        return lag

    def _behind(self, ends: Mapping[TopicPartition, int]) -> bool:
        return any(self._done[at] < end for at, end in ends.items())

    async def _follow(self) -> None:
        while not self._stuck:
            await self._fetch_once(_FETCH_SECONDS)

    async def _fetch_once(self, timeout: float) -> None:
        try:
            records = await self._reader.fetch(self._batch_size, timeout)
        except LogUnavailable as error:
            self._fetch_failures += 1
            for counted in self._counts.values():
                counted.count_failure(in_one_line(error), self._wall_clock())
            await self._wait(self._fetch_failures)
            return
        self._fetch_failures = 0
        self._waiting = False
        self._has_unhandled = bool(records)
        for record in records:
            if not await self._deliver(record):
                return
            self._done[record.topic_partition] = record.offset + 1
        self._has_unhandled = False
        for at in self._done:  # records that retention deleted count as handled
            self._done[at] = max(self._done[at], self._reader.position(at))

    async def _deliver(self, record: StoredRecord) -> bool:
        """Handles a record; returns whether it is finished with."""
        counted = self._counts[self._topic_map.broker(record.topic)]
        if is_command(record):  # commands are for groups
            return True
        try:
            event = from_record(record, self._topic_map)
        except Unreadable as unreadable:
            counted.count_failure(in_one_line(unreadable), self._wall_clock())
            self._report(record, unreadable)
            return True

        async def wait(away: Exception, failures: int) -> None:
            counted.count_failure(in_one_line(away), self._wall_clock())
            self._stuck[record.topic_partition] = record.offset
            await self._wait(failures)
            counted.retried += 1

        bug = await attempted(until_it_works(lambda: self._on_event(event), wait))
        if bug is not None:
            counted.count_failure(in_one_line(bug), self._wall_clock())
            self._report(record, bug)
            if self._topic_map.policy(record.topic).money:
                self._stuck[record.topic_partition] = record.offset
                return False
        self._stuck.pop(record.topic_partition, None)
        self._waiting = False
        counted.processed += bug is None
        return True

    async def _wait(self, failures: int) -> None:
        self._waiting = True
        await self._sleep(self._backoff.seconds(failures))

    def _report(self, record: StoredRecord, error: Exception) -> None:
        self._logger.error(
            "follower.record_unreadable" if isinstance(error, Unreadable) else "follower.record_failed",
            alarm=True,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            error=in_one_line(error),
        )
