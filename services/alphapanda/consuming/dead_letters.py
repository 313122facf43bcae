"""Dead letters: records that can't be handled, stored unchanged (bytes, key, headers) on the topic's dead-letter topic.

A command about a letter (redrive, discard) is published to the letter's original topic and partition. The group that
failed executes it in order; every other reader skips it. The outcome is published to the dead-letter topic.
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
_OWN_HEADERS = frozenset({REASON, DETAIL, GROUP, TOPIC, PARTITION, OFFSET, COMMAND, WHOLE_KEY, OUTCOME})

_NO_OFFSET = 2**63
"""One above the largest possible offset."""

PARKED_REASONS = frozenset({Reason.BUG, Reason.PARKED})
"""Reasons of letters whose key is parked: later records of the key wait. Other letters were skipped one by one."""


class Act(StrEnum):
    """A command about a dead letter."""

    REDRIVE = "REDRIVE"
    DISCARD = "DISCARD"


class Ending(StrEnum):
    """The outcome of a command about a dead letter."""

    REDRIVEN = "REDRIVEN"
    DISCARDED = "DISCARDED"
    FAILED_AGAIN = "FAILED_AGAIN"


class LetterId(NamedTuple):
    """Identifies a dead letter by group and record, so a letter that was written twice counts once."""

    group: str
    topic: str
    partition: int
    offset: int

    @override
    def __str__(self) -> str:
        """Formats the id as "trading/TOPIC/3/17"."""
        return f"{self.group}/{self.topic}/{self.partition}/{self.offset}"

    @classmethod
    def parsed(cls, text: str) -> LetterId | None:
        """Parses "trading/TOPIC/3/17"; None where the text is no possible id."""
        group, _, place = text.partition("/")
        try:
            topic, partition, offset = place.rsplit("/", 2)
            letter_id = cls(group, topic, int(partition), int(offset))
        except ValueError:
            return None
        valid = 0 <= letter_id.partition < _NO_OFFSET and 0 <= letter_id.offset < _NO_OFFSET
        return letter_id if valid and str(letter_id) == text else None


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, read from its record.

    Attributes:
        letter_id: identifies the letter.
        reason: why the record couldn't be handled.
        detail: the error, in one line.
        original: the record as it was read from its topic.
        at: partition of the dead-letter topic that holds the letter.
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
    """The outcome of a redrive or discard of a letter."""

    letter_id: LetterId
    ending: Ending
    detail: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class Command:
    """A command to the group that failed.

    Attributes:
        act: redrive or discard.
        letter_id: the letter.
        reason: why the record became a letter.
        whole_key: the command holds for all parked letters of the key, in order.
        original: the letter's original record.
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
    """Builds the record of a command, for the letter's original topic."""
    command_headers = (
        (COMMAND, act.value.encode()),
        (WHOLE_KEY, b"1" if whole_key else b""),
        (REASON, letter.reason.value.encode()),
        *_id_headers(letter.letter_id),
    )
    original = letter.original
    return Record(
        original.topic, original.partition, original.key, original.value, command_headers + original.headers
    )


def command_of(record: StoredRecord) -> Command:
    """Parses the command in a record for which `is_command` is true.

    Raises:
        ValueError, KeyError: the record was not built by `command_record`.
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
    """Parses a record of a dead-letter topic.

    Raises:
        ValueError, KeyError: the record has another writer.
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
    """Publishes dead letters and their outcomes.

    Args:
        log: the log that holds the topics.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def send(self, record: StoredRecord, *, group: str, reason: Reason, detail: str) -> None:
        """Publishes a record as a dead letter; returns once it is durable.

        Args:
            record: the record as it was read.
            group: the consumer group that couldn't handle it; a redrive goes to this group.
            reason: why it couldn't be handled.
            detail: one line, without secrets.

        Raises:
            LogUnavailable: the log can't be written now.
        """
        letter_id = LetterId(group, record.topic, record.partition, record.offset)
        letter_headers = ((REASON, reason.value.encode()), (DETAIL, detail.encode()), *_id_headers(letter_id))
        topic = dead_letter_topic(record.topic)
        await self._log.publish(
            [Record(topic, record.partition, record.key, record.value, record.headers + letter_headers)]
        )

    async def settle(self, letter_id: LetterId, key: bytes, ending: Ending, detail: str = "") -> None:
        """Publishes the outcome of a command; returns once it is durable.

        Raises:
            LogUnavailable: the log can't be written now.
        """
        outcome_headers = (
            (OUTCOME, ending.value.encode()),
            (DETAIL, detail.encode()),
            *_id_headers(letter_id),
        )
        await self._log.publish(
            [Record(dead_letter_topic(letter_id.topic), letter_id.partition, key, b"", outcome_headers)]
        )


def _id_headers(letter_id: LetterId) -> Headers:
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
    headers = tuple((name, value) for name, value in record.headers if name not in _OWN_HEADERS)
    return StoredRecord(
        letter_id.topic,
        letter_id.partition,
        letter_id.offset,
        record.key,
        record.value,
        headers,
        record.appended_at_ns,
    )
