"""Rate-limits a library's repeated log lines to one a minute."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from typing_extensions import override

INTERVAL_SECONDS: Final = 60.0


class RepeatLimiter(logging.Filter):
    """Passes one line of a library per level and interval; the next line says how many were suppressed.

    While a Kafka broker is down, aiokafka logs a line for every client and every attempt.

    Args:
        library: name of the library's logger; loggers below it are included.
        seconds: the interval.
        clock: monotonic time in seconds.
    """

    def __init__(
        self,
        library: str,
        seconds: float = INTERVAL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._library = library
        self._seconds = seconds
        self._clock = clock
        self._until: dict[int, float] = {}
        self._suppressed: dict[int, int] = {}

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        if record.name != self._library and not record.name.startswith(f"{self._library}."):
            return True
        now = self._clock()
        if now < self._until.get(record.levelno, 0.0):
            self._suppressed[record.levelno] = self._suppressed.get(record.levelno, 0) + 1
            return False
        self._until[record.levelno] = now + self._seconds
        if suppressed := self._suppressed.pop(record.levelno, 0):
            record.msg = f"{record.getMessage()} ({suppressed} lines of {self._library} suppressed before)"
            record.args = ()
        return True
