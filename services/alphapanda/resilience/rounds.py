"""Work done again and again beside the consumers: timers, proofs, look-ups."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from structlog.typing import FilteringBoundLogger

from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.failures import in_one_line, is_transient

STOP_SECONDS = 5.0
"""How long a round under way may still take at the stop."""

CANCEL_SECONDS = 1.0
"""How long a cancelled round is waited for."""


class Rounds:
    """Makes rounds while it is started. What fails transiently is tried again in the next; a bug ends them.

    A service whose rounds have ended isn't serving, and its status says why: nobody else would do the work.

    Args:
        name: in the service's status and in log lines, such as "square-off timer".
        one_round: the work.
        interval_seconds: wall time between two rounds.
        logger: of the module whose work it is.
        at_once: whether the first round doesn't wait for an interval.

    Attributes:
        name: as given.
        last_error: the bug that ended the rounds, one line; empty while there was none.
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
        """Whether no bug has ended them."""
        return not self.last_error

    async def start(self) -> None:
        """Begins."""
        self._stopping.clear()
        self.last_error = ""
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def stop(self) -> None:
        """Ends, after a round that is under way; one that outlasts STOP_SECONDS is cancelled.

        Not by cancelling at once: the Redis client may swallow that.
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
        """One round; whether there may be another."""
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
