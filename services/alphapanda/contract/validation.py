"""Checks messages against the contract's rules (protovalidate). Only this module imports the library."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.decimal_pb2 import Decimal as WireDecimal
from protovalidate import Validator
from protovalidate import Violation as RuleViolation

from alphapanda.contract.wire import NotOnTheWire, exact
from alphapanda.domain.errors import shown
from alphapanda.domain.frame import SECOND_NS

LONGEST_TEXT = 1000
"""Characters in any text of a request."""
MOST_ITEMS = 1000
"""Items in any list or map of a request."""
_LARGEST = 2**63 - 1  # of a BIGINT
_FIRST_SECOND, _END_SECOND = (
    0,
    253_370_764_800,
)  # of 1970 and 9999: in any time zone this range fits a datetime

_validator = Validator()  # holds only the compiled rules, so it is shared


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule.

    Args:
        field: path of the field from the message, such as "legs[2].quantity".
        message: the value and what is allowed, such as "5000 is not allowed; must be less than 10".
    """

    field: str
    message: str


def violations(message: Message) -> list[Violation]:
    """Returns every rule of the contract that the message breaks; empty where it is valid.

    The library can't check google.type.Decimal, so this function checks that its values are numbers.
    """
    found = [_violation(one, message.DESCRIPTOR) for one in _validator.collect_violations(message)]
    found.extend(_bad_decimals(message, ""))
    return found


def bounds_broken(request: Message, path: str = "") -> list[Violation]:
    """Returns the fields of a request that exceed the bounds of every request, whatever the contract's rules.

    Text has at most LONGEST_TEXT characters and no NUL (PostgreSQL can't store it); lists and maps have at most MOST_ITEMS
    items; integers fit in 63 bits; times are from 1970 to 9998. Checked before the contract's rules, whose cost grows
    with the number of items.
    """
    found: list[Violation] = []
    for field, value in request.ListFields():
        where = f"{path}{field.name}"
        if not field.is_repeated:
            found.extend(_out_of_bounds(value, field, where))
        elif len(value) > MOST_ITEMS:
            found.append(Violation(where, f"{len(value)} items are not allowed; at most {MOST_ITEMS}"))
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            of_key, of_value = field.message_type.fields
            for key in value:
                named = f"{where}[{shown(key)}]"
                found.extend(_out_of_bounds(key, of_key, named))
                found.extend(_out_of_bounds(value[key], of_value, named))
        else:
            for n, item in enumerate(value):
                found.extend(_out_of_bounds(item, field, f"{where}[{n}]"))
    return found


def not_keepable(message: Message) -> list[Violation]:
    """Returns the fields of an event that no store can keep.

    These are text with NUL, integers beyond 63 bits, and times before 1970 or after 9998. As every money event is checked,
    texts are checked only where the encoded event has a zero byte, which is rare: protobuf omits zero values.
    """
    return list(_not_keepable(message, "", texts=b"\0" in message.SerializePartialToString()))


def _not_keepable(message: Message, path: str, *, texts: bool) -> Iterator[Violation]:
    for name, several, holds in _keepable_fields(message.DESCRIPTOR, texts):
        if several:
            values = getattr(message, name)
            items = values.items() if hasattr(values, "items") else enumerate(values)
            for at, value in items:
                yield from _not_kept(value, f"{path}{name}[{at!r}]", holds, texts=texts)
        elif holds is not Message or message.HasField(name):
            yield from _not_kept(getattr(message, name), f"{path}{name}", holds, texts=texts)


def _not_kept(value: Any, where: str, holds: type, *, texts: bool) -> Iterator[Violation]:
    if holds is str:
        if "\0" in value:
            yield _not_allowed(where, value, "text without NUL")
    elif holds is int:
        if value > _LARGEST:
            yield _not_allowed(where, value, f"at most {_LARGEST}")
    elif not isinstance(value, Timestamp):
        yield from _not_keepable(value, f"{where}.", texts=texts)
    elif not _is_moment(value):
        yield _not_allowed(where, value.seconds, "a time from 1970 to 9998")


@cache
def _keepable_fields(descriptor: Descriptor, texts: bool) -> tuple[tuple[str, bool, type], ...]:
    """Returns the fields that may hold such values: name, whether it repeats (lists, map values), and the type."""
    found: list[tuple[str, bool, type]] = []
    for field in descriptor.fields:
        kept = field
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            kept = field.message_type.fields_by_name["value"]
        if kept.type == FieldDescriptor.TYPE_STRING and texts:
            found.append((field.name, field.is_repeated, str))
        elif kept.type == FieldDescriptor.TYPE_UINT64:
            found.append((field.name, field.is_repeated, int))
        elif kept.message_type is not None and (
            kept.message_type is Timestamp.DESCRIPTOR or _keepable_fields(kept.message_type, texts)
        ):
            found.append((field.name, field.is_repeated, Message))
    return tuple(found)


def _is_moment(value: Timestamp) -> bool:
    return _FIRST_SECOND <= value.seconds < _END_SECOND and 0 <= value.nanos < SECOND_NS


def _out_of_bounds(value: object, field: FieldDescriptor, where: str) -> list[Violation]:
    if isinstance(value, Timestamp):
        if _is_moment(value):
            return []
        return [_not_allowed(where, value.seconds, "a time from 1970 to 9998")]
    if isinstance(value, Message):
        return bounds_broken(value, f"{where}.")
    if isinstance(value, str) and (len(value) > LONGEST_TEXT or "\0" in value):
        allowed = f"at most {LONGEST_TEXT} characters, none of them NUL"
        return [Violation(where, allowed) if _is_secret(field) else _not_allowed(where, value, allowed)]
    if field.type == FieldDescriptor.TYPE_UINT64 and isinstance(value, int) and value > _LARGEST:
        return [_not_allowed(where, value, f"at most {_LARGEST}")]
    return []


def _violation(found: RuleViolation, descriptor: Any) -> Violation:
    broken = found.proto
    path = ""
    inside = descriptor
    secret = False
    for element in broken.field.elements if broken.field else ():
        path += f".{element.field_name}" if path else element.field_name
        if element.subscript is not None:
            path += f"[{element.subscript.value!r}]"
        field = None if inside is None else inside.fields_by_name.get(element.field_name)
        secret = secret or (field is not None and _is_secret(field))
        inside = None if field is None else field.message_type
    if secret or found.field_value is None or isinstance(found.field_value, Message):
        return Violation(path, broken.message)
    return _not_allowed(path, found.field_value, broken.message)


def _is_secret(field: FieldDescriptor) -> bool:
    """Whether the contract says that the field's value is never shown."""
    return field.GetOptions().debug_redact


def _not_allowed(path: str, value: object, allowed: str) -> Violation:
    return Violation(path, f"{shown(value)} is not allowed; {allowed}")


def _bad_decimals(message: Message, path: str) -> Iterator[Violation]:
    for name, repeated in _decimal_fields(message.DESCRIPTOR):
        if repeated:
            inside = [(f"{path}{name}[{n}]", value) for n, value in enumerate(getattr(message, name))]
        else:
            inside = [(path + name, getattr(message, name))] if message.HasField(name) else []
        for where, value in inside:
            if not isinstance(value, WireDecimal):
                yield from _bad_decimals(value, f"{where}.")
                continue
            try:
                exact(value)
            except NotOnTheWire:
                yield _not_allowed(where, value.value, "must be a finite decimal number")


@cache
def _decimal_fields(descriptor: Descriptor) -> tuple[tuple[str, bool], ...]:
    """Returns the fields that are decimals or contain some, at any depth, and whether they repeat."""
    return tuple(
        (field.name, field.is_repeated)
        for field in descriptor.fields
        if field.message_type is not None
        and not field.message_type.GetOptions().map_entry
        and (field.message_type is WireDecimal.DESCRIPTOR or _decimal_fields(field.message_type))
    )
