"""The reliable consumer: nothing skipped, nothing lost, every failure by its kind (rule 5 of the design).

    can't be read, breaks a rule, wrong broker   the topic's .dlq at once, with the original bytes; the rest goes on
    passes by waiting                            the partition waits, longer and longer, for ever; the others go on
    anything else: a bug                         the records one by one; the one that fails `bug_attempts` times goes
                                                 to the .dlq on market data, and parks its key on money topics

A partition's records are handled in order and by one task at a time; offsets are committed after the effects, at an
interval and when partitions go. This file is its life, its reading and its reports; `handling.py` is what is done with
records.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from alphapanda.consuming.backoff_state import BackoffState
from alphapanda.consuming.dead_letters import DeadLetters
from alphapanda.consuming.delivery import Handler
from alphapanda.consuming.group_offsets import COMMIT_SECONDS, GroupOffsets
from alphapanda.consuming.handling import Discard, Halted, Handling
from alphapanda.consuming.options import ConsumerOptions
from alphapanda.consuming.parking import Parking
from alphapanda.consuming.reporting import reported
from alphapanda.contract.topics import TopicMap, TopicPartition
from alphapanda.domain.consumer_status import ConsumerStatus
from alphapanda.eventlog.port import Assignment, EventLog, GroupReader, StoredRecord
from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.backoff import Backoff
from alphapanda.resilience.breakers import Breakers
from alphapanda.resilience.failures import in_one_line

_FETCH_SECONDS = 60.0

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _InHand:
    """What a partition is busy with. `arriving` names all partitions of an assignment that is being taken up."""

    task: asyncio.Task[None]
    offset: int
    arriving: tuple[TopicPartition, ...] = ()


class ReliableConsumer:
    """Feeds a handler from a group reader.

    Args:
        name: its consumer group, and its name in reports, such as "risk.signals".
        service: the service it belongs to, for log lines.
        log: the log it reads, to tell its lag.
        reader: `log.group_reader(name, …)`, not started.
        topic_map: the deployment's topics.
        handler: what is done with a batch.
        dead_letters: where records go that can't be handled.
        policy: batch size, back-off, attempts.
        parking: where keys of money topics are parked; None halts the partition instead.
        discard: how a parked record is ended; None where it can't be.
        assignment: what the service does before the first record of new partitions, and after the last of old ones;
            retried like a handler.
        drain_seconds: how long a batch in hand may still take when its partition goes or the consumer stops.
        commit_seconds: between two commits of offsets.
        sleep: waits for seconds.
        chance: numbers in [0, 1) for the back-off.
        wall_clock: wall time, aware.
    """

    def __init__(
        self,
        *,
        name: str,
        service: str,
        log: EventLog,
        reader: GroupReader,
        topic_map: TopicMap,
        handler: Handler,
        dead_letters: DeadLetters,
        policy: ConsumerOptions,
        parking: Parking | None = None,
        discard: Discard | None = None,
        assignment: Assignment | None = None,
        drain_seconds: float = 5.0,
        commit_seconds: float = COMMIT_SECONDS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.name = name
        self._log = log
        self._reader = reader
        self._topic_map = topic_map
        self._policy = policy
        self._assignment = assignment
        self._drain_seconds = drain_seconds
        self._sleep = sleep
        self._backoff = Backoff(policy.backoff_initial_seconds, policy.backoff_max_seconds, chance)
        self._logger = _logger.bind(service=service, consumer=name)
        self._backoff_state = BackoffState(
            name, self._backoff, topic_map.broker, sleep, wall_clock, self._logger
        )
        self._offsets = GroupOffsets(
            reader.commit, commit_seconds, self._backoff, self._backoff_state.failed, sleep, self._logger
        )
        self._breakers = Breakers(policy.breaker_failures, policy.breaker_seconds)
        self._handling = Handling(
            name,
            topic_map,
            handler,
            dead_letters,
            policy,
            self._backoff_state,
            self._breakers,
            parking,
            discard,
            self._logger,
        )
        self._resumes = parking is not None or assignment is not None
        self._in_hand: dict[TopicPartition, _InHand] = {}
        self._fetch_failures = 0
        self._fetching: asyncio.Task[None] | None = None

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Joins the group and begins; without topics there is nothing to begin.

        Raises:
            TopicMissing: one of its topics doesn't exist.
            LogUnavailable: the log is away.
        """
        if not self._reader.topics:
            return
        await self._reader.start(self)
        self._offsets.start()
        self._fetching = asyncio.create_task(self._fetch(), name=self.name)

    async def stop(self) -> None:
        """Ends: the batches in hand are finished, or abandoned after `drain_seconds`; then it leaves the group."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])
            self._fetching = None
        await self._finish(tuple(self._in_hand))
        await self._offsets.stop()
        await self._reader.stop()

    async def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Takes partitions up; they are fetched once parked keys are known and the service's own assignment has run."""
        for at in partitions:
            self._backoff_state.counted(at)
        if self._resumes and partitions:
            arriving = tuple(partitions)
            task = asyncio.create_task(self._arrive(arriving))
            for at in arriving:
                self._reader.pause(at)
                self._take_up(at, _InHand(task, self._reader.position(at), arriving))

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Finishes or abandons what is in hand of these partitions, commits what was handled, then lets go of them."""
        unfinished = {
            other for at in partitions if at in self._in_hand for other in self._in_hand[at].arriving
        }
        await self._finish(partitions)
        await self._offsets.hand_over(partitions)
        if self._assignment is not None and (
            error := await attempted(self._assignment.on_revoked(partitions))
        ):
            self._backoff_state.failed(partitions, error)
            self._logger.error("consumer.revocation_failed", error=in_one_line(error))
        for at in partitions:
            self._backoff_state.let_go(at)
        self._handling.let_go(partitions)
        await self.on_assigned(sorted(unfinished.difference(partitions)))

    async def _arrive(self, partitions: tuple[TopicPartition, ...]) -> None:
        places = {at: self._reader.position(at) for at in partitions}

        async def arrive() -> None:
            await self._handling.take_up(partitions)
            if self._assignment is not None:
                await self._assignment.on_assigned(partitions)

        if error := await attempted(self._backoff_state.until_it_works(places, arrive)):
            self._backoff_state.failed(places, error)
            self._backoff_state.halt(places, error)

    # -- reading ------------------------------------------------------------------------------------------------------

    async def _fetch(self) -> None:
        while True:
            try:
                fetched = await self._reader.fetch(self._policy.batch_size, _FETCH_SECONDS)
            except Exception as error:
                self._fetch_failures += 1
                self._backoff_state.failed(self._reader.assigned(), error)
                self._logger.warning("consumer.fetch_failed", error=in_one_line(error))
                await self._sleep(self._backoff.seconds(self._fetch_failures))
                continue
            self._fetch_failures = 0
            for at, records in fetched.items():
                self._reader.pause(at)  # until this batch is done
                self._offsets.fetched(at, records[0].offset)
                task = asyncio.create_task(self._work(at, records))
                self._take_up(at, _InHand(task, records[0].offset))

    def _take_up(self, at: TopicPartition, in_hand: _InHand) -> None:
        self._in_hand[at] = in_hand
        in_hand.task.add_done_callback(lambda _: self._put_down(at, in_hand))

    def _put_down(self, at: TopicPartition, in_hand: _InHand) -> None:
        if self._in_hand.get(at) is in_hand:
            del self._in_hand[at]
            if at not in self._backoff_state.halted and not in_hand.task.cancelled():
                self._reader.resume(at)

    async def _finish(self, partitions: Iterable[TopicPartition]) -> None:
        tasks = {self._in_hand[at].task for at in partitions if at in self._in_hand}
        for task in tasks & self._backoff_state.resting:
            task.cancel()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._drain_seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    async def _work(self, at: TopicPartition, records: Sequence[StoredRecord]) -> None:
        error = await attempted(self._work_through(at, records))
        if error is not None:  # a bug of the consumer's own must not end as a partition that nobody reads
            self._backoff_state.failed([at], error)
            self._backoff_state.halt({at: records[0].offset}, error)

    async def _work_through(self, at: TopicPartition, records: Sequence[StoredRecord]) -> None:
        try:
            await self._handling.work(at, records)
        except Halted as halted:
            self._offsets.handled(at, halted.offset)
            self._backoff_state.halt({at: halted.offset}, halted.cause)
        else:
            self._offsets.handled(at, records[-1].offset + 1)

    # -- reports ------------------------------------------------------------------------------------------------------

    @property
    def serving(self) -> bool:
        """Whether it runs, where it has topics, and nothing is kept from moving by an error."""
        return (
            (self._fetching is not None or not self._reader.topics)
            and not self._fetch_failures
            and not self._offsets.failing
            and not self._backoff_state.waiting
            and not self._backoff_state.halted
        )

    def status(self) -> list[ConsumerStatus]:
        """One status a broker, of the brokers whose partitions it has had."""
        stuck = self._backoff_state.waiting | self._backoff_state.halted
        return reported(
            self._backoff_state.counts,
            stuck,
            self._topic_map.broker,
            self._handling.parked(),
            self._breakers.reason,
        )

    async def lag(self) -> dict[str, int]:
        """Records on the log that it has not handled yet, by broker, of the partitions it holds."""
        ends = await self._log.end_offsets(sorted({at.topic for at in self._reader.assigned()}))
        lag = dict.fromkeys(self._backoff_state.counts, 0)
        for at in self._reader.assigned():
            lag[self._topic_map.broker(at.topic)] += max(0, ends[at] - self._next(at))
        return lag

    def _next(self, at: TopicPartition) -> int:
        if at in self._backoff_state.halted:
            return self._backoff_state.halted[at]
        return self._in_hand[at].offset if at in self._in_hand else self._reader.position(at)

    def idle(self) -> bool:
        """Whether nothing it has fetched is unhandled."""
        return not self._in_hand and not self._backoff_state.halted
