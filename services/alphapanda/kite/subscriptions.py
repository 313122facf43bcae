"""Which instruments each connection of the ticker streams, and the messages that bring it there. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final

MOST_TOKENS: Final = 3_000
"""Instruments that Kite streams on one connection."""
MOST_CONNECTIONS: Final = 3
"""Connections that Kite lets an app hold."""
_TOKENS_IN_MESSAGE: Final = 500


class Mode(StrEnum):
    """How much of an instrument is streamed."""

    QUOTE = "quote"
    """Price, volume and the day's figures, without times."""
    FULL = "full"
    """The times of the last trade and of the packet, open interest and depth as well."""


Modes = Mapping[int, Mode]
"""Mode by instrument token."""


def changes(sent: Modes, wanted: Modes) -> Iterator[str]:
    """The messages that take a connection from one state of subscriptions to another.

    Args:
        sent: what it has been asked for so far.
        wanted: what it should stream; a subscription alone streams quotes.
    """
    yield from _messages("unsubscribe", [token for token in sent if token not in wanted])
    new = [token for token in wanted if token not in sent]
    yield from _messages("subscribe", new)
    for mode in Mode:
        before = dict.fromkeys(new, Mode.QUOTE) | dict(sent)
        moved = [token for token, asked in wanted.items() if asked is mode and before[token] is not mode]
        for part in _parts(moved):
            yield json.dumps({"a": "mode", "v": [mode.value, part]}, separators=(",", ":"))


def _messages(action: str, tokens: Sequence[int]) -> Iterator[str]:
    for part in _parts(tokens):
        yield json.dumps({"a": action, "v": part}, separators=(",", ":"))


def _parts(tokens: Sequence[int]) -> Iterator[Sequence[int]]:
    for begin in range(0, len(tokens), _TOKENS_IN_MESSAGE):
        yield tokens[begin : begin + _TOKENS_IN_MESSAGE]


class Allocation:
    """Which connection streams which instruments. An instrument stays on its connection as long as it is wanted.

    Args:
        connections: how many there may be.
        most_tokens: instruments on one connection.

    Attributes:
        left_out: tokens that no connection has room for: the last ones of what is wanted.
    """

    def __init__(self, connections: int = MOST_CONNECTIONS, most_tokens: int = MOST_TOKENS) -> None:
        self.left_out: Sequence[int] = ()
        self._most = most_tokens
        self._held: list[dict[int, Mode]] = [{} for _ in range(connections)]

    def allocate(self, wanted: Modes) -> Sequence[Modes]:
        """Allocates what is wanted, the most important first; returns what each connection streams.

        The first connection is filled first, so that there are no more of them than are needed.
        """
        room = self._most * len(self._held)
        tokens = list(wanted)
        kept, self.left_out = tokens[:room], tokens[room:]
        wanted = {token: wanted[token] for token in kept}
        self._held = [{token: wanted[token] for token in held if token in wanted} for held in self._held]
        streamed = {token for held in self._held for token in held}
        free = iter([held for held in self._held for _ in range(self._most - len(held))])
        for token in kept:
            if token not in streamed:
                next(free)[token] = wanted[token]
        return tuple(dict(held) for held in self._held)
