"""Keeps long-lived tasks running: none ends because of an error, or without a word."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from structlog.typing import FilteringBoundLogger

from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.backoff import Backoff
from alphapanda.resilience.failures import in_one_line, is_transient

STEADY_SECONDS = 30.0
"""Work that ran for so long before it failed begins anew to count its failures."""


def kept_running(
    work: Callable[[], Awaitable[None]],
    name: str,
    logger: FilteringBoundLogger,
    backoff: Backoff | None = None,
) -> asyncio.Task[None]:
    """Runs long-lived work in a task; where it fails, that is logged and the work begun again after a pause.

    The task ends when the work returns, or when it is cancelled. A failure that passes is a warning, a bug is an alarm;
    of failures in a row the 1st, 2nd, 4th, 8th … are logged.

    Args:
        work: starts the work; called again after each failure.
        name: name of the task, also in log lines.
        logger: logger of the calling module.
        backoff: pauses; from 0.1 to 10 s where None.
    """
    pauses = backoff or Backoff(0.1, 10.0)

    async def run() -> None:
        failures = 0
        while True:
            began = asyncio.get_running_loop().time()
            error = await attempted(work())
            if error is None:
                return
            steady = asyncio.get_running_loop().time() - began > STEADY_SECONDS
            failures = 1 if steady else failures + 1
            if failures & (failures - 1) == 0:
                _report(error, failures)
            await asyncio.sleep(pauses.seconds(failures))

    def _report(error: Exception, failures: int) -> None:
        text = in_one_line(error)
        if is_transient(error):
            logger.warning("task.delayed", task=name, failures=failures, error=text)
        else:
            logger.error("task.failed", alarm=True, task=name, failures=failures, error=text, exc_info=error)

    return asyncio.create_task(run(), name=name)
