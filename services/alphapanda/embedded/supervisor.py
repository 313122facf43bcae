"""Supervises an embedded server: one that ended is started again, with back-off, at the same address."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, Protocol

import structlog

from alphapanda.embedded.errors import EmbeddedStartFailed, ServerLost
from alphapanda.resilience.attempts import attempted, until_it_works
from alphapanda.resilience.backoff import Backoff
from alphapanda.resilience.failures import in_one_line

FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 5.0
_log = structlog.get_logger(__name__)


class Server(Protocol):
    """A started server: EmbeddedPostgres or EmbeddedRedis."""

    @property
    def name(self) -> str:
        """Its name, such as "PostgreSQL"."""

    async def wait_until_ended(self) -> str:
        """Waits until it doesn't serve any more; returns what happened, in one line."""

    async def restart(self) -> None:
        """Starts it again at the same address; raises EmbeddedStartFailed."""


class ServerSupervisor:
    """Starts a server again whenever it has ended. The first attempt is made at once; pauses follow failed starts.

    Args:
        server: the server, started.
        max_failed_starts: failed starts in a row after which it gives up; a start that succeeds begins a new count.
        wall_clock: wall time, aware.
        sleep: waits for seconds.

    Attributes:
        name: the server's name.
        restarts: how often it was started again.
        last_error: why it doesn't serve now, in one line; empty while it serves.
        ended_because: what ended it last, in one line; empty where nothing did.
        ended_at: when it ended last; None where it never did.
        restored: called one after the other each time it serves again; an error is logged.
        task: ends only with ServerLost, where it gave up; None before the start.
    """

    def __init__(
        self,
        server: Server,
        max_failed_starts: int,
        wall_clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name = server.name
        self.restarts = 0
        self.last_error = ""
        self.ended_because = ""
        self.ended_at: datetime | None = None
        self.restored: list[Callable[[], Awaitable[None]]] = []
        self.task: asyncio.Task[None] | None = None
        self._server = server
        self._max_failed_starts = max_failed_starts
        self._wall_clock = wall_clock
        self._sleep = sleep
        self._backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)

    @property
    def serving(self) -> bool:
        """Whether the server runs."""
        return not self.last_error

    def start(self) -> None:
        """Starts to supervise."""
        self.task = asyncio.create_task(self._run(), name=f"supervisor of {self.name}")

    async def stop(self) -> None:
        """Stops to supervise; the server goes on."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait([self.task])

    async def _run(self) -> None:
        while True:
            why = await self._server.wait_until_ended()
            began = asyncio.get_running_loop().time()
            self.ended_because, self.ended_at = why, self._wall_clock()
            self.last_error = f"{why}; it is being started again"
            _log.warning("server.ended", server=self.name, error=why)
            await until_it_works(
                self._server.restart, self._wait, lambda error: isinstance(error, EmbeddedStartFailed)
            )
            self.restarts += 1
            self.last_error = ""
            took = asyncio.get_running_loop().time() - began
            _log.warning(
                "server.restarted",
                server=self.name,
                restarts=self.restarts,
                duration_ms=round(1000 * took, 1),
            )
            for restore in self.restored:
                if error := await attempted(restore()):
                    _log.warning("server.restore_failed", server=self.name, error=in_one_line(error))

    async def _wait(self, error: Exception, failures: int) -> None:
        reason = error.reason if isinstance(error, EmbeddedStartFailed) else str(error)
        if failures >= self._max_failed_starts:
            lost = ServerLost(self.name, failures, reason)
            self.last_error = str(lost)
            _log.error("server.given_up", alarm=True, server=self.name, failures=failures, error=reason)
            raise lost from error
        pause = self._backoff.seconds(failures)
        self.last_error = (
            f"{self.ended_because}; it could not be started again ({reason});"
            f" attempt {failures + 1} of {self._max_failed_starts} follows"
        )
        _log.error(
            "server.start_failed", server=self.name, failures=failures, error=reason, wait_seconds=pause
        )
        await self._sleep(pause)
