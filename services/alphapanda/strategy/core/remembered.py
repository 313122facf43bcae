"""What a strategy's revision remembers on a partition, as the bytes of a snapshot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from pydantic import JsonValue

FRESH: Final = b"fresh "
"""What a state begins with that no frame followed: what the revision flattens is still to be flattened."""


class Remembered(NamedTuple):
    """What is stored of a revision.

    Attributes:
        stopped: whether its errors, or too many signals, stopped it.
        instruments: what it remembers of each instrument, by id.
        made: its last minute of market time with signals and how many those were, by instrument.
        holdings: as `holdings.state_of` gave them; None where it doesn't read them, or didn't yet.
    """

    stopped: bool = False
    instruments: Mapping[str, Any] = {}
    made: Mapping[str, Any] = {}
    holdings: Any = None


def is_fresh(state: bytes) -> bool:
    """Whether the revision with this state has not been in effect yet."""
    return not state or state.startswith(FRESH)


def as_state(remembered: Remembered, *, fresh: bool) -> bytes:
    """The bytes; what is absent at the end takes no room."""
    stopped, instruments, made, holdings = remembered
    parts: list[JsonValue] = [stopped, dict(instruments)]
    if made or holdings is not None:
        parts.append(dict(made))
    if holdings is not None:
        parts.append(holdings)
    return (FRESH if fresh else b"") + json.dumps(parts).encode()


def from_state(state: bytes) -> Remembered:
    """What the bytes say; nothing where they are empty."""
    return Remembered(*json.loads(state.removeprefix(FRESH))) if state else Remembered()


def with_holdings(state: bytes, holdings: JsonValue) -> bytes:
    """The same state with these holdings."""
    return as_state(from_state(state)._replace(holdings=holdings), fresh=is_fresh(state))
