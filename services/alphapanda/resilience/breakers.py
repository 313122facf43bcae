"""Circuit breakers: one for each thing that handlers depend on and each broker (rule 5).

A circuit opens after so many failures in a row; then nothing of that broker is tried until its time is over. One
attempt goes ahead of the others: if it works all circuits that it went through close, else its own opens again.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

import structlog
from purgatory.domain.model import CLOSED, OPENED, Context

from alphapanda.resilience.failures import dependency_of, in_one_line

_AT_ONCE = -math.inf
"""How long the library itself waits: its clock is the wall's, which may jump; the wait is done here."""
_PROBE_SECONDS = 0.05

_logger = structlog.get_logger(__name__)


class Breakers:
    """The circuits of a consumer.

    Args:
        failures: in a row, after which a circuit opens.
        seconds: it stays open before one attempt is let through.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        failures: int,
        seconds: float,
        clock: Callable[[], float] = lambda: asyncio.get_running_loop().time(),
    ) -> None:
        self._failures = failures
        self._seconds = seconds
        self._clock = clock
        self._opened: dict[str, float] = {}
        self._circuits: dict[str, dict[str, Context]] = {}
        self._reasons: dict[tuple[str, str], str] = {}
        self._probing: set[str] = set()

    def closed_for(self, broker: str) -> float:
        """Seconds that a broker's side has to wait before it asks again; 0 where it may try."""
        opened = self._opened.get(broker)
        left = 0.0 if opened is None else opened + self._seconds - self._clock()
        if left > 0:
            return left
        return _PROBE_SECONDS if broker in self._probing else 0.0

    async def watched(
        self, broker: str, attempt: Callable[[], Awaitable[Exception | None]]
    ) -> Exception | None:
        """Makes an attempt that `closed_for` allows, and learns from what it failed with."""
        circuits = self._circuits.setdefault(broker, {})
        if broker in self._opened:
            self._probing.add(broker)
        try:
            error = await attempt()
        finally:
            self._probing.discard(broker)
        failed = "" if error is None else dependency_of(error)
        if failed and failed not in circuits:
            circuits[failed] = Context(f"{failed} for {broker or 'all'}", self._failures, _AT_ONCE)
        for dependency, circuit in circuits.items():
            if error is None or dependency == failed:
                self._learn(broker, dependency, circuit, error)
        return error

    def reason(self, broker: str) -> str:
        """Why a broker's side stands still, one line; empty where it doesn't."""
        return "; ".join(why for (whose, _), why in self._reasons.items() if whose == broker)

    def _learn(self, broker: str, dependency: str, circuit: Context, error: Exception | None) -> None:
        circuit.handle_new_request()
        if error is None:
            circuit.handle_end_request()
        else:
            circuit.handle_exception(error)
        circuit.messages.clear()
        if circuit.state == OPENED:
            self._opened[broker] = self._clock()
            known = (broker, dependency) in self._reasons
            why = f"circuit to {dependency} is open: {'' if error is None else in_one_line(error)}"
            self._reasons[broker, dependency] = why
            if not known:
                _logger.error("breaker.opened", alarm=True, broker=broker, dependency=dependency, why=why)
        elif circuit.state == CLOSED and self._reasons.pop((broker, dependency), ""):
            _logger.info("breaker.closed", broker=broker, dependency=dependency)
        if not any(one.state == OPENED for one in self._circuits[broker].values()):
            self._opened.pop(broker, None)
