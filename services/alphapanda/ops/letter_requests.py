"""Remembers commands about dead letters by their request_id, as records of the dead-letter topics: ops has no tables.

A command is written after what it does. So one that was cut off before is carried out when it is repeated, and one that is
found has had its effect: its repetition gets the same letters, and nothing is done again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from google.protobuf.message import Message

from alphapanda.contract.topics import TopicPartition
from alphapanda.eventlog.port import Record, StoredRecord

REQUEST: Final = "dlq_request"
BODY: Final = "dlq_request_body"


@dataclass(frozen=True, slots=True)
class LetterRequest:
    """A command about letters.

    Attributes:
        request_id: chosen by the caller.
        key: identifies the command: caller, method, request_id.
        body: a digest of the request.
    """

    request_id: str
    key: str
    body: str

    @classmethod
    def of(cls, caller: str, method: str, request_id: str, request: Message) -> LetterRequest:
        """The command that a request makes."""
        digest = sha256(request.SerializeToString(deterministic=True)).hexdigest()
        return cls(request_id, json.dumps([caller, method, request_id]), digest)


@dataclass(frozen=True, slots=True)
class CarriedOut:
    """A command that was carried out.

    Attributes:
        key: identifies the command.
        body: a digest of its request.
        letters: how often each of its letters had failed before, by letter id.
        next_page_token: of its answer.
    """

    key: str
    body: str
    letters: Mapping[str, int]
    next_page_token: str = ""


def request_record(done: CarriedOut, at: TopicPartition) -> Record:
    """Builds the record that remembers a command."""
    value = json.dumps({"letters": dict(done.letters), "next_page_token": done.next_page_token})
    headers = ((REQUEST, done.key.encode()), (BODY, done.body.encode()))
    return Record(at.topic, at.partition, done.key.encode(), value.encode(), headers)


def request_of(record: StoredRecord) -> CarriedOut | None:
    """Parses such a record; None where it is another one.

    Raises:
        ValueError, KeyError: the record has another writer.
    """
    headers = dict(record.headers)
    if REQUEST not in headers:
        return None
    value = json.loads(record.value)
    return CarriedOut(
        headers[REQUEST].decode(),
        headers[BODY].decode(),
        {str(letter_id): int(failures) for letter_id, failures in value["letters"].items()},
        str(value["next_page_token"]),
    )
