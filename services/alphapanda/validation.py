"""The contract's validation rules (protovalidate), run at both edges. No other module knows the library."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import Message
from protovalidate import Validator
from protovalidate import Violation as RuleViolation

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
    """Every rule of the contract that the message breaks; empty where it is valid."""
    return [_violation(found) for found in _validator.collect_violations(message)]


def _violation(found: RuleViolation) -> Violation:
    broken = found.proto
    path = ""
    for element in broken.field.elements if broken.field else ():
        path += f".{element.field_name}" if path else element.field_name
        if element.subscript is not None:
            path += f"[{element.subscript.value!r}]"
    if found.field_value is None:
        return Violation(path, broken.message)
    value = repr(found.field_value)
    shown = value if len(value) <= LONGEST_VALUE else value[:LONGEST_VALUE] + "…"
    return Violation(path, f"{shown} is not allowed; {broken.message}")
