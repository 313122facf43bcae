"""A library that says the same again and again is heard once a spell."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from typing_extensions import override

SPELL_SECONDS: Final = 60.0


class OncePerSpell(logging.Filter):
    """Lets one line of a library through, then none of that level for a spell; the next says how many there were.

    A Kafka broker that is away makes aiokafka complain for every client and every attempt.

    Args:
        library: name of the loggers, those below included.
        seconds: how long a spell is.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        library: str,
        seconds: float = SPELL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._library = library
        self._seconds = seconds
        self._clock = clock
        self._until: dict[int, float] = {}
        self._held_back: dict[int, int] = {}

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        if record.name != self._library and not record.name.startswith(f"{self._library}."):
            return True
        now = self._clock()
        if now < self._until.get(record.levelno, 0.0):
            self._held_back[record.levelno] = self._held_back.get(record.levelno, 0) + 1
            return False
        self._until[record.levelno] = now + self._seconds
        if held_back := self._held_back.pop(record.levelno, 0):
            record.msg = f"{record.getMessage()} ({held_back} lines of {self._library} held back before)"
            record.args = ()
        return True
