"""A request as the audit keeps it: its fields by name, without secrets, of a bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict, SerializeToJsonError
from google.protobuf.message import Message

from alphapanda.telemetry.redaction import REDACTED, is_secret, redacted

LONGEST_TEXT: Final = 500
"""Characters of a text that are kept."""

MOST_ITEMS: Final = 50
"""Items of a list or a map that are kept."""

MOST_SUBJECTS: Final = 50
"""Ids of what a command was about."""

_SUBJECTS: Final = frozenset(
    {"order_id", "signal_id", "strategy_id", "letter_id", "letter_ids", "session_id", "user_name", "role"}
)


def request_fields(request: Message) -> dict[str, Any]:
    """The fields that are set, by their names in the contract; secrets are replaced, long texts and lists cut.

    A field is a secret where its name says so, or its option `debug_redact`.
    """
    try:
        fields = MessageToDict(request, preserving_proto_field_name=True)
    except (ValueError, SerializeToJsonError):  # a refused request may hold a time that there isn't
        return {"…": f"{request.ByteSize()} bytes that can't be shown"}
    _hide(request, fields)
    bounded: dict[str, Any] = _bounded(fields)
    return bounded


def plain_text(text: str) -> str:
    """A text as the database can keep it, without secrets and cut."""
    shown = str(redacted(text)).replace("\0", "\N{REPLACEMENT CHARACTER}")
    return shown if len(shown) <= LONGEST_TEXT else f"{shown[:LONGEST_TEXT]}… ({len(shown)} characters)"


def subjects(messages: Iterable[Message | None]) -> list[str]:
    """Ids of what a command was about (orders, signals, strategies, dead letters), each once, from its request and answer."""
    found = (each for one in messages if one is not None for each in _ids(one, 2))
    return list(islice(dict.fromkeys(found), MOST_SUBJECTS))


def _ids(message: Message, depth: int) -> Iterator[str]:
    for field, value in message.ListFields():
        values = value if _is_list(field) else (value,)
        if field.type == FieldDescriptor.TYPE_STRING and field.name in _SUBJECTS:
            yield from (plain_text(each) for each in islice(values, MOST_SUBJECTS))
        elif field.type == FieldDescriptor.TYPE_MESSAGE and depth and not _is_map(field):
            for each in islice(values, MOST_SUBJECTS):
                yield from _ids(each, depth - 1)


def _is_list(field: FieldDescriptor) -> bool:
    return bool(field.is_repeated)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _hide(message: Message, fields: dict[str, Any]) -> None:
    """Replaces what the contract marks with `debug_redact`."""
    for field, value in message.ListFields():
        if field.GetOptions().debug_redact:
            fields[field.name] = REDACTED
        elif field.type == FieldDescriptor.TYPE_MESSAGE and not _is_map(field):
            inner = fields.get(field.name)
            pairs = zip(value, inner, strict=False) if _is_list(field) and inner else ((value, inner),)
            for each, shown in pairs:
                if isinstance(shown, dict):
                    _hide(each, shown)


def _bounded(value: Any) -> Any:
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, Mapping):
        kept = {
            plain_text(str(key)): REDACTED if is_secret(str(key)) else _bounded(item)
            for key, item in islice(value.items(), MOST_ITEMS)
        }
        return kept | ({"…": f"{len(value) - MOST_ITEMS} more"} if len(value) > MOST_ITEMS else {})
    if isinstance(value, list):
        kept_items = [_bounded(item) for item in value[:MOST_ITEMS]]
        return kept_items + ([f"… {len(value) - MOST_ITEMS} more"] if len(value) > MOST_ITEMS else [])
    return value
