"""Runs commands in tasks of the server, so that they complete even if the caller disconnects (rule 12)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any, TypeVar

from structlog.typing import FilteringBoundLogger

from alphapanda.mesh.deadlines import spend_by
from alphapanda.mesh.failures import Failure, failure_of

Answer = TypeVar("Answer")


class Effects:
    """The running commands of one server."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, method: str, command: Coroutine[Any, Any, Answer]) -> asyncio.Task[Answer]:
        """Runs a command in a task of the server; only `drain` may end it early."""
        context = copy_context()
        context.run(spend_by.set, None)
        task = asyncio.get_running_loop().create_task(command, name=method, context=context)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def detach(self, task: asyncio.Task[Any]) -> None:
        """Logs a command's outcome when it ends: its caller has disconnected and won't see it."""
        task.add_done_callback(self._log_outcome)

    async def drain(self, grace: float) -> None:
        """Waits for running commands; those that outlast `grace` seconds are cancelled and named in the log."""
        if not self._running:
            return
        _, late = await asyncio.wait(self._running, timeout=grace)
        for task in late:
            self._log.error("command.cut_off", method=task.get_name(), grace_seconds=grace)
            task.cancel()
        if late:
            await asyncio.wait(late)

    def _log_outcome(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._log.info("command.completed_after_disconnect", method=task.get_name())
            return
        failure: Failure = failure_of(error)
        self._log.log(
            failure.level,
            "command.failed_after_disconnect",
            method=task.get_name(),
            **failure.fields,
            exc_info=error if failure.unexpected else None,
        )
