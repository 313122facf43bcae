"""The state of a strategy's revision on a partition, as the bytes of a snapshot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from pydantic import JsonValue

FRESH: Final = b"fresh "
"""Prefix of the state of a revision that hasn't handled a frame yet: positions it flattens are still to be closed."""


class RevisionState(NamedTuple):
    """The parts of a revision's state.

    Attributes:
        stopped: whether its errors, or too many signals, have stopped it.
        instruments: its state on each instrument, by id.
        made: (last minute of market time with signals, number of signals in it), by instrument.
        holdings: what `holdings.state_of` returned; None if it doesn't read its position, or didn't when this was stored.
        inputs: the number of inputs recorded for the next offset that the state includes; 0 but for a strategy that sees
            several instruments.
    """

    stopped: bool = False
    instruments: Mapping[str, Any] = {}
    made: Mapping[str, Any] = {}
    holdings: Any = None
    inputs: int = 0


def is_fresh(state: bytes) -> bool:
    """Whether the revision with this state hasn't handled a frame yet."""
    return not state or state.startswith(FRESH)


def state_bytes(remembered: RevisionState, *, fresh: bool) -> bytes:
    """Serialises the parts; absent parts at the end are left out."""
    stopped, instruments, made, holdings, inputs = remembered
    parts: list[JsonValue] = [stopped, dict(instruments)]
    if made or holdings is not None or inputs:
        parts.append(dict(made))
    if holdings is not None or inputs:
        parts.append(holdings)
    if inputs:
        parts.append(inputs)
    return (FRESH if fresh else b"") + json.dumps(parts).encode()


def revision_state(state: bytes) -> RevisionState:
    """Parses a state; an empty one has default parts."""
    return RevisionState(*json.loads(state.removeprefix(FRESH))) if state else RevisionState()


def with_inputs(state: bytes, inputs: int) -> bytes:
    """The same state, which includes so many inputs that are recorded for the next offset."""
    return state_bytes(revision_state(state)._replace(inputs=inputs), fresh=is_fresh(state))


def with_holdings(state: bytes, holdings: JsonValue) -> bytes:
    """The same state with other holdings."""
    return state_bytes(revision_state(state)._replace(holdings=holdings), fresh=is_fresh(state))
