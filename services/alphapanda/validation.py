"""The contract's validation rules (protovalidate), run at both edges. No other module knows the library."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.type.decimal_pb2 import Decimal as WireDecimal
from protovalidate import Validator
from protovalidate import Violation as RuleViolation

from alphapanda.eventlog.wire import NotOnTheWire, exact

LONGEST_VALUE = 100

_validator = Validator()  # holds nothing but the compiled rules, so one serves all


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule.

    Args:
        field: path of the field from the message, such as "legs[2].quantity".
        message: the value that came and what is allowed, such as "5000 is not allowed; must be less than 10".
    """

    field: str
    message: str


def violations(message: Message) -> list[Violation]:
    """Every rule of the contract that the message breaks; empty where it is valid.

    The library can't see into google.type.Decimal, so that these are numbers is checked here.
    """
    found = [_violation(one) for one in _validator.collect_violations(message)]
    found.extend(_bad_decimals(message, ""))
    return found


def _violation(found: RuleViolation) -> Violation:
    broken = found.proto
    path = ""
    for element in broken.field.elements if broken.field else ():
        path += f".{element.field_name}" if path else element.field_name
        if element.subscript is not None:
            path += f"[{element.subscript.value!r}]"
    if found.field_value is None or isinstance(found.field_value, Message):
        return Violation(path, broken.message)
    return _not_allowed(path, found.field_value, broken.message)


def _not_allowed(path: str, value: object, allowed: str) -> Violation:
    text = repr(value)
    shown = text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + "…"
    return Violation(path, f"{shown} is not allowed; {allowed}")


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
    """Fields that are decimals or hold some, at any depth, and whether they repeat."""
    return tuple(
        (field.name, field.is_repeated)
        for field in descriptor.fields
        if field.message_type is not None
        and not field.message_type.GetOptions().map_entry
        and (field.message_type is WireDecimal.DESCRIPTOR or _decimal_fields(field.message_type))
    )
