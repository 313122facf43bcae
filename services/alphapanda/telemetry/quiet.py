"""Rate-limits what repeats itself to one line a minute: a library's log lines, and lines that can't be written."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from typing_extensions import override

INTERVAL_SECONDS: Final = 60.0
REPEATING: Final = ("aiokafka", "opentelemetry")
"""Libraries that log each attempt while what they connect to is away."""
_PASSED: Final = "repeat_passed"
"""Attribute of a record: what was decided about it, so that all outputs have the same lines."""


class UnwritableLines:
    """Reports lines that couldn't be written, such as to a full disk: one line on standard error an interval.

    The standard library prints a traceback for each of them.

    Args:
        seconds: the interval.
        clock: monotonic time in seconds.
    """

    def __init__(
        self, seconds: float = INTERVAL_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._until: float | None = None
        self._lost = 0

    def failed(self, where: str) -> None:
        """Counts a line that could not be written to `where`; call it while the error is being handled."""
        self._lost += 1
        now = self._clock()
        if self._until is not None and now < self._until:
            return
        self._until = now + self._seconds
        error = sys.exception()
        lines = "1 log line" if self._lost == 1 else f"{self._lost} log lines"
        why = " ".join(f"{type(error).__name__}: {error}".split())
        with suppress(OSError, ValueError):  # standard error itself may be full or closed
            sys.stderr.write(
                f"alphapanda: {lines} could not be written to {where}: {why};"
                " the work goes on; free some space or choose another logging.folder\n"
            )
            sys.stderr.flush()
        self._lost = 0


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
        if (decided := record.__dict__.get(_PASSED)) is None:
            decided = record.__dict__[_PASSED] = self._decide(record)
        return bool(decided)

    def _decide(self, record: logging.LogRecord) -> bool:
        now = self._clock()
        if now < self._until.get(record.levelno, 0.0):
            self._suppressed[record.levelno] = self._suppressed.get(record.levelno, 0) + 1
            return False
        self._until[record.levelno] = now + self._seconds
        if suppressed := self._suppressed.pop(record.levelno, 0):
            record.msg = f"{record.getMessage()} ({suppressed} lines of {self._library} suppressed before)"
            record.args = ()
        return True


def limit_repeats(*handlers: logging.Handler) -> None:
    """Rate-limits the lines of libraries that repeat themselves, alike at all handlers of the log."""
    for limiter in map(RepeatLimiter, REPEATING):
        for handler in handlers:
            handler.addFilter(limiter)
