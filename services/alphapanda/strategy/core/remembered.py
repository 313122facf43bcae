"""The state of a strategy's revision on a partition, as the bytes of a snapshot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from pydantic import JsonValue

FRESH: Final = b"fresh "
"""Prefix of a state that no frame has followed: what the revision flattens is still to be flattened."""


class Remembered(NamedTuple):
    """The parts of a revision's state.

    Attributes:
        stopped: whether its errors, or too many signals, stopped it.
        instruments: its state on each instrument, by id.
        made: the last minute of market time with signals, and their number, by instrument.
        holdings: as `holdings.state_of` returned them; None where it doesn't read them, or didn't yet.
    """

    stopped: bool = False
    instruments: Mapping[str, Any] = {}
    made: Mapping[str, Any] = {}
    holdings: Any = None


def is_fresh(state: bytes) -> bool:
    """Whether the revision with this state has seen no frame yet."""
    return not state or state.startswith(FRESH)


def as_state(remembered: Remembered, *, fresh: bool) -> bytes:
    """The parts as bytes; absent parts at the end are left out."""
    stopped, instruments, made, holdings = remembered
    parts: list[JsonValue] = [stopped, dict(instruments)]
    if made or holdings is not None:
        parts.append(dict(made))
    if holdings is not None:
        parts.append(holdings)
    return (FRESH if fresh else b"") + json.dumps(parts).encode()


def from_state(state: bytes) -> Remembered:
    """The parts of a state; defaults where it is empty."""
    return Remembered(*json.loads(state.removeprefix(FRESH))) if state else Remembered()


def with_holdings(state: bytes, holdings: JsonValue) -> bytes:
    """The same state with these holdings."""
    return as_state(from_state(state)._replace(holdings=holdings), fresh=is_fresh(state))
