"""The reliable consumer: skips no record, loses none, and treats each failure by its kind (rule 5 of the design).

    unreadable, breaks a rule, wrong broker   the record goes to the topic's .dlq at once, with its original bytes
    transient                                 the partition waits and retries, with growing delays; others go on
    anything else: a bug                      records are handled one by one; one that fails `bug_attempts` times goes
                                              to the .dlq on market data, and parks its key on money topics
    most records are bugs                     the version is at fault: the consumer stops and sets no more aside

A partition's records are handled in order, by one task at a time. Offsets are committed after the effects: at an
interval, and when partitions are revoked. This module starts, stops, fetches and reports; `handling.py` handles records.
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
from alphapanda.resilience.tasks import kept_running

_FETCH_SECONDS = 60.0

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _InProgress:
    """The running task of a partition. `arriving` names all partitions of an assignment that is being prepared."""

    task: asyncio.Task[None]
    offset: int
    arriving: tuple[TopicPartition, ...] = ()


class ReliableConsumer:
    """Reads topics as a member of a consumer group and passes the records to a handler.

    Args:
        name: the consumer group, and the consumer's name in reports, such as "risk.signals".
        service: the service it belongs to, for log lines.
        log: the log it reads, to compute its lag.
        reader: `log.group_reader(name, …)`, not started.
        topic_map: the deployment's topics.
        handler: handles batches of records.
        dead_letters: stores records that can't be handled.
        policy: batch size, back-off, attempts.
        parking: stores parked keys of money topics; None: a bug halts the partition instead.
        discard: discards a parked record; None: records of this group can't be discarded.
        assignment: the service's own callbacks, before the first record of new partitions and after the last record of
            revoked ones; retried like a handler.
        drain_seconds: how long a running batch may take when its partition is revoked or the consumer stops.
        commit_seconds: seconds between two commits of offsets.
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
        self._in_progress: dict[TopicPartition, _InProgress] = {}
        self._fetch_failures = 0
        self._fetching: asyncio.Task[None] | None = None

    # -- start and stop -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Joins the group and starts to fetch; does nothing where it has no topics.

        Raises:
            TopicMissing: one of its topics doesn't exist.
            LogUnavailable: the log can't be reached.
        """
        if not self._reader.topics:
            return
        await self._reader.start(self)
        self._offsets.start()
        self._fetching = kept_running(self._fetch, self.name, self._logger)

    async def stop(self) -> None:
        """Finishes the running batches, or cancels them after `drain_seconds`; then leaves the group."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])
            self._fetching = None
        await self._finish(tuple(self._in_progress))
        await self._offsets.stop()
        await self._reader.stop()

    async def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Accepts partitions; they are fetched once their parked keys are loaded and the service's callback has run."""
        for at in partitions:
            self._backoff_state.counts_of(at)
        if self._resumes and partitions:
            arriving = tuple(partitions)
            task = asyncio.create_task(self._prepare(arriving))
            for at in arriving:
                self._reader.pause(at)
                self._begin(at, _InProgress(task, self._reader.position(at), arriving))

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Finishes or cancels the batches of these partitions, commits what was handled, then releases them."""
        unfinished = {
            other for at in partitions if at in self._in_progress for other in self._in_progress[at].arriving
        }
        await self._finish(partitions)
        await self._offsets.hand_over(partitions)
        if self._assignment is not None and (
            error := await attempted(self._assignment.on_revoked(partitions))
        ):
            self._backoff_state.failed(partitions, error)
            self._logger.error("consumer.revocation_failed", error=in_one_line(error))
        for at in partitions:
            self._backoff_state.forget(at)
        self._handling.forget(partitions)
        await self.on_assigned(sorted(unfinished.difference(partitions)))

    async def _prepare(self, partitions: tuple[TopicPartition, ...]) -> None:
        places = {at: self._reader.position(at) for at in partitions}

        async def prepare() -> None:
            await self._handling.load_parked(partitions)
            if self._assignment is not None:
                await self._assignment.on_assigned(partitions)

        if error := await attempted(self._backoff_state.until_it_works(places, prepare)):
            self._backoff_state.failed(places, error)
            self._backoff_state.halt(places, error)

    # -- fetching -----------------------------------------------------------------------------------------------------

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
                task = asyncio.create_task(self._process(at, records))
                self._begin(at, _InProgress(task, records[0].offset))

    def _begin(self, at: TopicPartition, running: _InProgress) -> None:
        self._in_progress[at] = running
        running.task.add_done_callback(lambda _: self._end(at, running))

    def _end(self, at: TopicPartition, running: _InProgress) -> None:
        if self._in_progress.get(at) is running:
            del self._in_progress[at]
            if at not in self._backoff_state.halted and not running.task.cancelled():
                self._reader.resume(at)

    async def _finish(self, partitions: Iterable[TopicPartition]) -> None:
        tasks = {self._in_progress[at].task for at in partitions if at in self._in_progress}
        for task in tasks & self._backoff_state.resting:
            task.cancel()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._drain_seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    async def _process(self, at: TopicPartition, records: Sequence[StoredRecord]) -> None:
        error = await attempted(self._process_records(at, records))
        if error is not None:  # a bug in the consumer itself must not leave a partition that is never read
            self._backoff_state.failed([at], error)
            self._backoff_state.halt({at: records[0].offset}, error)

    async def _process_records(self, at: TopicPartition, records: Sequence[StoredRecord]) -> None:
        try:
            await self._handling.work(at, records)
        except Halted as halted:
            self._offsets.handled(at, halted.offset)
            self._backoff_state.halt({at: halted.offset}, halted.cause)
        else:
            self._offsets.handled(at, records[-1].offset + 1)

    def try_now(self) -> None:
        """Makes delayed attempts at once: a dependency has come back."""
        self._breakers.probe_now()
        self._backoff_state.wake()

    # -- status -------------------------------------------------------------------------------------------------------

    @property
    def serving(self) -> bool:
        """Whether it runs (where it has topics) and no partition is stopped by an error."""
        return (
            (self._fetching is not None or not self._reader.topics)
            and not self._fetch_failures
            and not self._offsets.failing
            and not self._handling.stopped
            and not self._backoff_state.waiting
            and not self._backoff_state.halted
        )

    def status(self) -> list[ConsumerStatus]:
        """Returns one status for each broker whose partitions it has had."""
        stuck = self._backoff_state.waiting | self._backoff_state.halted
        return reported(
            self._backoff_state.counts,
            stuck,
            self._topic_map.broker,
            self._handling.parked(),
            lambda broker: self._handling.stopped or self._breakers.reason(broker),
            self._breakers.open_circuits,
        )

    async def lag(self) -> dict[str, int]:
        """Returns the number of unhandled records in the partitions it holds, by broker."""
        ends = await self._log.end_offsets(sorted({at.topic for at in self._reader.assigned()}))
        lag = dict.fromkeys(self._backoff_state.counts, 0)
        for at in self._reader.assigned():
            lag[self._topic_map.broker(at.topic)] += max(0, ends[at] - self._next(at))
        return lag

    def _next(self, at: TopicPartition) -> int:
        if at in self._backoff_state.halted:
            return self._backoff_state.halted[at]
        return self._in_progress[at].offset if at in self._in_progress else self._reader.position(at)

    def idle(self) -> bool:
        """Whether every record it has fetched is handled."""
        return not self._in_progress and not self._backoff_state.halted

    async def settled(self) -> bool:
        """Whether everything that is on the log now, in the partitions it holds, has been handled."""
        if not self.idle():
            return False
        fetched_all = self._reader.has_fetched_all()
        return not any((await self.lag()).values()) if fetched_all is None else fetched_all
