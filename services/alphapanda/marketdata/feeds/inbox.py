"""Messages of a live feed that wait to be published: bounded, the oldest are given up first."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

import structlog

MOST_WAITING: Final = 20_000
"""Messages; a broker sends a few a second on each connection."""
_MOST_AT_ONCE: Final = 256

_log = structlog.get_logger(__name__)


class Received(NamedTuple):
    """A message as it came.

    Attributes:
        connection: number of the connection.
        wall_ns: wall time at which it came, nanoseconds since the epoch.
        payload: its bytes.
    """

    connection: int
    wall_ns: int
    payload: bytes


class Inbox:
    """Holds messages until they are taken, so that the broker is never kept waiting.

    Args:
        most: messages that may wait.

    Attributes:
        lost: messages that were given up.
    """

    def __init__(self, most: int = MOST_WAITING) -> None:
        self.lost = 0
        self._most = most
        self._waiting: deque[Received] = deque()
        self._came = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, received: Received) -> None:
        """Adds a message; where too many wait, the oldest is given up and counted."""
        if len(self._waiting) >= self._most:
            self._waiting.popleft()
            self.lost += 1
            if self.lost & (self.lost - 1) == 0:  # the 1st, 2nd, 4th, 8th …
                _log.warning("feed.messages_lost", messages=self.lost, waiting=len(self._waiting))
        self._waiting.append(received)
        self._came.set()

    async def take(self) -> Sequence[Received]:
        """Waits for messages and takes those that are there, in order, at most some hundreds."""
        while not self._waiting:
            self._came.clear()
            await self._came.wait()
        waiting = self._waiting
        return [waiting.popleft() for _ in range(min(len(waiting), _MOST_AT_ONCE))]
