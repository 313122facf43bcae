"""What the dead-letter topics say, indexed: one row a letter, in a temporary file of SQLite's own that ends with it.

A process that is asked about a hundred thousand dead letters holds a few pages of them in memory, no more.
"""

from __future__ import annotations

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

_SCHEMA: Final = """
CREATE TABLE letters (
    topic TEXT, partition INTEGER, "offset" INTEGER, "group" TEXT,
    reason TEXT, detail TEXT, key BLOB, key_text TEXT, dead_offset INTEGER, dead_at_ns INTEGER,
    ending TEXT, failures INTEGER DEFAULT 0, last_failure TEXT DEFAULT '',
    PRIMARY KEY (topic, partition, "offset", "group")
) WITHOUT ROWID;
CREATE INDEX waiting ON letters ("group", topic, partition, key, "offset") WHERE ending IS NULL;
"""
_COLUMNS: Final = 'topic, partition, "offset", "group", reason, detail, key, dead_offset, dead_at_ns, ending, failures, last_failure'
_THIS_ONE: Final = 'topic = ? AND partition = ? AND "offset" = ? AND "group" = ?'

Place = tuple[str, int, int, str]
"""What letters are sorted by: topic, partition and offset of the record that failed, group."""


class Standing(StrEnum):
    """How a letter stands, as it is asked for; the words of those that ended are `Ending`'s."""

    ANY = ""
    WAITING = "WAITING"
    REDRIVEN = Ending.REDRIVEN.value
    DISCARDED = Ending.DISCARDED.value


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters; what is empty doesn't narrow. `key` is text, what is no text in it replaced."""

    topic: str = ""
    group: str = ""
    key: str = ""
    reason: str = ""
    standing: Standing = Standing.ANY


@dataclass(frozen=True, slots=True)
class KnownLetter:
    """A dead letter as it stood when it was asked for.

    Attributes:
        letter_id: which.
        reason: why.
        detail: one line.
        key: of the record.
        offset: its offset on the dead-letter topic.
        dead_at_ns: wall time of that.
        ending: how it ended; None while it waits.
        failures: redrives and discards that failed.
        last_failure: what the last of them said.
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
        """Where it is on the dead-letter topic."""
        return TopicPartition(dead_letter_topic(self.letter_id.topic), self.letter_id.partition)

    @property
    def waits(self) -> bool:
        """Whether nothing has ended it."""
        return self.ending is None

    @property
    def parked(self) -> bool:
        """Whether it stands in its key's order, on a money topic."""
        return self.reason in PARKED_REASONS

    @property
    def place(self) -> Place:
        """What letters are sorted by."""
        whose = self.letter_id
        return whose.topic, whose.partition, whose.offset, whose.group

    @property
    def line(self) -> tuple[str, str, int, bytes]:
        """What it waits in: the records of one key that one group parked."""
        return self.letter_id.group, self.letter_id.topic, self.letter_id.partition, self.key


class LetterIndex:
    """The letters and what came of them. Any call raises sqlite3.Error where the temporary file can't be written."""

    def __init__(self) -> None:
        # The empty name: a file of SQLite's own that nobody else sees, made once its cache of 2 MB is full.
        self._rows = sqlite3.connect("")
        self._rows.executescript(_SCHEMA)

    def close(self) -> None:
        """Ends, and the file with it."""
        self._rows.close()

    def learn(self, records: Iterable[StoredRecord]) -> None:
        """Takes in records of dead-letter topics, in the log's order; a letter that was written twice is one."""
        with self._rows:
            for record in records:
                try:
                    told = letter_or_outcome(record)
                except (KeyError, ValueError):
                    continue  # somebody's own record
                if not _belongs(told.letter_id, record):
                    continue
                if isinstance(told, Letter):
                    self._add(told, record)
                else:
                    self._settle(told)

    def page(self, wanted: Wanted, after: Place | None, size: int) -> list[KnownLetter]:
        """The first letters that fit, by place; those after a place where one is given."""
        conditions, values = _conditions(wanted)
        if after is not None:
            conditions.append('(topic, partition, "offset", "group") > (?, ?, ?, ?)')
            values += after
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        query = f'{where} ORDER BY topic, partition, "offset", "group" LIMIT ?'
        return list(self._found(query, (*values, size)))

    def groups(self) -> set[str]:
        """The groups that there are letters of."""
        return {group for (group,) in self._rows.execute('SELECT DISTINCT "group" FROM letters')}

    def find(self, letter_ids: Iterable[LetterId]) -> list[KnownLetter]:
        """Those of these letters that are known, by place."""
        return [
            letter
            for place in sorted({_place(whose) for whose in letter_ids})
            for letter in self._found(f"WHERE {_THIS_ONE}", place)
        ]

    def parked_before(self, letter: KnownLetter) -> Iterator[KnownLetter]:
        """Parked letters of its line that wait before it, in order."""
        reasons = ", ".join("?" * len(PARKED_REASONS))
        query = (
            'WHERE "group" = ? AND topic = ? AND partition = ? AND key = ? AND ending IS NULL'
            f' AND reason IN ({reasons}) AND "offset" < ? ORDER BY "offset"'
        )
        return self._found(query, (*letter.line, *sorted(PARKED_REASONS), letter.letter_id.offset))

    # -- within -------------------------------------------------------------------------------------------------------

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

    def _found(self, where: str, values: Sequence[object]) -> Iterator[KnownLetter]:
        for row in self._rows.execute(f"SELECT {_COLUMNS} FROM letters {where}", values):
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


def _conditions(wanted: Wanted) -> tuple[list[str], list[object]]:
    narrowed = {
        "topic": wanted.topic,
        '"group"': wanted.group,
        "key_text": wanted.key,
        "reason": wanted.reason,
        "ending": "" if wanted.standing is Standing.WAITING else wanted.standing.value,
    }
    conditions = [f"{column} = ?" for column, value in narrowed.items() if value]
    values: list[object] = [value for value in narrowed.values() if value]
    if wanted.standing is Standing.WAITING:
        conditions.append("ending IS NULL")
    return conditions, values


def _place(whose: LetterId) -> Place:
    return whose.topic, whose.partition, whose.offset, whose.group


def _as_text(key: bytes) -> str:
    return key.decode(errors="replace")


def _belongs(whose: LetterId, record: StoredRecord) -> bool:
    """Whether what a record says of itself agrees with where it is: ours always do."""
    there = (dead_letter_topic(whose.topic), whose.partition)
    return there == record.topic_partition and LetterId.parsed(str(whose)) == whose
