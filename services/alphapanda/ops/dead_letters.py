"""Lists the dead letters of a deployment, and sends commands about them (redrive, discard).

It reads and writes only the log: a command goes to the letter's original topic, where the group that failed executes it
in order; the outcome comes back on the dead-letter topic. So it works wherever that group runs.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby

from alphapanda.consuming.dead_letters import (
    Act,
    DeadLetters,
    Ending,
    Letter,
    LetterId,
    command_record,
    letter_or_outcome,
)
from alphapanda.contract.topics import TopicMap, TopicPartition, dead_letter_topic
from alphapanda.eventlog.decode import Reason
from alphapanda.eventlog.port import EventLog, Start, StoredRecord, TopicReader
from alphapanda.mesh.errors import FailedPrecondition, NotFound
from alphapanda.ops.letter_index import KnownLetter, LetterFilter, LetterIndex, Place
from alphapanda.ops.letter_requests import CarriedOut, LetterRequest, request_record
from alphapanda.storage.requests import RequestReused

_AT_ONCE = 1000
_FETCH_SECONDS = 1.0
_LOOK_SECONDS = 0.1
_HOUR_NS = 3_600 * 10**9
DISCARDABLE = frozenset({"trading_signal", "signal_validated"})
"""Payloads that may be discarded: signals. An order event states a fact and can only be redriven."""
NEVER_AN_EVENT = frozenset({Reason.UNDECODABLE, Reason.WRONG_TOPIC, Reason.WRONG_BROKER, Reason.WRONG_KEY})
"""Reasons of records that are no event of their topic in any version of the contract: no key waits for them."""


Choose = Callable[[], Awaitable[tuple[Sequence[KnownLetter], str]]]
"""Returns the letters that a command is about, and the token of the next page of them."""


class DeadLetterService:
    """Lists dead letters from an index, and publishes commands about them.

    Args:
        log: the log.
        topic_map: the deployment's topics.
        outcome_seconds: how long a command waits for its outcome.
        wall_clock_ns: returns the current wall time, in nanoseconds since 1970.
    """

    def __init__(
        self,
        log: EventLog,
        topic_map: TopicMap,
        outcome_seconds: float = 4.0,
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._log = log
        self._topic_map = topic_map
        self._outcome_seconds = outcome_seconds
        self._topics = [dead_letter_topic(topic) for topic in topic_map.sources()]
        self._wall_clock_ns = wall_clock_ns
        self._forgot_at_ns = 0
        self._reader: TopicReader | None = None
        self._index: LetterIndex | None = None
        self._turn = asyncio.Lock()
        self._outcomes = DeadLetters(log)
        self._commands = asyncio.Lock()

    async def stop(self) -> None:
        """Closes the reader and the index."""
        reader, index = self._reader, self._index
        self._reader = self._index = None
        if index is not None:
            index.close()
        if reader is not None:
            await reader.stop()

    async def page(self, wanted: LetterFilter, after: Place | None, size: int) -> Sequence[KnownLetter]:
        """Returns the first letters that match, sorted by topic, partition and offset, after a place where one is given.

        Raises:
            LogUnavailable: the log can't be reached.
        """
        return (await self._caught_up()).page(wanted, after, size)

    async def groups(self) -> Collection[str]:
        """Returns the groups that have letters."""
        return (await self._caught_up()).groups()

    async def waiting(self) -> Mapping[str, int]:
        """Returns the number of letters that are neither redriven nor discarded, by topic; a topic without any is absent."""
        return (await self._caught_up()).waiting()

    async def letter(self, letter_id: str) -> tuple[KnownLetter, Letter]:
        """Returns one letter and its record.

        Raises:
            NotFound: no letter has that id, or retention has deleted it.
        """
        [known] = await self.named([letter_id])
        return known, (await self._read([known]))[known.letter_id]

    async def named(self, letter_ids: Iterable[str]) -> Sequence[KnownLetter]:
        """Returns letters by id, each once, in the order in which they are handled.

        Raises:
            NotFound: no letter has one of the ids.
        """
        wanted = {text: LetterId.parsed(text) for text in letter_ids}
        found = (await self._caught_up()).find(whose for whose in wanted.values() if whose is not None)
        known = {letter.letter_id for letter in found}
        for text, whose in wanted.items():
            if whose not in known:
                raise NotFound(
                    "LETTER_NOT_FOUND", f"there is no dead letter {text!r}; ListDeadLetters has them"
                )
        return found

    async def of_records(self, records: Iterable[StoredRecord]) -> Sequence[KnownLetter]:
        """Returns the letters among records of any topics, each once, in the order in which they are handled."""
        named: set[LetterId] = set()
        for record in records:
            if record.topic in self._topics:
                with suppress(ValueError, KeyError):  # another writer's
                    named.add(letter_or_outcome(record).letter_id)
        return (await self._caught_up()).find(named) if named else ()

    async def redrive(
        self, request: LetterRequest, choose: Choose, *, whole_keys: bool
    ) -> tuple[Sequence[KnownLetter], str]:
        """Commands the groups to handle letters again; a repeated request commands nothing.

        Args:
            request: the command.
            choose: returns the letters, and the token of the next page; not called for a repeated request.
            whole_keys: whether parked keys are redriven as a whole.

        Returns:
            The letters after the outcome, or after `outcome_seconds`, and the token of the next page.

        Raises:
            FailedPrecondition: a letter is market data, or an earlier letter of its key waits and isn't chosen.
            RequestReused: the request_id came with another body.
        """

        async def act(chosen: Sequence[KnownLetter]) -> None:
            self._check_redrive(chosen)
            await self._command(chosen, Act.REDRIVE, whole_keys=whole_keys)

        return await self._once(request, choose, act)

    async def discard(self, request: LetterRequest, choose: Choose) -> Sequence[KnownLetter]:
        """Discards letters: ends parked signals as `redrive` does; marks the others, which had no effect.

        Raises:
            FailedPrecondition: a letter states what happened or was decided, or an earlier letter of its key waits and
                isn't chosen.
            RequestReused: the request_id came with another body.
        """

        async def act(chosen: Sequence[KnownLetter]) -> None:
            self._check_discard(chosen)
            await self._command([one for one in chosen if self._parked(one)], Act.DISCARD, whole_keys=False)
            for letter in chosen:
                if letter.waits and not self._parked(letter):
                    await self._outcomes.settle(letter.letter_id, letter.key, Ending.DISCARDED)

        letters, _ = await self._once(request, choose, act)
        return letters

    # -- internals ----------------------------------------------------------------------------------------------------

    async def _once(
        self, request: LetterRequest, choose: Choose, act: Callable[[Sequence[KnownLetter]], Awaitable[None]]
    ) -> tuple[Sequence[KnownLetter], str]:
        """Carries a command out, unless it was before, and waits for its outcomes."""
        async with self._commands:
            done = (await self._caught_up()).carried_out(request.key)
            if done is None:
                chosen, token = await choose()
                await act(chosen)
                failed = {str(letter.letter_id): letter.failures for letter in chosen}
                done = CarriedOut(request.key, request.body, failed, token)
                at = chosen[0].at if chosen else TopicPartition(self._topics[0], 0)
                await self._log.publish([request_record(done, at)])
        if done.body != request.body:
            raise RequestReused(request.request_id)
        before = {
            whose: failures for text, failures in done.letters.items() if (whose := LetterId.parsed(text))
        }
        await self._await_outcomes(before)
        return (await self._caught_up()).find(before), done.next_page_token

    def _check_redrive(self, chosen: Sequence[KnownLetter]) -> None:
        for letter in chosen:
            if not self._topic_map.policy(letter.letter_id.topic).money:
                raise FailedPrecondition(
                    "NEVER_REDRIVEN",
                    f"letter {letter.letter_id} is market data, which is outdated: it can't be redriven",
                )

    def _check_discard(self, chosen: Sequence[KnownLetter]) -> None:
        for letter in chosen:
            policy = self._topic_map.policy(letter.letter_id.topic)
            if policy.money and policy.payload not in DISCARDABLE and letter.reason not in NEVER_AN_EVENT:
                raise FailedPrecondition(
                    "NOT_DISCARDABLE",
                    f"letter {letter.letter_id} is not a signal but states what happened; it can only be redriven",
                )

    def _parked(self, letter: KnownLetter) -> bool:
        return letter.parked and self._topic_map.policy(letter.letter_id.topic).money

    async def _command(self, chosen: Sequence[KnownLetter], act: Act, *, whole_keys: bool) -> None:
        waiting = [letter for letter in chosen if letter.waits]
        if not whole_keys:
            self._check_order(await self._caught_up(), waiting)
        # One command for the chosen parked letters of a key: the group handles its records in order, up to that letter.
        last = {letter.line: letter for letter in waiting if letter.parked}
        commanded = [letter for letter in waiting if not letter.parked or last[letter.line] is letter]
        if not commanded:
            return
        originals = await self._read(commanded)
        await self._log.publish(
            [
                command_record(originals[letter.letter_id], act, whole_key=letter.parked and whole_keys)
                for letter in commanded
            ]
        )

    def _check_order(self, index: LetterIndex, chosen: Collection[KnownLetter]) -> None:
        """Refuses a letter while an earlier one of its key waits and isn't chosen. Checks the last letter of each key."""
        named = {letter.letter_id for letter in chosen}
        for letter in {letter.line: letter for letter in chosen if letter.parked}.values():
            for other in index.parked_before(letter):
                if other.letter_id not in named:
                    raise FailedPrecondition(
                        "NOT_ITS_TURN",
                        f"letter {other.letter_id} of the same key waits before {letter.letter_id}; include it",
                    )

    async def _await_outcomes(self, before: Mapping[LetterId, int]) -> None:
        """Waits until each letter has ended or failed once more; `before`: how often each had failed."""
        until = asyncio.get_running_loop().time() + self._outcome_seconds
        while asyncio.get_running_loop().time() < until:
            letters = (await self._caught_up()).find(before)
            stuck = {letter.line for letter in letters if letter.failures > before[letter.letter_id]}
            if all(not letter.waits or letter.line in stuck for letter in letters):
                return
            await asyncio.sleep(_LOOK_SECONDS)

    async def _caught_up(self) -> LetterIndex:
        """Returns the index, read up to the topics' ends."""
        async with self._turn:
            if self._index is None:
                self._index = LetterIndex()
            index, reader = self._index, self._reader
            if reader is None:
                reader = self._log.topic_reader(self._topics, Start.EARLIEST)
                await reader.start()
                self._reader = reader
            ends = await self._log.end_offsets(self._topics)
            while any(reader.position(at) < end for at, end in ends.items()):
                records = await reader.fetch(_AT_ONCE, _FETCH_SECONDS)
                if not records:
                    break
                try:
                    index.learn(records)
                except sqlite3.Error:
                    await (
                        self.stop()
                    )  # the reader is past records that weren't indexed: the next call starts over
                    raise
            self._forget_deleted(index)
            return index

    def _forget_deleted(self, index: LetterIndex) -> None:
        """Forgets what the log's retention has deleted, at most once an hour."""
        now = self._wall_clock_ns()
        if now - self._forgot_at_ns < _HOUR_NS:
            return
        self._forgot_at_ns = now
        kept = {spec.name: spec.retention_hours for spec in self._topic_map.specs()}
        for topic in self._topic_map.sources():
            if (hours := kept.get(dead_letter_topic(topic))) is not None:
                index.forget(topic, now - hours * _HOUR_NS)

    async def _read(self, letters: Sequence[KnownLetter]) -> Mapping[LetterId, Letter]:
        read: dict[LetterId, Letter] = {}
        for at, here in groupby(letters, key=lambda letter: letter.at):
            known = {letter.offset: letter.letter_id for letter in here}
            records = await records_at(self._log, at, known)
            for offset, letter_id in known.items():
                if offset not in records:
                    raise NotFound("LETTER_NOT_KEPT", f"dead letter {letter_id} was deleted by retention")
                letter = letter_or_outcome(records[offset])
                if not isinstance(letter, Letter):
                    raise TypeError(f"{at} {offset} holds no letter")
                read[letter_id] = letter
        return read


async def records_at(
    log: EventLog, at: TopicPartition, offsets: Collection[int]
) -> Mapping[int, StoredRecord]:
    """Reads records of a partition, by offset; deleted ones are left out."""
    places = dict(await log.end_offsets([at.topic])) | {at: min(offsets)}
    reader = log.topic_reader([at.topic], places)
    await reader.start()
    found: dict[int, StoredRecord] = {}
    try:
        while reader.position(at) <= max(offsets):
            records = await reader.fetch(_AT_ONCE, _FETCH_SECONDS)
            if not records:
                break
            for record in records:
                if record.topic_partition == at and record.offset in offsets:
                    found[record.offset] = record
    finally:
        await reader.stop()
    return found
