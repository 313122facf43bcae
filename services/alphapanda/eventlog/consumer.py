"""The reliable consumer: nothing skipped, nothing lost, every failure by its kind (rule 5 of the design).

    can't be read, breaks a rule, wrong broker   the topic's .dlq at once, with the original bytes; the rest goes on
    passes by waiting                            the partition waits, longer and longer, for ever; the others go on
    anything else: a bug                         the records one by one; the one that fails `bug_attempts` times goes
                                                 to the .dlq on market data, and stops its partition on money topics

A partition's records are handled in order and by one task at a time; offsets are committed after the effects.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from alphapanda.eventlog.backoff import Backoff
from alphapanda.eventlog.consumer_status import ConsumerStatus, Tally, statuses
from alphapanda.eventlog.dead_letters import DeadLetters
from alphapanda.eventlog.decode import Reason, Unreadable, from_record
from alphapanda.eventlog.delivery import Delivery, Handler
from alphapanda.eventlog.failures import in_one_line, is_transient
from alphapanda.eventlog.port import Assignment, EventLog, GroupReader, StoredRecord, TopicPartition
from alphapanda.eventlog.topics import TopicMap
from alphapanda.settings import ConsumerSettings
from alphapanda.telemetry.correlation import current_correlation_id

_FETCH_SECONDS = 60.0

_logger = structlog.get_logger(__name__)


class _Halted(Exception):
    """The partition doesn't move any more."""


@dataclass(frozen=True, slots=True)
class _InHand:
    """What a partition is busy with. `arriving` names all partitions of an assignment that is being taken up."""

    task: asyncio.Task[None]
    offset: int
    arriving: tuple[TopicPartition, ...] = ()


async def attempted(call: Awaitable[None]) -> Exception | None:
    """What a call failed with, None where it succeeded. For callers that tell failures apart by themselves."""
    try:
        await call
    except Exception as error:
        return error
    return None


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
        assignment: what the service does before the first record of new partitions, and after the last of old ones;
            retried like a handler.
        drain_seconds: how long a batch in hand may still take when its partition goes or the consumer stops.
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
        policy: ConsumerSettings,
        assignment: Assignment | None = None,
        drain_seconds: float = 5.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.name = name
        self._log = log
        self._reader = reader
        self._topic_map = topic_map
        self._handler = handler
        self._dead_letters = dead_letters
        self._policy = policy
        self._assignment = assignment
        self._drain_seconds = drain_seconds
        self._sleep = sleep
        self._backoff = Backoff(policy.backoff_initial_seconds, policy.backoff_max_seconds, chance)
        self._wall_clock = wall_clock
        self._turns = asyncio.Semaphore(policy.concurrency)
        self._tallies: dict[str, Tally] = {}
        self._in_hand: dict[TopicPartition, _InHand] = {}
        self._resting: set[asyncio.Task[None]] = set()
        self._waiting: dict[TopicPartition, int] = {}
        self._halted: dict[TopicPartition, int] = {}
        self._fetch_failures = 0
        self._fetching: asyncio.Task[None] | None = None
        self._logger = _logger.bind(service=service, consumer=name)

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Joins the group and begins.

        Raises:
            TopicMissing: one of its topics doesn't exist.
            LogUnavailable: the log is away.
        """
        await self._reader.start(self)
        self._fetching = asyncio.create_task(self._fetch(), name=self.name)

    async def stop(self) -> None:
        """Ends: the batches in hand are finished, or abandoned after `drain_seconds`; then it leaves the group."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])
            self._fetching = None
        await self._finish(tuple(self._in_hand))
        await self._reader.stop()

    async def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Takes partitions up; they are fetched once the service's own assignment has run."""
        for at in partitions:
            self._tally(at)
        if self._assignment is not None and partitions:
            arriving = tuple(partitions)
            task = asyncio.create_task(self._arrive(self._assignment, arriving))
            for at in arriving:
                self._reader.pause(at)
                self._take_up(at, _InHand(task, self._reader.position(at), arriving))

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Finishes or abandons what is in hand of these partitions, then lets go of them."""
        unfinished = {
            other for at in partitions if at in self._in_hand for other in self._in_hand[at].arriving
        }
        await self._finish(partitions)
        if self._assignment is not None and (
            error := await attempted(self._assignment.on_revoked(partitions))
        ):
            self._failed(partitions, error)
            self._logger.error("consumer.revocation_failed", error=in_one_line(error))
        for at in partitions:
            self._waiting.pop(at, None)
            self._halted.pop(at, None)
        await self.on_assigned(sorted(unfinished.difference(partitions)))

    async def _arrive(self, assignment: Assignment, partitions: tuple[TopicPartition, ...]) -> None:
        places = {at: self._reader.position(at) for at in partitions}
        try:
            await self._until_it_works(places, lambda: assignment.on_assigned(partitions))
        except Exception as error:
            self._failed(places, error)
            self._halt(places, error)

    # -- reading ------------------------------------------------------------------------------------------------------

    async def _fetch(self) -> None:
        while True:
            try:
                fetched = await self._reader.fetch(self._policy.batch_size, _FETCH_SECONDS)
            except Exception as error:
                self._fetch_failures += 1
                self._failed(self._reader.assigned(), error)
                self._logger.warning("consumer.fetch_failed", error=in_one_line(error))
                await self._sleep(self._backoff.seconds(self._fetch_failures))
                continue
            self._fetch_failures = 0
            for at, records in fetched.items():
                self._reader.pause(at)  # until this batch is done
                task = asyncio.create_task(self._work(at, records))
                self._take_up(at, _InHand(task, records[0].offset))

    def _take_up(self, at: TopicPartition, in_hand: _InHand) -> None:
        self._in_hand[at] = in_hand
        in_hand.task.add_done_callback(lambda _: self._put_down(at, in_hand))

    def _put_down(self, at: TopicPartition, in_hand: _InHand) -> None:
        if self._in_hand.get(at) is in_hand:
            del self._in_hand[at]
            if at not in self._halted and not in_hand.task.cancelled():
                self._reader.resume(at)

    async def _finish(self, partitions: Iterable[TopicPartition]) -> None:
        tasks = {self._in_hand[at].task for at in partitions if at in self._in_hand}
        for task in tasks & self._resting:
            task.cancel()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._drain_seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    # -- handling -----------------------------------------------------------------------------------------------------

    async def _work(self, at: TopicPartition, records: Sequence[StoredRecord]) -> None:
        try:
            await self._handle(at, await self._readable(at, records))
            await self._commit(at, records[-1].offset + 1)
        except _Halted:
            return
        except Exception as error:  # a bug of this file's own must not end as a partition that nobody reads
            self._failed([at], error)
            self._halt({at: records[0].offset}, error)

    async def _readable(self, at: TopicPartition, records: Sequence[StoredRecord]) -> list[Delivery]:
        readable = []
        for record in records:
            try:
                event = from_record(record, self._topic_map)
            except Unreadable as unreadable:
                await self._put_aside(at, record, unreadable)
            else:
                readable.append(Delivery(event, event.broker, record))
        return readable

    async def _put_aside(self, at: TopicPartition, record: StoredRecord, unreadable: Unreadable) -> None:
        if unreadable.reason is Reason.UNKNOWN_TYPE and not self._topic_map.policy(at.topic).money:
            self._tally(at).processed += 1  # a newer writer's record, which this reader can't need
            return
        await self._dead_letter(at, record, unreadable.reason, unreadable.detail)

    async def _dead_letter(
        self, at: TopicPartition, record: StoredRecord, reason: Reason, detail: str
    ) -> None:
        await self._until_it_works(
            {at: record.offset},
            lambda: self._dead_letters.send(record, group=self.name, reason=reason, detail=detail),
        )
        self._tally(at).dead_lettered += 1
        self._logger.error(
            "consumer.dead_letter",
            topic=at.topic,
            partition=at.partition,
            offset=record.offset,
            reason=reason.value,
            detail=detail,
        )

    async def _handle(self, at: TopicPartition, deliveries: Sequence[Delivery]) -> None:
        failures = 0
        while deliveries:
            error = await self._attempt(deliveries)
            if error is None:
                self._handled(at, len(deliveries))
                return
            if is_transient(error):
                failures += 1
                await self._wait({at: deliveries[0].record.offset}, error, failures)
            else:
                deliveries = deliveries[await self._find_the_bug(at, deliveries, error) :]

    async def _find_the_bug(
        self, at: TopicPartition, deliveries: Sequence[Delivery], error: Exception
    ) -> int:
        """Handles record by record up to the first that can't be handled; returns how many are done with."""
        found: Exception | None
        for number, delivery in enumerate(deliveries):
            if len(deliveries) == 1:
                found = await self._alone(at, delivery, error)
            else:
                if number == 0:
                    self._failed([at], error)
                found = await self._alone(at, delivery, None)
            if found is not None:
                await self._give_up(at, delivery, found)
                return number + 1
        return len(deliveries)

    async def _alone(
        self, at: TopicPartition, delivery: Delivery, error: Exception | None
    ) -> Exception | None:
        """Handles one record; returns the bug where there is one. `error`: what it failed with already."""
        place = {at: delivery.record.offset}
        bugs = failures = 0
        while True:
            if error is not None and not is_transient(error):
                bugs += 1
                if bugs >= self._policy.bug_attempts:
                    self._failed([at], error)
                    return error
            if error is not None:
                failures += 1
                await self._wait(place, error, failures)
            error = await self._attempt([delivery])
            if error is None:
                self._handled(at, 1)
                return None

    async def _give_up(self, at: TopicPartition, delivery: Delivery, error: Exception) -> None:
        if not self._topic_map.policy(at.topic).money:
            self._waiting.pop(at, None)
            await self._dead_letter(at, delivery.record, Reason.BUG, in_one_line(error))
            return
        await self._commit(at, delivery.record.offset)
        self._halt({at: delivery.record.offset}, error)
        raise _Halted

    async def _attempt(self, deliveries: Sequence[Delivery]) -> Exception | None:
        async with self._turns:
            with _correlated(deliveries):
                return await attempted(self._handler.handle(deliveries))

    async def _commit(self, at: TopicPartition, offset: int) -> None:
        await self._until_it_works({at: offset}, lambda: self._reader.commit({at: offset}))

    async def _until_it_works(
        self, places: Mapping[TopicPartition, int], call: Callable[[], Awaitable[None]]
    ) -> None:
        failures = 0
        while error := await attempted(call()):
            if not is_transient(error):
                raise error
            failures += 1
            await self._wait(places, error, failures)
        for at in places:
            self._waiting.pop(at, None)

    # -- failures and reports -----------------------------------------------------------------------------------------

    async def _wait(self, places: Mapping[TopicPartition, int], error: Exception, failures: int) -> None:
        self._failed(places, error)
        self._waiting.update(places)
        if failures & (failures - 1) == 0:  # the 1st, 2nd, 4th, 8th …
            self._logger.warning(
                "consumer.waiting", places=_named(places), failures=failures, error=in_one_line(error)
            )
        task = asyncio.current_task()
        if task is not None:
            self._resting.add(task)
        try:
            await self._sleep(self._backoff.seconds(failures))
        finally:
            if task is not None:
                self._resting.discard(task)
        for broker in {self._topic_map.broker(at.topic) for at in places}:
            self._tallies[broker].retried += 1

    def _halt(self, places: Mapping[TopicPartition, int], error: Exception) -> None:
        for at, offset in places.items():
            self._waiting.pop(at, None)
            self._halted[at] = offset
        self._logger.error(
            "consumer.halted", alarm=True, places=_named(places), error=in_one_line(error), exc_info=error
        )

    def _handled(self, at: TopicPartition, records: int) -> None:
        self._waiting.pop(at, None)
        self._tally(at).processed += records

    def _failed(self, partitions: Iterable[TopicPartition], error: Exception) -> None:
        now = self._wall_clock()
        for broker in {self._topic_map.broker(at.topic) for at in partitions}:
            self._tallies.setdefault(broker, Tally()).failure(error, now)

    def _tally(self, at: TopicPartition) -> Tally:
        return self._tallies.setdefault(self._topic_map.broker(at.topic), Tally())

    @property
    def serving(self) -> bool:
        """Whether it runs and nothing is kept from moving by an error."""
        return (
            self._fetching is not None and not self._fetch_failures and not self._waiting and not self._halted
        )

    def status(self) -> list[ConsumerStatus]:
        """One status a broker, of the brokers whose partitions it has had."""
        return statuses(self.name, self._tallies, self._waiting | self._halted, self._topic_map.broker)

    async def lag(self) -> dict[str, int]:
        """Records on the log that it has not handled yet, by broker, of the partitions it holds."""
        ends = await self._log.end_offsets(sorted({at.topic for at in self._reader.assigned()}))
        lag = dict.fromkeys(self._tallies, 0)
        for at in self._reader.assigned():
            lag[self._topic_map.broker(at.topic)] += max(0, ends[at] - self._next(at))
        return lag

    def _next(self, at: TopicPartition) -> int:
        if at in self._halted:
            return self._halted[at]
        return self._in_hand[at].offset if at in self._in_hand else self._reader.position(at)

    def idle(self) -> bool:
        """Whether nothing it has fetched is unhandled."""
        return not self._in_hand and not self._halted


@contextmanager
def _correlated(deliveries: Sequence[Delivery]) -> Iterator[None]:
    """Log lines within carry the event's id and its chain, where there is but one event."""
    if len(deliveries) > 1:
        yield
        return
    event = deliveries[0].event
    before = current_correlation_id.set(event.correlation_id)
    try:
        with structlog.contextvars.bound_contextvars(event_id=event.event_id):
            yield
    finally:
        current_correlation_id.reset(before)


def _named(places: Mapping[TopicPartition, int]) -> list[str]:
    return [f"{at.topic}/{at.partition}@{offset}" for at, offset in places.items()]
