"""An index of dead letters: one row per letter, in a temporary SQLite file that is deleted with the index.

So a process that lists a hundred thousand dead letters holds only a few pages of them in memory.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from alphapanda.consuming.dead_letters import (
    PARKED_REASONS,
    Ending,
    Letter,
    LetterId,
    Outcome,
    letter_or_outcome,
)
from alphapanda.contract.topics import TopicPartition, dead_letter_topic
from alphapanda.eventlog.decode import Reason
from alphapanda.eventlog.port import StoredRecord
from alphapanda.ops.letter_requests import CarriedOut, request_of

_SCHEMA: Final = """
CREATE TABLE letters (
    topic TEXT, partition INTEGER, "offset" INTEGER, "group" TEXT,
    reason TEXT, detail TEXT, key BLOB, key_text TEXT, dead_offset INTEGER, dead_at_ns INTEGER,
    ending TEXT, failures INTEGER DEFAULT 0, last_failure TEXT DEFAULT '',
    PRIMARY KEY (topic, partition, "offset", "group")
) WITHOUT ROWID;
CREATE TABLE requests (
    request TEXT PRIMARY KEY, body TEXT, letters TEXT, next_page_token TEXT,
    dead_topic TEXT, dead_at_ns INTEGER
) WITHOUT ROWID;
CREATE INDEX waiting ON letters (topic, partition, "offset", "group") WHERE ending IS NULL;
CREATE INDEX waiting_of_key ON letters (key_text, topic, partition, "offset", "group") WHERE ending IS NULL;
"""
_COLUMNS: Final = 'topic, partition, "offset", "group", reason, detail, key, dead_offset, dead_at_ns, ending, failures, last_failure'
_THIS_ONE: Final = 'topic = ? AND partition = ? AND "offset" = ? AND "group" = ?'

Place = tuple[str, int, int, str]
"""Sort key of letters: topic, partition and offset of the record that failed, group."""


class LetterState(StrEnum):
    """States of a letter, to filter by; the values of ended letters are `Ending`'s."""

    ANY = ""
    WAITING = "WAITING"
    REDRIVEN = Ending.REDRIVEN.value
    DISCARDED = Ending.DISCARDED.value


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """A filter of letters; an empty field matches everything. `key` is text, with undecodable bytes replaced."""

    topic: str = ""
    group: str = ""
    key: str = ""
    reason: str = ""
    state: LetterState = LetterState.ANY


@dataclass(frozen=True, slots=True)
class KnownLetter:
    """A dead letter with its state at the time of the query.

    Attributes:
        letter_id: identifies the letter.
        reason: why the record couldn't be handled.
        detail: the error, in one line.
        key: key of the record.
        offset: the letter's offset on the dead-letter topic.
        dead_at_ns: wall time at which the letter was written.
        ending: outcome; None while it waits.
        failures: number of redrives and discards that failed.
        last_failure: error of the last of them.
    """

    letter_id: LetterId
    reason: Reason
    detail: str
    key: bytes
    offset: int
    dead_at_ns: int
    ending: Ending | None
    failures: int
    last_failure: str

    @property
    def at(self) -> TopicPartition:
        """Partition of the dead-letter topic that holds it."""
        return TopicPartition(dead_letter_topic(self.letter_id.topic), self.letter_id.partition)

    @property
    def waits(self) -> bool:
        """Whether it is neither redriven nor discarded."""
        return self.ending is None

    @property
    def parked(self) -> bool:
        """Whether its key is parked, on a money topic."""
        return self.reason in PARKED_REASONS

    @property
    def place(self) -> Place:
        """The letter's sort key."""
        letter_id = self.letter_id
        return letter_id.topic, letter_id.partition, letter_id.offset, letter_id.group

    @property
    def line(self) -> tuple[str, str, int, bytes]:
        """Identifies the group and key whose parked records wait in order: group, topic, partition, key."""
        return self.letter_id.group, self.letter_id.topic, self.letter_id.partition, self.key


class LetterIndex:
    """An index of letters and outcomes. Any call raises sqlite3.Error where the temporary file can't be written."""

    def __init__(self) -> None:
        # The empty name: a private temporary file, created once SQLite's cache of 2 MB is full.
        self._rows = sqlite3.connect("")
        self._rows.executescript(_SCHEMA)

    def close(self) -> None:
        """Closes the index and deletes its file."""
        self._rows.close()

    def learn(self, records: Iterable[StoredRecord]) -> None:
        """Adds records of dead-letter topics, in the log's order; a letter that was written twice counts once."""
        with self._rows:
            for record in records:
                try:
                    if done := request_of(record):
                        self._remember(done, record)
                        continue
                    parsed = letter_or_outcome(record)
                except (KeyError, ValueError):
                    continue  # a record of another writer
                if not _belongs(parsed.letter_id, record):
                    continue
                if isinstance(parsed, Letter):
                    self._add(parsed, record)
                else:
                    self._settle(parsed)

    def page(self, wanted: LetterFilter, after: Place | None, size: int) -> list[KnownLetter]:
        """Returns the first letters that match, in sort order, after a place where one is given."""
        conditions, values = _conditions(wanted)
        conditions.append('(topic, partition, "offset", "group") > (?, ?, ?, ?)')
        values += after or (wanted.topic, -1, -1, "")
        query = (
            f"{_index_for(wanted)} WHERE {' AND '.join(conditions)}"
            ' ORDER BY topic, partition, "offset", "group" LIMIT ?'
        )
        return list(self._found(query, (*values, size)))

    def carried_out(self, key: str) -> CarriedOut | None:
        """Returns a command that was carried out, by its key; the first, where there are several."""
        row = self._rows.execute(
            "SELECT request, body, letters, next_page_token FROM requests WHERE request = ?", (key,)
        ).fetchone()
        return None if row is None else CarriedOut(row[0], row[1], json.loads(row[2]), row[3])

    def groups(self) -> set[str]:
        """Returns the groups that have letters."""
        return {group for (group,) in self._rows.execute('SELECT DISTINCT "group" FROM letters')}

    def waiting(self) -> dict[str, int]:
        """Returns the number of letters that are neither redriven nor discarded, by topic."""
        return dict(
            self._rows.execute(
                "SELECT topic, count(*) FROM letters INDEXED BY waiting WHERE ending IS NULL GROUP BY topic"
            )
        )

    def find(self, letter_ids: Iterable[LetterId]) -> list[KnownLetter]:
        """Returns those of these letters that are in the index, in sort order."""
        return [
            letter
            for place in sorted({_place(letter_id) for letter_id in letter_ids})
            for letter in self._found(f"WHERE {_THIS_ONE}", place)
        ]

    def parked_before(self, letter: KnownLetter) -> Iterator[KnownLetter]:
        """Yields the parked letters of the same group and key that wait before this one, in order."""
        reasons = ", ".join("?" * len(PARKED_REASONS))
        query = (
            'INDEXED BY waiting_of_key WHERE +"group" = ? AND topic = ? AND partition = ? AND key = ?'
            f' AND key_text = ? AND ending IS NULL AND reason IN ({reasons}) AND "offset" < ? ORDER BY "offset"'
        )
        values = (*letter.line, _as_text(letter.key), *sorted(PARKED_REASONS), letter.letter_id.offset)
        return self._found(query, values)

    def forget(self, topic: str, before_ns: int) -> None:
        """Forgets letters of a topic, and commands remembered with them, that were written before a wall time."""
        with self._rows:
            self._rows.execute("DELETE FROM letters WHERE topic = ? AND dead_at_ns < ?", (topic, before_ns))
            self._rows.execute(
                "DELETE FROM requests WHERE dead_topic = ? AND dead_at_ns < ?",
                (dead_letter_topic(topic), before_ns),
            )

    # -- internals ----------------------------------------------------------------------------------------------------

    def _remember(self, done: CarriedOut, record: StoredRecord) -> None:
        self._rows.execute(
            "INSERT OR IGNORE INTO requests VALUES (?, ?, ?, ?, ?, ?)",
            (
                done.key,
                done.body,
                json.dumps(dict(done.letters)),
                done.next_page_token,
                record.topic,
                record.appended_at_ns,
            ),
        )

    def _add(self, letter: Letter, record: StoredRecord) -> None:
        self._rows.execute(
            "INSERT OR IGNORE INTO letters"
            ' (topic, partition, "offset", "group", reason, detail, key, key_text, dead_offset, dead_at_ns)'
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *_place(letter.letter_id),
                letter.reason.value,
                letter.detail,
                record.key,
                _as_text(record.key),
                letter.offset,
                record.appended_at_ns,
            ),
        )

    def _settle(self, outcome: Outcome) -> None:
        if outcome.ending is Ending.FAILED_AGAIN:
            self._rows.execute(
                f"UPDATE letters SET failures = failures + 1, last_failure = ? WHERE {_THIS_ONE}",
                (outcome.detail, *_place(outcome.letter_id)),
            )
        else:
            self._rows.execute(
                f"UPDATE letters SET ending = ? WHERE {_THIS_ONE} AND ending IS NULL",
                (outcome.ending.value, *_place(outcome.letter_id)),
            )

    def _found(self, rest: str, values: Sequence[object]) -> Iterator[KnownLetter]:
        for row in self._rows.execute(f"SELECT {_COLUMNS} FROM letters {rest}", values):
            topic, partition, offset, group, reason, detail, key, dead_offset, dead_at_ns, ending, *failed = (
                row
            )
            yield KnownLetter(
                LetterId(group, topic, partition, offset),
                Reason(reason),
                detail,
                key,
                dead_offset,
                dead_at_ns,
                None if ending is None else Ending(ending),
                *failed,
            )


def _conditions(wanted: LetterFilter) -> tuple[list[str], list[object]]:
    narrowed = {
        "topic": wanted.topic,
        '"group"': wanted.group,
        "key_text": wanted.key,
        "reason": wanted.reason,
        "ending": "" if wanted.state is LetterState.WAITING else wanted.state.value,
    }
    # The plus keeps a condition from choosing the index: each page begins where the one before it ended.
    conditions = [f"+{column} = ?" for column, value in narrowed.items() if value]
    values: list[object] = [value for value in narrowed.values() if value]
    if wanted.topic:
        conditions.append("topic <= ?")
        values.append(wanted.topic)
    if wanted.state is LetterState.WAITING:
        conditions.append("ending IS NULL")
        if wanted.key:
            conditions.append("key_text = ?")
            values.append(wanted.key)
    return conditions, values


def _index_for(wanted: LetterFilter) -> str:
    if wanted.state is not LetterState.WAITING:
        return ""
    return "INDEXED BY waiting_of_key" if wanted.key else "INDEXED BY waiting"


def _place(letter_id: LetterId) -> Place:
    return letter_id.topic, letter_id.partition, letter_id.offset, letter_id.group


def _as_text(key: bytes) -> str:
    return key.decode(errors="replace")


def _belongs(letter_id: LetterId, record: StoredRecord) -> bool:
    """Whether a letter's headers agree with the topic and partition of its record; ours always do."""
    there = (dead_letter_topic(letter_id.topic), letter_id.partition)
    return there == record.topic_partition and LetterId.parsed(str(letter_id)) == letter_id
