"""Dead letters: a topic's dead-letter topic holds the records that can't be handled, bytes, key and headers as they came.

What is done about a letter travels the same ways. A command stands on the letter's own topic and partition, where the
group that failed meets it in order and every other reader passes it by; the outcome stands on the dead-letter topic.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from typing_extensions import override

from alphapanda.contract.topics import TopicPartition, dead_letter_topic
from alphapanda.eventlog.decode import Reason
from alphapanda.eventlog.port import EventLog, Headers, Record, StoredRecord

REASON = "dlq_reason"
DETAIL = "dlq_detail"
GROUP = "dlq_group"
TOPIC = "dlq_topic"
PARTITION = "dlq_partition"
OFFSET = "dlq_offset"
COMMAND = "dlq_command"
WHOLE_KEY = "dlq_whole_key"
OUTCOME = "dlq_outcome"
_OURS = frozenset({REASON, DETAIL, GROUP, TOPIC, PARTITION, OFFSET, COMMAND, WHOLE_KEY, OUTCOME})

_NO_OFFSET = 2**63
"""Above the largest."""

PARKED_REASONS = frozenset({Reason.BUG, Reason.PARKED})
"""Letters of money topics that stand in their key's order; the others were passed over, each by itself."""


class Act(StrEnum):
    """What can be done about a dead letter."""

    REDRIVE = "REDRIVE"
    DISCARD = "DISCARD"


class Ending(StrEnum):
    """What came of it."""

    REDRIVEN = "REDRIVEN"
    DISCARDED = "DISCARDED"
    FAILED_AGAIN = "FAILED_AGAIN"


class LetterId(NamedTuple):
    """Which record of which group: a letter that was written twice is one letter."""

    group: str
    topic: str
    partition: int
    offset: int

    @override
    def __str__(self) -> str:
        """As people name it, "trading/TOPIC/3/17"."""
        return f"{self.group}/{self.topic}/{self.partition}/{self.offset}"

    @classmethod
    def parsed(cls, text: str) -> LetterId | None:
        """The id that people name so; None where nothing on a log can have it."""
        group, _, place = text.partition("/")
        try:
            topic, partition, offset = place.rsplit("/", 2)
            named = cls(group, topic, int(partition), int(offset))
        except ValueError:
            return None
        there = 0 <= named.partition < _NO_OFFSET and 0 <= named.offset < _NO_OFFSET
        return named if there and str(named) == text else None


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as its record says.

    Attributes:
        letter_id: which.
        reason: why; a word of decode.Reason.
        detail: one line.
        original: the record as it was read from its topic.
        at: where the letter stands on the dead-letter topic.
        offset: its offset there.
    """

    letter_id: LetterId
    reason: Reason
    detail: str
    original: StoredRecord
    at: TopicPartition
    offset: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a redrive or discard of a letter."""

    letter_id: LetterId
    ending: Ending
    detail: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class Command:
    """What the group that failed is told.

    Attributes:
        act: what to do.
        letter_id: about which letter.
        reason: why it had become one.
        whole_key: about every letter of its key, in order, this one or not.
        original: the letter's record.
    """

    act: Act
    letter_id: LetterId
    reason: Reason
    whole_key: bool
    original: StoredRecord


def is_command(record: StoredRecord) -> bool:
    """Whether a record of a topic is a command about a dead letter, not an event."""
    return bool(record.headers) and record.headers[0][0] == COMMAND


def command_record(letter: Letter, act: Act, *, whole_key: bool) -> Record:
    """A command to a letter's group, for the letter's topic."""
    told = (
        (COMMAND, act.value.encode()),
        (WHOLE_KEY, b"1" if whole_key else b""),
        (REASON, letter.reason.value.encode()),
        *_named(letter.letter_id),
    )
    original = letter.original
    return Record(original.topic, original.partition, original.key, original.value, told + original.headers)


def command_of(record: StoredRecord) -> Command:
    """The command that a record for which `is_command` is true holds.

    Raises:
        ValueError, KeyError: it was not made by `command_record`.
    """
    headers = dict(record.headers)
    letter_id = _letter_id(headers)
    return Command(
        Act(headers[COMMAND].decode()),
        letter_id,
        Reason(headers[REASON].decode()),
        bool(headers[WHOLE_KEY]),
        _original(record, letter_id),
    )


def letter_or_outcome(record: StoredRecord) -> Letter | Outcome:
    """What a record of a dead-letter topic is.

    Raises:
        ValueError, KeyError: somebody else wrote it.
    """
    headers = dict(record.headers)
    letter_id = _letter_id(headers)
    detail = headers[DETAIL].decode(errors="replace")
    if OUTCOME in headers:
        return Outcome(letter_id, Ending(headers[OUTCOME].decode()), detail, record.appended_at_ns)
    return Letter(
        letter_id,
        Reason(headers[REASON].decode()),
        detail,
        _original(record, letter_id),
        record.topic_partition,
        record.offset,
    )


class DeadLetters:
    """Writes dead letters and their outcomes.

    Args:
        log: the log they came from.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def send(self, record: StoredRecord, *, group: str, reason: Reason, detail: str) -> None:
        """Stores a record as a dead letter, durably.

        Args:
            record: as it was read.
            group: the consumer group that gives it up; only there it may be redriven.
            reason: why.
            detail: one line, without secrets.

        Raises:
            LogUnavailable: the log can't be written now.
        """
        letter_id = LetterId(group, record.topic, record.partition, record.offset)
        why = ((REASON, reason.value.encode()), (DETAIL, detail.encode()), *_named(letter_id))
        topic = dead_letter_topic(record.topic)
        await self._log.publish(
            [Record(topic, record.partition, record.key, record.value, record.headers + why)]
        )

    async def settle(self, letter_id: LetterId, key: bytes, ending: Ending, detail: str = "") -> None:
        """Stores what came of a letter, durably.

        Raises:
            LogUnavailable: the log can't be written now.
        """
        told = ((OUTCOME, ending.value.encode()), (DETAIL, detail.encode()), *_named(letter_id))
        await self._log.publish(
            [Record(dead_letter_topic(letter_id.topic), letter_id.partition, key, b"", told)]
        )


def _named(letter_id: LetterId) -> Headers:
    return (
        (GROUP, letter_id.group.encode()),
        (TOPIC, letter_id.topic.encode()),
        (PARTITION, str(letter_id.partition).encode()),
        (OFFSET, str(letter_id.offset).encode()),
    )


def _letter_id(headers: dict[str, bytes]) -> LetterId:
    return LetterId(
        headers[GROUP].decode(), headers[TOPIC].decode(), int(headers[PARTITION]), int(headers[OFFSET])
    )


def _original(record: StoredRecord, letter_id: LetterId) -> StoredRecord:
    headers = tuple((name, value) for name, value in record.headers if name not in _OURS)
    return StoredRecord(
        letter_id.topic,
        letter_id.partition,
        letter_id.offset,
        record.key,
        record.value,
        headers,
        record.appended_at_ns,
    )
