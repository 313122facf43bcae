"""Active checks: asked again and again, each within its time; told in the log when an answer changes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import structlog

from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.failures import in_one_line

_log = structlog.get_logger(__name__)
AGAIN_SECONDS: Final = 5.0
"""While something fails it is asked for at least this often."""


class HeldUp(Exception):
    """An answer that keeps a service from its work."""


class ActiveCheck:
    """One question.

    Args:
        name: such as "database".
        ask: its answer: empty, or one line that a person should read while the work goes on. What it raises keeps the
            services that need it from their work.
        timeout_seconds: an answer that takes longer is none.

    Attributes:
        name: in reports and log lines.
        last_error: what keeps services from their work; empty where nothing does.
        concern: what a person should read; empty where there is nothing.
    """

    def __init__(self, name: str, ask: Callable[[], Awaitable[str]], timeout_seconds: float) -> None:
        self.name = name
        self.last_error = ""
        self.concern = ""
        self._ask = ask
        self._timeout = timeout_seconds

    @property
    def serving(self) -> bool:
        """Whether it keeps nobody from their work."""
        return not self.last_error

    @property
    def well(self) -> bool:
        """Whether there is nothing to say."""
        return not self.last_error and not self.concern

    async def run(self, *, forgiving: bool) -> None:
        """Asks once. Forgiving: a bad answer counts as none, as in the first seconds of a process."""
        found: list[str] = []

        async def within() -> None:
            async with asyncio.timeout(self._timeout):
                found.append(await self._ask())

        error = await attempted(within())
        concern = found[0] if found else ""
        if error is None:
            self._now("", "" if forgiving else concern)
        elif not forgiving:
            self._now(self._words(error), "")

    def _words(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no answer within {self._timeout:g} s"
        return str(error) if isinstance(error, HeldUp) else in_one_line(error)

    def _now(self, error: str, concern: str) -> None:
        before = (bool(self.last_error), bool(self.concern))
        self.last_error, self.concern = error, concern
        if (bool(error), bool(concern)) == before:
            return
        if error:
            _log.warning("check.failed", check=self.name, error=error)
        elif concern:
            _log.warning("check.degraded", check=self.name, error=concern)
        else:
            _log.info("check.recovered", check=self.name)


class Asked(Protocol):
    """What is asked again and again: an ActiveCheck, a LagWatch."""

    @property
    def well(self) -> bool:
        """Whether there is nothing to say."""

    async def run(self, *, forgiving: bool) -> None:
        """Asks once."""


class HealthChecks:
    """Asks all of them while the process lives.

    Args:
        checks: what is asked.
        interval_seconds: between two rounds; shorter while a check isn't well.
        grace_seconds: after the start, while bad answers are forgiven.
        elapsed: seconds that only grow.
    """

    def __init__(
        self,
        checks: Sequence[Asked],
        interval_seconds: float,
        grace_seconds: float,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._checks = checks
        self._interval = interval_seconds
        self._grace = grace_seconds
        self._elapsed = elapsed
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins."""
        self._task = asyncio.create_task(self._watch(), name="ops.checks")

    async def stop(self) -> None:
        """Ends."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _watch(self) -> None:
        began = self._elapsed()
        while True:
            forgiving = self._elapsed() - began < self._grace
            await asyncio.gather(*(check.run(forgiving=forgiving) for check in self._checks))
            well = all(check.well for check in self._checks)
            await asyncio.sleep(self._interval if well else min(self._interval, AGAIN_SECONDS))
