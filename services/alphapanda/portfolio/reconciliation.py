"""Proves the books against the ledger at an interval of wall time."""

from __future__ import annotations

import structlog

from alphapanda.portfolio.manager import BooksDisagree, PortfolioManager
from alphapanda.resilience.rounds import Rounds

_log = structlog.get_logger(__name__)


class Reconciliation:
    """Proves the books at an interval; while they differ from their ledger, the service is NOT_SERVING.

    Args:
        manager: proves the books; it also does so at its own start.
        interval_seconds: wall time between two proofs.

    Attributes:
        name: name in the service's status.
    """

    name = "reconciliation"

    def __init__(self, manager: PortfolioManager, interval_seconds: float) -> None:
        self._manager = manager
        self._disagreement = ""
        self._rounds = Rounds(self.name, self.prove, interval_seconds, _log)

    @property
    def last_error(self) -> str:
        """How the books differ, or why they can't be proved; empty if they agree."""
        return self._disagreement or self._rounds.last_error

    @property
    def serving(self) -> bool:
        """Whether the books agreed at the last proof, and the proofs go on."""
        return self._rounds.serving and not self._disagreement

    async def start(self) -> None:
        """Starts the proofs; the first one comes after an interval."""
        await self._rounds.start()

    async def stop(self) -> None:
        """Stops the proofs, after one that is under way."""
        await self._rounds.stop()

    async def prove(self) -> None:
        """Proves every account's books now.

        Raises:
            SQLAlchemyError, OSError: the database can't be reached.
        """
        try:
            proved = await self._manager.prove()
        except BooksDisagree as disagree:
            self._disagreement = str(disagree)
            _log.error("reconciliation.books_disagreed", alarm=True, error=self._disagreement)
            return
        self._disagreement = ""
        _log.info("reconciliation.books_proved", accounts=proved)
