"""What a live feed is doing: its connections, what it streams, and the times in which nothing came."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

MOST_GAPS: Final = 20
"""The latest are remembered."""


@dataclass(frozen=True, slots=True)
class FeedConnection:
    """A connection as it is now.

    Attributes:
        number: of the connection, from 0.
        state: what it is doing.
        failures: attempts in a row that have failed.
        connects: how often it has connected.
        last_message_ns: wall time of the last message, nanoseconds since the epoch; 0: none yet.
        last_error: why it isn't connected, in one line; empty where it is.
        instruments: how many are on it.
    """

    number: int
    state: str
    failures: int
    connects: int
    last_message_ns: int
    last_error: str
    instruments: int


@dataclass(frozen=True, slots=True)
class FeedGap:
    """A time in which nothing came on a connection.

    Attributes:
        connection: its number.
        began_ns: wall time of the last message before, nanoseconds since the epoch.
        ended_ns: wall time of the first message after; 0 while it lasts.
        instruments: how many were on it.
    """

    connection: int
    began_ns: int
    ended_ns: int
    instruments: int


@dataclass(frozen=True, slots=True)
class LiveStatus:
    """A live feed as it is now.

    Attributes:
        connections: its connections.
        gaps: times in which nothing came, the latest first.
        modes: how much of each instrument is streamed, by token.
        connection_of: the number of each instrument's connection, by token.
        since_ns: wall time since which each is streamed, by token, nanoseconds since the epoch.
        lost: messages that were given up.
    """

    connections: Sequence[FeedConnection]
    gaps: Sequence[FeedGap]
    modes: Mapping[int, str]
    connection_of: Mapping[int, int]
    since_ns: Mapping[int, int]
    lost: int


class FeedGaps:
    """Remembers the latest gaps."""

    def __init__(self) -> None:
        self._ended: deque[FeedGap] = deque(maxlen=MOST_GAPS)
        self._open: dict[int, FeedGap] = {}

    def lost(self, connection: int, last_message_ns: int, instruments: int) -> None:
        """A connection is lost; one that had no instruments leaves no gap, and one that is lost again goes on with its gap."""
        if instruments and connection not in self._open:
            self._open[connection] = FeedGap(connection, last_message_ns, 0, instruments)

    def came(self, connection: int, wall_ns: int) -> FeedGap | None:
        """A message has come on a connection; returns the gap that it ends."""
        if not self._open or connection not in self._open:
            return None
        ended = replace(self._open.pop(connection), ended_ns=wall_ns)
        self._ended.appendleft(ended)
        return ended

    def latest(self) -> Sequence[FeedGap]:
        """Those that last, and the latest that have ended, the latest first."""
        return [*self._open.values(), *self._ended][:MOST_GAPS]
