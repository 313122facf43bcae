"""Handles a partition's records: decode, call the handler, retry, isolate a failing record, park or redrive (rule 5)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

import structlog
from structlog.typing import FilteringBoundLogger

from alphapanda.consuming.backoff_state import BackoffState
from alphapanda.consuming.bug_share import BugShare
from alphapanda.consuming.dead_letters import (
    PARKED_REASONS,
    Act,
    Command,
    DeadLetters,
    Ending,
    LetterId,
    command_of,
    is_command,
)
from alphapanda.consuming.delivery import CannotDiscard, Delivery, Handler
from alphapanda.consuming.options import ConsumerOptions
from alphapanda.consuming.parking import MOST_AT_ONCE, ParkedKey, Parking
from alphapanda.contract.topics import TopicMap, TopicPartition
from alphapanda.eventlog.decode import Reason, Unreadable, from_record
from alphapanda.eventlog.port import StoredRecord
from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.breakers import Breakers
from alphapanda.resilience.failures import in_one_line, is_transient
from alphapanda.telemetry.correlation import current_broker, current_correlation_id

Discard = Callable[[Delivery], Awaitable[None]]
"""Discards a parked record: publishes its terminal event, once. Raises CannotDiscard where that isn't possible."""


class Halted(Exception):
    """The partition is halted: a bug on a money topic in a consumer that has no parking, or the consumer has stopped."""

    def __init__(self, offset: int, cause: Exception) -> None:
        self.offset = offset
        self.cause = cause
        super().__init__(in_one_line(cause))


class TooManyBugs(Exception):
    """The consumer has stopped because most records fail as bugs: a person has to look at the version that runs."""


class Handling:
    """Handles the records of a consumer's partitions, each partition in one task at a time.

    Args:
        name: the consumer group.
        topic_map: the deployment's topics.
        handler: handles batches of records.
        dead_letters: stores records that can't be handled.
        policy: concurrency and attempts.
        backoff_state: delays and counts.
        breakers: circuit breakers of the handler's dependencies.
        parking: stores parked keys of money topics; None: a bug halts the partition instead.
        discard: discards a parked record; None: records of this group can't be discarded.
        logger: bound to the consumer.

    Attributes:
        stopped: why it handles no record any more, in one line; empty while it does.
    """

    def __init__(
        self,
        name: str,
        topic_map: TopicMap,
        handler: Handler,
        dead_letters: DeadLetters,
        policy: ConsumerOptions,
        backoff_state: BackoffState,
        breakers: Breakers,
        parking: Parking | None,
        discard: Discard | None,
        logger: FilteringBoundLogger,
    ) -> None:
        self._name = name
        self._topic_map = topic_map
        self._handler = handler
        self._dead_letters = dead_letters
        self._policy = policy
        self._backoff_state = backoff_state
        self._breakers = breakers
        self._parking = parking
        self._discard = discard
        self._logger = logger
        self.stopped = ""
        self._bug_share = BugShare(policy.bug_stop_percent, policy.bug_stop_least)
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._parked: dict[TopicPartition, set[bytes]] = {}

    # -- assignment and revocation ------------------------------------------------------------------------------------

    async def load_parked(self, partitions: Sequence[TopicPartition]) -> None:
        """Loads the parked keys of these partitions."""
        for at in partitions:
            self._parked.pop(at, None)
        if self._parking is None:
            return
        for key in await self._parking.parked(self._name, partitions):
            self._parked.setdefault(key.at, set()).add(key.key)

    def forget(self, partitions: Sequence[TopicPartition]) -> None:
        """Forgets the parked keys of these partitions."""
        for at in partitions:
            self._parked.pop(at, None)

    def parked(self) -> dict[str, int]:
        """Returns the number of parked keys in the partitions it holds, by broker."""
        counts: dict[str, int] = {}
        for at, keys in self._parked.items():
            broker = self._topic_map.broker(at.topic)
            counts[broker] = counts.get(broker, 0) + len(keys)
        return counts

    # -- records ------------------------------------------------------------------------------------------------------

    async def work(self, at: TopicPartition, records: Sequence[StoredRecord]) -> None:
        """Handles the records; returns once all are finished with.

        Raises:
            Halted: a record can't be handled, dead-lettered or parked.
        """
        deliveries: list[Delivery] = []
        for record in records:
            if self.stopped:
                raise Halted(
                    (deliveries[0].record if deliveries else record).offset, TooManyBugs(self.stopped)
                )
            if is_command(record):
                await self._handle(at, deliveries)
                deliveries = []
                await self._execute_command(at, record)
                continue
            try:
                event = from_record(record, self._topic_map)
            except Unreadable as unreadable:
                await self._dead_letter_unreadable(at, record, unreadable)
            else:
                deliveries.append(Delivery(event, event.broker, record))
        await self._handle(at, deliveries)

    async def _dead_letter_unreadable(
        self, at: TopicPartition, record: StoredRecord, unreadable: Unreadable
    ) -> None:
        if unreadable.reason is Reason.UNKNOWN_TYPE and not self._topic_map.policy(at.topic).money:
            self._backoff_state.counts_of(
                at
            ).processed += 1  # a payload of a newer version, which this reader doesn't need
            return
        await self._dead_letter(at, record, unreadable.reason, unreadable.detail)

    async def _dead_letter(
        self, at: TopicPartition, record: StoredRecord, reason: Reason, detail: str
    ) -> None:
        await self._backoff_state.until_it_works(
            {at: record.offset},
            lambda: self._dead_letters.send(record, group=self._name, reason=reason, detail=detail),
        )
        self._backoff_state.counts_of(at).dead_lettered += 1
        self._logger.error(
            "consumer.record_dead_lettered",
            topic=at.topic,
            partition=at.partition,
            offset=record.offset,
            reason=reason.value,
            detail=detail,
        )

    async def _handle(self, at: TopicPartition, deliveries: Sequence[Delivery]) -> None:
        failures = 0
        while deliveries := await self._park_followers(at, deliveries):
            error = await self._attempt(at, deliveries[0].record.offset, deliveries)
            if error is None:
                self._backoff_state.handled(at, len(deliveries))
                self._bug_share.handled(len(deliveries))
                return
            if is_transient(error):
                failures += 1
                await self._backoff_state.wait({at: deliveries[0].record.offset}, error, failures)
            else:
                deliveries = deliveries[await self._isolate_bug(at, deliveries, error) :]

    async def _isolate_bug(self, at: TopicPartition, deliveries: Sequence[Delivery], error: Exception) -> int:
        """Handles records one by one up to the first that can't be handled; returns how many are finished with."""
        found: Exception | None
        for number, delivery in enumerate(deliveries):
            offset = delivery.record.offset
            if len(deliveries) == 1:
                found = await self._handle_one(at, offset, delivery, error)
            else:
                if number == 0:
                    self._backoff_state.failed([at], error)
                found = await self._handle_one(at, offset, delivery, None)
            if found is not None:
                await self._give_up(at, delivery, found)
                return number + 1
            self._backoff_state.handled(at, 1)
            self._bug_share.handled(1)
        return len(deliveries)

    async def _handle_one(
        self, at: TopicPartition, offset: int, delivery: Delivery, error: Exception | None
    ) -> Exception | None:
        """Handles one record; returns the bug where there is one. `error`: its failure so far."""
        bugs = failures = 0
        while True:
            if error is not None and not is_transient(error):
                bugs += 1
                if bugs >= self._policy.bug_attempts:
                    self._backoff_state.failed([at], error)
                    return error
            if error is not None:
                failures += 1
                await self._backoff_state.wait({at: offset}, error, failures)
            error = await self._attempt(at, offset, [delivery])
            if error is None:
                return None

    async def _give_up(self, at: TopicPartition, delivery: Delivery, error: Exception) -> None:
        record = delivery.record
        if why := self._bug_share.failed():
            self._stop(why, error)
            raise Halted(record.offset, error)
        if not self._topic_map.policy(at.topic).money:
            self._backoff_state.waiting.pop(at, None)
            await self._dead_letter(at, record, Reason.BUG, in_one_line(error))
        elif self._parking is None:
            raise Halted(record.offset, error)
        else:
            await self._park(at, record, self._parking, Reason.BUG, in_one_line(error))
            self._logger.error(
                "consumer.key_parked",
                alarm=True,
                topic=at.topic,
                partition=at.partition,
                offset=record.offset,
                key=record.key.decode(errors="replace"),
                error=in_one_line(error),
                exc_info=error,
            )

    def _stop(self, why: str, error: Exception) -> None:
        """Stops the consumer before more records are set aside; what it has set aside can be redriven."""
        self.stopped = (
            f"stopped: {why}; run a version that handles them, then redrive the dead letters of {self._name}"
            f" ({in_one_line(error)})"
        )
        self._logger.error("consumer.stopped", alarm=True, reason="TOO_MANY_BUGS", error=self.stopped)

    async def _attempt(
        self, at: TopicPartition, offset: int, deliveries: Sequence[Delivery]
    ) -> Exception | None:
        broker = self._topic_map.broker(at.topic)
        slots = self._slots.setdefault(broker, asyncio.Semaphore(self._policy.concurrency))
        if self.stopped:
            raise Halted(offset, TooManyBugs(self.stopped))
        while seconds := self._breakers.closed_for(broker):
            await self._backoff_state.rest({at: offset}, seconds)
        async with slots:
            with _in_context(broker, deliveries):
                return await self._breakers.watched(
                    broker, lambda: attempted(self._handler.handle(deliveries))
                )

    # -- parked keys --------------------------------------------------------------------------------------------------

    async def _park_followers(self, at: TopicPartition, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """Parks records whose key is parked; returns the others."""
        keys = self._parked.get(at)
        if not keys or self._parking is None:
            return deliveries
        rest = []
        for delivery in deliveries:
            if delivery.record.key in keys:
                detail = "an earlier record of its key is parked"
                await self._park(at, delivery.record, self._parking, Reason.PARKED, detail)
            else:
                rest.append(delivery)
        return rest

    async def _park(
        self, at: TopicPartition, record: StoredRecord, parking: Parking, reason: Reason, detail: str
    ) -> None:
        await self._dead_letter(at, record, reason, detail)
        await self._backoff_state.until_it_works(
            {at: record.offset}, lambda: parking.park(self._name, record)
        )
        self._parked.setdefault(at, set()).add(record.key)

    async def _execute_command(self, at: TopicPartition, record: StoredRecord) -> None:
        """Executes a command about dead letters; skips one for another group."""
        try:
            command = command_of(record)
        except (KeyError, ValueError) as error:
            await self._dead_letter(
                at, record, Reason.INVALID, f"malformed dead-letter command: {in_one_line(error)}"
            )
            return
        if command.letter_id.group == self._name:
            if self._parking is not None and command.reason in PARKED_REASONS:
                await self._process_parked(at, record, command, self._parking)
            elif command.act is Act.REDRIVE:
                await self._settle_one(at, record, command.original, command)
        self._backoff_state.handled(at, 1)

    async def _process_parked(
        self, at: TopicPartition, command_record: StoredRecord, command: Command, parking: Parking
    ) -> None:
        """Redrives or discards parked records, in order, up to the first that fails again."""
        key = ParkedKey(command.original.topic_partition, command.original.key)
        here = {at: command_record.offset}
        after, most = -1, 1  # one at first, as it may fail again: then it alone was read
        while parked := await self._backoff_state.until_it_works(
            here,
            lambda: parking.records(self._name, key, after, most),  # noqa: B023 - awaited here
        ):
            for record in parked:
                if not command.whole_key and record.offset > command.letter_id.offset:
                    return
                if not await self._settle_one(at, command_record, record, command):
                    return
                if await self._backoff_state.until_it_works(
                    here,
                    lambda: parking.release(self._name, record),  # noqa: B023 - awaited here
                ):
                    self._parked.get(at, set()).discard(record.key)
                    self._logger.info(
                        "consumer.key_released", topic=at.topic, key=record.key.decode(errors="replace")
                    )
                    return
            after, most = parked[-1].offset, min(2 * most, MOST_AT_ONCE)
            if not command.whole_key and after >= command.letter_id.offset:
                return

    async def _settle_one(
        self, at: TopicPartition, command_record: StoredRecord, record: StoredRecord, command: Command
    ) -> bool:
        """Redrives or discards one record; True where it succeeded. The outcome is published before the record is released."""
        error = await self._redrive_or_discard(at, command_record.offset, record, command.act)
        ending = Ending.REDRIVEN if command.act is Act.REDRIVE else Ending.DISCARDED
        detail = "" if error is None else in_one_line(error)
        letter_id = LetterId(self._name, record.topic, record.partition, record.offset)
        await self._backoff_state.until_it_works(
            {at: command_record.offset},
            lambda: self._dead_letters.settle(
                letter_id, record.key, ending if error is None else Ending.FAILED_AGAIN, detail
            ),
        )
        self._logger.info(
            "consumer.dead_letter_settled", letter=str(letter_id), act=command.act, error=detail
        )
        return error is None

    async def _redrive_or_discard(
        self, at: TopicPartition, offset: int, record: StoredRecord, act: Act
    ) -> Exception | None:
        try:
            event = from_record(record, self._topic_map)
        except Unreadable as unreadable:
            # An unreadable record has no terminal event: discarding it only frees its key.
            return unreadable if act is Act.REDRIVE else None
        delivery = Delivery(event, event.broker, record)
        if act is Act.REDRIVE:
            return await self._handle_one(at, offset, delivery, None)
        if self._discard is None:
            return CannotDiscard("only a parked signal can be discarded")
        discard = self._discard
        return await attempted(self._backoff_state.until_it_works({at: offset}, lambda: discard(delivery)))


@contextmanager
def _in_context(broker: str, deliveries: Sequence[Delivery]) -> Iterator[None]:
    """Adds to log lines the broker, and where the batch is a single event its id and correlation id."""
    before = current_broker.set(broker)
    try:
        if len(deliveries) > 1:
            yield
            return
        event = deliveries[0].event
        outside = current_correlation_id.set(event.correlation_id)
        try:
            with structlog.contextvars.bound_contextvars(event_id=event.event_id):
                yield
        finally:
            current_correlation_id.reset(outside)
    finally:
        current_broker.reset(before)
