"""What every call to a server passes: admission, then its turn; or a refusal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from time import monotonic
from typing import Final, Never

from structlog.typing import FilteringBoundLogger

from alphapanda.mesh.abort import Context
from alphapanda.mesh.admission import Admission, CallKind, Ticket
from alphapanda.mesh.bounds import CallBounds
from alphapanda.mesh.errors import ApiError, TooMany
from alphapanda.mesh.identity import EVERYBODY, Identity
from alphapanda.mesh.rates import CallerRates
from alphapanda.mesh.refusals import Refusals
from alphapanda.mesh.tokens import CallerKind
from alphapanda.mesh.turns import Turns

QUERIES_AT_WORK: Final = 1
"""More would each take as much longer as they are more: they share one processor, and whoever comes waits for all."""
QUIET_AT_WORK: Final = 2
"""Beside it, of connections without another call."""
COMMANDS_AT_WORK: Final = 64
"""More than queries, because commands that come together share a transaction."""
LEASE_SECONDS: Final = 0.1
QUERY_PATIENCE_SECONDS: Final = 1.5
COMMAND_PATIENCE_SECONDS: Final = 5.0
_AT_ONCE: Final = nullcontext()


def holder_of(identity: Identity, connection: str) -> str:
    """Whom a call counts for and takes its turn with: a person, whatever the connection; else the connection."""
    return f"caller {identity.caller}" if identity.kind is CallerKind.PERSON else connection


class Gate:
    """Admits calls, gives them turns, refuses those over the bounds.

    Args:
        bounds: most calls at once.
        log: gets the number of refusals.
        clock: seconds of a clock that never goes back.
    """

    def __init__(
        self, bounds: CallBounds, log: FilteringBoundLogger, clock: Callable[[], float] = monotonic
    ) -> None:
        self.admission = Admission(bounds)
        self._rates = CallerRates(bounds.max_requests_per_second)
        self._clock = clock
        self._refusals = Refusals(log)
        queries = Turns(QUERIES_AT_WORK, LEASE_SECONDS, QUERY_PATIENCE_SECONDS, QUIET_AT_WORK)
        self._turns = {
            CallKind.QUERY: queries,
            CallKind.WATCH: queries,
            CallKind.COMMAND: Turns(COMMANDS_AT_WORK, LEASE_SECONDS, COMMAND_PATIENCE_SECONDS),
        }

    def admit(self, kind: CallKind, method: str, connection: str, identity: Identity = EVERYBODY) -> Ticket:
        """Admits a call; the ticket is to be released. It counts for its connection, and for a person over all connections.

        Raises:
            TooMany: a bound is reached.
        """
        if identity.kind is not CallerKind.PERSON:
            return self.admission.admit(kind, method, (connection,))
        if kind is not CallKind.URGENT:
            try:
                self._rates.take(identity.caller, self._clock())
            except TooMany as refusal:
                self.count(refusal, method)
                raise
        return self.admission.admit(kind, method, (connection, holder_of(identity, connection)))

    def count(self, refusal: ApiError, method: str) -> None:
        """Counts a refused call."""
        self.admission.refused[refusal.reason, method] += 1

    def turn(self, kind: CallKind, connection: str) -> AbstractAsyncContextManager[None]:
        """Waits for a turn. Urgent calls and calls between services, for which another call waits, have it at once."""
        turns = self._turns.get(kind)
        return _AT_ONCE if turns is None else turns.turn(connection)

    async def refuse(self, refusal: ApiError, method: str, context: Context) -> Never:
        """Answers a call that was not admitted, whose caller isn't known, or that had no turn in time."""
        await self._refusals.send(refusal, method, context)
