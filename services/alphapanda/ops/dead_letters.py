"""Dead letters of a deployment: an index of what the dead-letter topics say, and the commands about them.

Nothing but the log is read and written: the group that failed meets a command on its own topic, in order, and tells on
the dead-letter topic what came of it. So it works wherever that group runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from alphapanda.eventlog.dead_letters import (
    PARKED_REASONS,
    Act,
    DeadLetters,
    Ending,
    Letter,
    LetterId,
    Outcome,
    command_record,
    letter_or_outcome,
)
from alphapanda.eventlog.decode import Reason
from alphapanda.eventlog.port import EventLog, Record, Start, StoredRecord, TopicPartition, TopicReader
from alphapanda.eventlog.topics import TopicMap, dead_letter_topic
from alphapanda.mesh.errors import FailedPrecondition, NotFound

_AT_ONCE = 1000
_FETCH_SECONDS = 1.0
_LOOK_SECONDS = 0.1
DISCARDABLE = frozenset({"trading_signal", "signal_validated"})
"""Payloads that somebody may give up: signals. What happened to an order happened."""
NEVER_AN_EVENT = frozenset({Reason.UNDECODABLE, Reason.WRONG_TOPIC, Reason.WRONG_BROKER})
"""What no version of the contract takes for an event of its topic: nobody waits for it."""


@dataclass(slots=True)
class KnownLetter:
    """A dead letter as it stands.

    Attributes:
        letter_id: which.
        reason: why.
        detail: one line.
        key: of the record.
        at: where it is on the dead-letter topic.
        offset: its offset there.
        dead_at_ns: wall time of that.
        ending: how it ended; None while it waits.
        failures: redrives and discards that failed.
        last_failure: what the last of them said.
    """

    letter_id: LetterId
    reason: Reason
    detail: str
    key: bytes
    at: TopicPartition
    offset: int
    dead_at_ns: int
    ending: Ending | None = None
    failures: int = 0
    last_failure: str = ""

    @property
    def waits(self) -> bool:
        """Whether nothing has ended it."""
        return self.ending is None

    @property
    def place(self) -> tuple[str, int, int, str]:
        """What letters are sorted by."""
        whose = self.letter_id
        return whose.topic, whose.partition, whose.offset, whose.group

    @property
    def line(self) -> tuple[str, str, int, bytes]:
        """What it waits in: the records of one key that one group parked."""
        return self.letter_id.group, self.letter_id.topic, self.letter_id.partition, self.key


class DeadLetterDesk:
    """Answers what there is, and passes commands on.

    Args:
        log: the log.
        topic_map: the deployment's topics.
        patience_seconds: how long a command waits to see what came of it.
    """

    def __init__(self, log: EventLog, topic_map: TopicMap, patience_seconds: float = 4.0) -> None:
        self._log = log
        self._topic_map = topic_map
        self._patience = patience_seconds
        self._topics = [dead_letter_topic(topic) for topic in topic_map.sources()]
        self._reader: TopicReader | None = None
        self._letters: dict[LetterId, KnownLetter] = {}
        self._turn = asyncio.Lock()
        self._outcomes = DeadLetters(log)

    async def stop(self) -> None:
        """Lets go of the log."""
        if self._reader is not None:
            await self._reader.stop()
            self._reader = None

    async def letters(self) -> Sequence[KnownLetter]:
        """All of them, by topic, partition and offset.

        Raises:
            LogUnavailable: the log is away.
        """
        await self._catch_up()
        return sorted(self._letters.values(), key=lambda letter: letter.place)

    async def letter(self, letter_id: str) -> tuple[KnownLetter, Letter]:
        """One, and its record.

        Raises:
            NotFound: there is none of that id, or it is kept no longer.
        """
        await self._catch_up()
        known = self._known(letter_id)
        return known, await self._read(known)

    async def redrive(self, chosen: Sequence[KnownLetter], *, whole_keys: bool) -> Sequence[KnownLetter]:
        """Has letters handled again; returns them as they stand once something came of it, or patience ended.

        Raises:
            FailedPrecondition: market data, or an earlier letter of a key waits that isn't chosen.
        """
        for letter in chosen:
            if not self._topic_map.policy(letter.letter_id.topic).money:
                raise FailedPrecondition(
                    "NEVER_REDRIVEN",
                    f"letter {letter.letter_id} is market data: it is old now, nobody waits for it",
                )
        return await self._command(chosen, Act.REDRIVE, whole_keys=whole_keys)

    async def discard(self, chosen: Sequence[KnownLetter]) -> Sequence[KnownLetter]:
        """Gives letters up: has parked signals ended, see `redrive`; marks the others, which nobody acted on.

        Raises:
            FailedPrecondition: one tells what happened or was decided, or an earlier letter of its key waits that isn't
                chosen.
        """
        for letter in chosen:
            policy = self._topic_map.policy(letter.letter_id.topic)
            if policy.money and policy.payload not in DISCARDABLE and letter.reason not in NEVER_AN_EVENT:
                raise FailedPrecondition(
                    "NOT_DISCARDABLE",
                    f"letter {letter.letter_id} is no signal but tells what happened; it can be redriven only",
                )
        await self._command([one for one in chosen if self._parked(one)], Act.DISCARD, whole_keys=False)
        for letter in chosen:
            if letter.waits and not self._parked(letter):
                await self._outcomes.settle(letter.letter_id, letter.key, Ending.DISCARDED)
        await self._catch_up()
        return chosen

    def named(self, letter_ids: Iterable[str]) -> list[KnownLetter]:
        """Letters by id, in the order they are handled in; `letters` was called before.

        Raises:
            NotFound: there is none of that id.
        """
        return sorted(map(self._known, letter_ids), key=lambda letter: letter.place)

    # -- within -------------------------------------------------------------------------------------------------------

    def _parked(self, letter: KnownLetter) -> bool:
        return letter.reason in PARKED_REASONS and self._topic_map.policy(letter.letter_id.topic).money

    def _known(self, letter_id: str) -> KnownLetter:
        found = next((one for name, one in self._letters.items() if str(name) == letter_id), None)
        if found is None:
            raise NotFound(
                "LETTER_NOT_FOUND", f"there is no dead letter {letter_id!r}; ListDeadLetters has them"
            )
        return found

    async def _command(
        self, chosen: Sequence[KnownLetter], act: Act, *, whole_keys: bool
    ) -> Sequence[KnownLetter]:
        waiting = [letter for letter in chosen if letter.waits]
        commands: list[Record] = []
        seen: set[tuple[str, str, int, bytes]] = set()
        for letter in waiting:
            parked = letter.reason in PARKED_REASONS
            if parked and whole_keys and letter.line in seen:
                continue
            if parked and not whole_keys:
                self._check_turn(letter, waiting)
            seen.add(letter.line)
            whole = parked and whole_keys
            commands.append(command_record(await self._read(letter), act, whole_key=whole))
        if commands:
            before = {letter.letter_id: letter.failures for letter in self._letters.values()}
            await self._log.publish(commands)
            await self._see_what_comes(waiting, lambda one: one.failures > before.get(one.letter_id, 0))
        return chosen

    def _check_turn(self, letter: KnownLetter, chosen: Collection[KnownLetter]) -> None:
        for other in self._letters.values():
            earlier = other.line == letter.line and other.place < letter.place
            if earlier and other.waits and other.reason in PARKED_REASONS and other not in chosen:
                raise FailedPrecondition(
                    "NOT_ITS_TURN",
                    f"letter {other.letter_id} of the same key waits before {letter.letter_id}; name it as well",
                )

    async def _see_what_comes(
        self, waiting: Sequence[KnownLetter], failed: Callable[[KnownLetter], bool]
    ) -> None:
        until = asyncio.get_running_loop().time() + self._patience
        while asyncio.get_running_loop().time() < until:
            await self._catch_up()
            stuck = {letter.line for letter in waiting if failed(letter)}
            if all(not letter.waits or letter.line in stuck for letter in waiting):
                return
            await asyncio.sleep(_LOOK_SECONDS)

    async def _catch_up(self) -> None:
        async with self._turn:
            reader = self._reader
            if reader is None:
                reader = self._log.topic_reader(self._topics, Start.EARLIEST)
                await reader.start()
                self._reader = reader
            ends = await self._log.end_offsets(self._topics)
            while any(reader.position(at) < end for at, end in ends.items()):
                records = await reader.fetch(_AT_ONCE, _FETCH_SECONDS)
                if not records:
                    return
                for record in records:
                    self._learn(record)

    def _learn(self, record: StoredRecord) -> None:
        try:
            told = letter_or_outcome(record)
        except (KeyError, ValueError):
            return  # somebody's own record
        if isinstance(told, Letter):
            known = KnownLetter(
                told.letter_id,
                told.reason,
                told.detail,
                record.key,
                told.at,
                told.offset,
                record.appended_at_ns,
            )
            self._letters.setdefault(told.letter_id, known)
        else:
            self._settle(told)

    def _settle(self, outcome: Outcome) -> None:
        letter = self._letters.get(outcome.letter_id)
        if letter is None:
            return
        if outcome.ending is Ending.FAILED_AGAIN:
            letter.failures += 1
            letter.last_failure = outcome.detail
        elif letter.ending is None:
            letter.ending = outcome.ending

    async def _read(self, letter: KnownLetter) -> Letter:
        record = await record_at(self._log, letter.at, letter.offset)
        if record is None:
            raise NotFound("LETTER_NOT_KEPT", f"dead letter {letter.letter_id} is kept no longer")
        told = letter_or_outcome(record)
        if not isinstance(told, Letter):
            raise TypeError(f"{letter.at} {letter.offset} holds no letter")
        return told


async def record_at(log: EventLog, at: TopicPartition, offset: int) -> StoredRecord | None:
    """One record of the log; None where it isn't kept."""
    places = dict(await log.end_offsets([at.topic])) | {at: offset}
    reader = log.topic_reader([at.topic], places)
    await reader.start()
    try:
        found = await reader.fetch(1, _FETCH_SECONDS)
    finally:
        await reader.stop()
    return next(
        (record for record in found if record.topic_partition == at and record.offset == offset), None
    )
