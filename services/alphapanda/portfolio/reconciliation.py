"""Proves the books against the ledger, again and again."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from alphapanda.eventlog.failures import in_one_line, is_transient
from alphapanda.portfolio.managers import BooksDisagree
from alphapanda.portfolio.router import PortfolioRouter

_log = structlog.get_logger(__name__)


class Reconciliation:
    """A service whose books disagree with their ledger is not serving, and says so until they agree again.

    Args:
        router: the managers, each of which knows how its books are proved.
        interval_seconds: wall time between two proofs; the managers prove them at their start, too.

    Attributes:
        name: in the service's status.
        last_error: how the books disagree, or why they can't be proved; empty where they agree.
    """

    name = "reconciliation"

    def __init__(self, router: PortfolioRouter, interval_seconds: float) -> None:
        self._router = router
        self._interval = interval_seconds
        self.last_error = ""
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def serving(self) -> bool:
        """Whether it runs and the books agreed when they were last proved."""
        return self._task is not None and not self._task.done() and not self.last_error

    async def start(self) -> None:
        """Begins; the first proof is due after an interval."""
        self._stopping.clear()
        self._task = asyncio.create_task(self._run(), name="portfolio reconciliation")

    async def stop(self) -> None:
        """Ends, after a proof that is under way."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait([self._task])
            self._task = None

    async def prove(self) -> None:
        """Proves every account's books now.

        Raises:
            SQLAlchemyError, OSError: the database is away.
        """
        try:
            proved = await self._router.prove()
        except BooksDisagree as disagree:
            self.last_error = str(disagree)
            _log.error("reconciliation failed", alarm=True, error=self.last_error)
            return
        self.last_error = ""
        _log.info("books reconciled", accounts=proved)

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._interval)
            if self._stopping.is_set():
                return
            await self._prove_or_wait()

    async def _prove_or_wait(self) -> None:
        try:
            await self.prove()
        except Exception as error:
            if is_transient(error):
                _log.warning("books can't be proved now", error=in_one_line(error))
                return
            _log.exception("reconciliation ends")
            raise
