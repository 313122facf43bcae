"""Events as producers of other versions write them: an older one lacks fields, a newer one says what nobody knows here.

Which of the three a record gets is its event's own: the same on every way it takes, whoever publishes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import IntEnum
from uuid import UUID

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet

from alphapanda.consuming.dead_letters import is_command
from alphapanda.contract.topics import DEAD_LETTER_SUFFIX
from alphapanda.eventlog.port import Record, StoredRecord
from panda.events.v1.events_pb2 import Event

ADDED_LATER: Mapping[str, tuple[str, ...]] = {
    "panda.events.v1.TickFrame": ("volume",),
    "panda.events.v1.TradingSignal": ("product", "order_type", "reference_price", "reason"),
    "panda.events.v1.SignalValidated": ("decided_at", "rules"),
    "panda.events.v1.SignalRejected": ("message", "decided_at", "rules", "largest_quantity"),
    "panda.events.v1.OrderState": ("position_effect", "average_price", "market_time"),
    "panda.events.v1.OrderFailed": ("message",),
    "panda.events.v1.OrderCancelled": ("message",),
    "panda.events.v1.StrategyChanged": ("changed_by", "changed_at"),
}
"""What the older contract lacks: of every event that somebody reads the fields that the contract lets be absent."""

LATER_FIELD = bytes.fromhex("c0a90701")  # field 15000, varint 1: no message of ours has it
LATER_WORD = 77
"""Of an enumeration: no version here has it."""


class Dialect(IntEnum):
    """Who wrote an event."""

    OURS = 0
    OLDER = 1
    NEWER = 2


def dialect_of(event_id: str) -> Dialect:
    """Which one an event gets: a third of them each."""
    return Dialect(UUID(event_id).int % len(Dialect))


def _older_contract() -> type[Message]:
    """Event without ADDED_LATER, from descriptors of its own."""
    pool, files = DescriptorPool(), dict[str, FileDescriptor]()

    def gather(file: FileDescriptor) -> None:
        if file.name not in files:
            for dependency in file.dependencies:
                gather(dependency)
            files[file.name] = file

    gather(Event.DESCRIPTOR.file)
    for file in files.values():
        older = FileDescriptorProto()
        file.CopyToProto(older)
        for message in older.message_type:
            lacking = ADDED_LATER.get(f"{older.package}.{message.name}", ())
            kept = [field for field in message.field if field.name not in lacking]
            assert len(kept) == len(message.field) - len(lacking), f"{message.name} has not all of {lacking}"
            del message.field[:]
            message.field.extend(kept)
        pool.Add(older)
    return GetMessageClass(pool.FindMessageTypeByName(Event.DESCRIPTOR.full_name))


OLDER_EVENT = _older_contract()


def as_older(value: bytes) -> bytes:
    """An event's bytes as a program writes them that doesn't know ADDED_LATER."""
    older = OLDER_EVENT.FromString(value)
    older.DiscardUnknownFields()
    return older.SerializeToString(deterministic=True)


def as_newer(value: bytes) -> bytes:
    """An event's bytes with a field nobody knows in each of its messages, and new words where words decide nothing."""
    event = Event.FromString(value)
    payload = getattr(event, event.WhichOneof("payload") or "")
    messages = [event, payload]
    match event.WhichOneof("payload"):
        case "signal_validated":
            payload.rules.add(rule="later_rule")
            for rule in payload.rules:
                rule.outcome = LATER_WORD
            messages += payload.rules
        case "order_submitted" | "order_filled" | "order_failed" | "order_cancelled":
            payload.order.position_effect = LATER_WORD
            messages.append(payload.order)
    if event.WhichOneof("payload") == "order_failed":
        payload.reason = LATER_WORD
    for message in messages:
        message.MergeFromString(LATER_FIELD)
    return event.SerializeToString(deterministic=True)


def translated(record: Record) -> Record:
    """A record in its event's dialect; a dead letter, and what is said about one, stays as it is."""
    if record.topic.endswith(DEAD_LETTER_SUFFIX) or is_command(record):
        return record
    match dialect_of(dict(record.headers)["ce_id"].decode()):
        case Dialect.OLDER:
            return replace(record, value=as_older(record.value))
        case Dialect.NEWER:
            return replace(record, value=as_newer(record.value))
    return record


def spoken(record: StoredRecord) -> Dialect:
    """In which dialect a record is written, judged by its bytes alone."""
    event = Event.FromString(record.value)
    if len(UnknownFieldSet(event)):
        return Dialect.NEWER
    return Dialect.OLDER if as_older(record.value) == record.value else Dialect.OURS
