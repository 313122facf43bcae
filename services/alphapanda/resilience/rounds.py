"""Runs periodic background tasks: timers, reconciliation, look-ups."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from structlog.typing import FilteringBoundLogger

from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.failures import in_one_line, is_transient

STOP_SECONDS = 5.0
"""How long a running round may take when the task is stopped."""

CANCEL_SECONDS = 1.0
"""How long to wait for a cancelled round."""


class Rounds:
    """Calls a function periodically. A transient failure is retried in the next round; a bug ends the rounds.

    A service whose rounds have ended is NOT_SERVING and its status says why, because the work isn't done any more.

    Args:
        name: name in the service's status and in log lines, such as "square-off timer".
        one_round: does the work of one round.
        interval_seconds: wall time between two rounds.
        logger: logger of the calling module.
        at_once: whether the first round starts at once, without waiting for an interval.

    Attributes:
        name: as given.
        last_error: the bug that ended the rounds, in one line; empty where there was none.
    """

    def __init__(
        self,
        name: str,
        one_round: Callable[[], Awaitable[object]],
        interval_seconds: float,
        logger: FilteringBoundLogger,
        *,
        at_once: bool = False,
    ) -> None:
        self.name = name
        self.last_error = ""
        self._one_round = one_round
        self._interval = interval_seconds
        self._logger = logger
        self._at_once = at_once
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def serving(self) -> bool:
        """Whether no bug has ended the rounds."""
        return not self.last_error

    async def start(self) -> None:
        """Starts the rounds."""
        self._stopping.clear()
        self.last_error = ""
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def stop(self) -> None:
        """Stops after the running round; cancels it after STOP_SECONDS.

        It isn't cancelled at once, because the Redis client may swallow a cancellation.
        """
        self._stopping.set()
        if self._task is not None:
            _, late = await asyncio.wait([self._task], timeout=STOP_SECONDS)
            if late:
                self._logger.error("rounds.cut_off", task=self.name, grace_seconds=STOP_SECONDS)
                self._task.cancel()
                await asyncio.wait([self._task], timeout=CANCEL_SECONDS)
            self._task = None

    async def once(self) -> bool:
        """Runs one round; returns False where a bug ended the rounds."""
        error = await attempted(self._one_round())
        if error is None:
            return True
        if is_transient(error):
            self._logger.warning("rounds.delayed", task=self.name, error=in_one_line(error))
            return True
        self.last_error = in_one_line(error)
        self._logger.error("rounds.failed", alarm=True, task=self.name, exc_info=error)
        return False

    async def _run(self) -> None:
        if self._at_once and not await self.once():
            return
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._interval)
            if self._stopping.is_set() or not await self.once():
                return
