"""Active health checks: run periodically, each with a time-out; a change of the result is logged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

import structlog

from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.budgets import within
from alphapanda.resilience.failures import in_one_line
from alphapanda.resilience.tasks import kept_running

_log = structlog.get_logger(__name__)
AGAIN_SECONDS: Final = 5.0
"""While a check fails, checks run at least this often."""


class CheckFailed(Exception):
    """A check failed: the services that depend on it are NOT_SERVING. The message says why."""


class ActiveCheck:
    """One health check with its last result.

    Args:
        name: such as "database".
        ask: runs the check: returns an empty text, or a degradation in one line, with which services go on serving. An
            exception makes the services that depend on it NOT_SERVING.
        timeout_seconds: a check that takes longer has failed.

    Attributes:
        name: name in reports and log lines.
        last_error: why the check failed; empty where it didn't.
        degradation: a problem with which services go on serving; empty where there is none.
    """

    def __init__(
        self, name: str, ask: Callable[[], Coroutine[Any, Any, str]], timeout_seconds: float
    ) -> None:
        self.name = name
        self.last_error = ""
        self.degradation = ""
        self._ask = ask
        self._timeout = timeout_seconds

    @property
    def serving(self) -> bool:
        """Whether the check didn't fail."""
        return not self.last_error

    @property
    def healthy(self) -> bool:
        """Whether the last result had neither a failure nor a degradation."""
        return not self.last_error and not self.degradation

    async def run(self, *, in_grace_period: bool) -> None:
        """Runs the check once. In the grace period after the start a bad result is ignored."""
        found: list[str] = []

        async def ask() -> None:
            found.append(await within(self._timeout, self._ask()))

        error = await attempted(ask())
        degradation = found[0] if found else ""
        if error is None:
            self._set("", "" if in_grace_period else degradation)
        elif not in_grace_period:
            self._set(self._text(error), "")

    def _text(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no answer within {self._timeout:g} s"
        return str(error) if isinstance(error, CheckFailed) else in_one_line(error)

    def _set(self, error: str, degradation: str) -> None:
        before = (bool(self.last_error), bool(self.degradation))
        self.last_error, self.degradation = error, degradation
        if (bool(error), bool(degradation)) == before:
            return
        if error:
            _log.warning("check.failed", check=self.name, error=error)
        elif degradation:
            _log.warning("check.degraded", check=self.name, error=degradation)
        else:
            _log.info("check.recovered", check=self.name)


class PeriodicCheck(Protocol):
    """A check that runs periodically: an ActiveCheck or a LagWatch."""

    @property
    def healthy(self) -> bool:
        """Whether the last result had neither a failure nor a degradation."""

    async def run(self, *, in_grace_period: bool) -> None:
        """Runs the check once."""


class HealthChecks:
    """Runs all checks periodically.

    Args:
        checks: the checks.
        interval_seconds: seconds between two rounds; shorter while a check isn't healthy.
        grace_seconds: time after the start in which bad results are ignored.
        elapsed: monotonic time in seconds.

    Attributes:
        interval_seconds: as given.
    """

    def __init__(
        self,
        checks: Sequence[PeriodicCheck],
        interval_seconds: float,
        grace_seconds: float,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._checks = checks
        self.interval_seconds = interval_seconds
        self._grace = grace_seconds
        self._elapsed = elapsed
        self._began = 0.0
        self._soon = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Starts the rounds."""
        self._began = self._elapsed()
        self._task = kept_running(self._watch, "ops.checks", _log)

    async def stop(self) -> None:
        """Stops the rounds."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    def check_soon(self) -> None:
        """Begins the next round at once: a dependency has come back."""
        self._soon.set()

    async def _watch(self) -> None:
        while True:
            in_grace_period = self._elapsed() - self._began < self._grace
            await asyncio.gather(*(check.run(in_grace_period=in_grace_period) for check in self._checks))
            well = all(check.healthy for check in self._checks)
            with suppress(TimeoutError):
                async with asyncio.timeout(
                    self.interval_seconds if well else min(self.interval_seconds, AGAIN_SECONDS)
                ):
                    await self._soon.wait()
            self._soon.clear()
